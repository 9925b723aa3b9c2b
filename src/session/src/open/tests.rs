mod begun;
mod stores;

use super::*;

use std::fs;

use idtoken::{KeyForm, Kid, SigningKey};

use crate::close::Closed;
use crate::record::TokenFile;
use crate::testing::{Lab, wanted};

#[test]
fn a_session_has_a_valid_token_and_leaves_nothing() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!((lab.tokens().len(), lab.records().len()), (1, 1));
    let text = fs::read_to_string(session.record().token_path()).unwrap();
    let key = SigningKey::from_bytes(&Kid::pool(), b"the key", KeyForm::Plain).unwrap();
    let seen = idtoken::verify(text.trim(), &[&key], None, lab.host.now()).unwrap();
    assert_eq!(seen.sub.as_deref(), Some("alice@lab.test"));
    assert_eq!(seen.exp, Some(lab.host.now() + 86_400));
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
    let lines = lab.log.lines();
    assert!(lines[0].starts_with("Warning: no reconciler was seen"));
    assert!(lines[1].starts_with("Info: token opened user=alice uid="));
    assert!(lines[2].starts_with("Info: token closed user=alice uid="));
    assert_eq!(lines.len(), 3);
}

#[test]
fn closing_twice_is_closing_once() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Before);
    let closed = |line: &&String| line.contains("token closed");
    assert_eq!(lab.log.lines().iter().filter(closed).count(), 1);
}

#[test]
fn the_newer_of_two_sessions_is_read_first_and_ends_alone() {
    let mut lab = Lab::new();
    let old = lab.opened();
    lab.host.now_ns += 1;
    let new = lab.opened();
    assert_eq!(lab.tokens()[0], new.record().file().to_string());
    new.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [old.record().file().to_string()]);
    old.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_token_from_a_clock_ahead_is_passed() {
    let mut lab = Lab::new();
    lab.host.now_ns += 3_600_000_000_000;
    let ahead = lab.opened();
    lab.host.now_ns -= 3_600_000_000_000;
    let session = lab.opened();
    assert_eq!(lab.tokens()[0], session.record().file().to_string());
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [ahead.record().file().to_string()]);
    assert_eq!(lab.records().len(), 1);
}

#[test]
fn a_login_tidies_up_after_a_session_whose_process_was_killed() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let killed = lab.opened();
    lab.host.holder.start -= 1;
    let session = lab.opened();
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
    assert_eq!(lab.records(), [session.record().name().to_string()]);
    let jti = killed.record().jtis();
    assert!(
        lab.log
            .lines()
            .iter()
            .any(|l| l.contains("ended without a close") && l.contains(&jti))
    );
}

#[test]
fn a_damaged_record_stays_and_stops_nobody() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let killed = lab.opened();
    lab.host.holder.start -= 1;
    let uid = nix::unistd::geteuid().as_raw().to_string();
    let path = lab
        .path("state/sessions")
        .join(uid)
        .join(killed.record().name().to_string());
    fs::write(&path, "{").unwrap();
    lab.opened();
    assert!(path.exists());
    assert!(lab.log.lines().iter().any(|line| line.contains("damaged")));
}

#[test]
fn a_failure_takes_the_record_back() {
    let lab = Lab::new();
    fs::write(lab.path("home/.condor"), "in the way").unwrap();
    assert!(lab.refused().contains(".condor"));
    assert!(lab.records().is_empty());
}

#[test]
fn without_a_key_or_a_domain_nothing_is_made() {
    let mut lab = Lab::new();
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    assert!(lab.refused().contains("keys/POOL"));
    lab.config.tables[0].token.uid_domain = None;
    assert!(lab.refused().contains("uid_domain"));
    assert!(!lab.path("state").exists() && !lab.path("home/.condor").exists());
}

#[test]
fn a_record_that_can_not_be_written_leaves_no_token() {
    let lab = Lab::new();
    fs::write(lab.path("state"), "in the way").unwrap();
    assert!(lab.refused().contains("state"));
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_session_is_found_again_by_its_process_and_service() {
    let lab = Lab::new();
    let session = lab.opened();
    let uid = session.record().user.uid;
    let found =
        |service, uid| Session::held_by(&lab.host, &lab.config, service, uid, |_| false).unwrap();
    assert!(found("login", uid).is_none());
    assert!(found("sshd", uid + 1).is_none());
    let mut other = lab.host.clone();
    other.holder.pid += 1;
    assert!(
        Session::held_by(&other, &lab.config, "sshd", uid, |_| false)
            .unwrap()
            .is_none()
    );
    found("sshd", uid)
        .unwrap()
        .close(&lab.host, &lab.log)
        .unwrap();
    assert!(lab.tokens().is_empty());
}

#[test]
fn of_several_sessions_of_a_process_each_close_ends_one_the_oldest_first() {
    let mut lab = Lab::new();
    let mut names = Vec::new();
    for _ in 0..3 {
        names.push(lab.opened().record().name());
        lab.host.now_ns += 1_000_000_000;
    }
    let uid = lab.host.euid;
    let sessions = Sessions::of(&lab.config.state_dir, uid, uid).unwrap();
    fs::write(sessions.path_of(&names[1]), "{").unwrap();
    let held = || Session::held_by(&lab.host, &lab.config, "sshd", uid, |_| false).unwrap();
    for wanted in [&names[0], &names[2]] {
        let session = held().unwrap();
        assert_eq!(session.record().name(), *wanted);
        session.close(&lab.host, &lab.log).unwrap();
    }
    assert!(held().is_none(), "a damaged record stops nobody");
    let kept = lab.opened().record().session;
    let held = |is_kept: bool| {
        let is_kept = |session| is_kept && session == kept;
        Session::held_by(&lab.host, &lab.config, "sshd", uid, is_kept).unwrap()
    };
    assert!(held(true).is_none() && held(false).is_some());
}

#[test]
fn a_close_without_data_leaves_sessions_alone_that_have_closed() {
    let lab = Lab::new();
    let session = lab.opened();
    let uid = lab.host.euid;
    let sessions = Sessions::of(&lab.config.state_dir, uid, uid).unwrap();
    let held = || Session::held_by(&lab.host, &lab.config, "sshd", uid, |_| false).unwrap();
    sessions.mark_ended(&session.record().name()).unwrap();
    assert!(held().is_none());
    let deadline = Deadline::after(lab.config.timeout);
    let other = lab.opened();
    let mut record = other.record().clone();
    record.phase = crate::record::Phase::Lingering;
    let name = record.name();
    let mut locked = sessions.lock(&name, deadline).unwrap().unwrap();
    locked.replace(&record).unwrap();
    drop(locked);
    assert!(held().is_none());
}

#[test]
fn a_token_goes_even_if_the_records_are_gone() {
    let lab = Lab::new();
    let session = lab.opened();
    fs::remove_dir_all(lab.path("state")).unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_token_that_can_not_be_removed_keeps_its_record() {
    let lab = Lab::new();
    let session = lab.opened();
    let token = session.record().token_path();
    fs::remove_file(&token).unwrap();
    fs::create_dir(&token).unwrap();
    assert!(session.close(&lab.host, &lab.log).is_err());
    let name = session.record().name();
    assert_eq!(lab.records(), [name.ended(), name.to_string()]);
    fs::remove_dir(&token).unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn records_and_log_hold_neither_token_nor_key() {
    let lab = Lab::new();
    let session = lab.opened();
    let text = fs::read_to_string(session.record().token_path()).unwrap();
    let signature = text.trim().rsplit('.').next().unwrap().to_owned();
    session.close(&lab.host, &lab.log).unwrap();
    let again = lab.opened();
    let record = String::from_utf8(again.record().to_bytes().unwrap()).unwrap();
    for secret in [signature.as_str(), "the key"] {
        assert!(!record.contains(secret) && !lab.log.lines().join("\n").contains(secret));
    }
}

#[test]
fn a_session_that_is_renewed_gets_a_short_token_and_any_other_a_long_one() {
    let lab = Lab::new();
    let life = |session: &Session| session.record().expires() - lab.host.now();
    assert_eq!(life(&lab.opened()), 86_400);
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    assert_eq!(life(&lab.opened()), 3600);
    let warnings = |line: &&String| line.contains("no reconciler was seen");
    assert_eq!(lab.log.lines().iter().filter(warnings).count(), 1);
}

#[test]
fn an_opening_and_a_closing_are_in_the_audit_file() {
    let lab = Lab::new();
    let session = lab.opened();
    session.close(&lab.host, &lab.log).unwrap();
    let audit = crate::audit::read(&lab.config.state_dir).unwrap();
    let events: Vec<_> = audit.entries.iter().map(|entry| entry.event).collect();
    assert_eq!(events, [Event::Opened, Event::Closed]);
    for entry in audit.entries {
        assert_eq!(entry.tokens, session.record().files[0].tokens);
        assert_eq!(entry.session, session.record().session);
    }
}

#[test]
fn whoever_may_still_write_to_the_home_keeps_the_session_from_closing() {
    let mut lab = Lab::new();
    let opened = lab.opened();
    let [impatient, session] = [50, 20_000].map(|time| {
        lab.config.timeout = std::time::Duration::from_millis(time);
        Session::new(opened.record().clone(), &lab.config)
    });
    let sessions = Sessions::of(
        &lab.config.state_dir,
        session.record().user.uid,
        lab.host.euid,
    );
    let sessions = sessions.unwrap();
    let deadline = Deadline::after(lab.config.timeout);
    let name = session.record().name();
    let locked = sessions.lock(&name, deadline).unwrap().unwrap();
    // What a thread has that was left to a home that does not answer.
    let share = locked.share();
    drop(locked);
    let error = impatient.close(&lab.host, &lab.log).unwrap_err();
    assert!(matches!(error, Error::Locked { .. }), "{error}");
    assert_eq!(lab.tokens().len(), 1);
    assert_eq!(lab.records(), [name.ended(), name.to_string()]);
    drop(share);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty() && lab.tokens().is_empty());
}

#[test]
fn a_lock_that_is_shared_is_not_moved_to_another_file() {
    let lab = Lab::new();
    let session = lab.opened();
    let sessions = Sessions::of(
        &lab.config.state_dir,
        session.record().user.uid,
        lab.host.euid,
    );
    let sessions = sessions.unwrap();
    let deadline = Deadline::after(lab.config.timeout);
    let mut locked = sessions
        .lock(&session.record().name(), deadline)
        .unwrap()
        .unwrap();
    let share = locked.share();
    assert!(locked.replace(session.record()).is_err());
    drop(share);
    locked.replace(session.record()).unwrap();
}

#[test]
fn a_login_tidies_up_after_a_limited_number_of_sessions() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    for _ in 0..super::others::SWEEP_LIMIT + 3 {
        // Made aside: each opening would tidy up after the one before.
        let id = SessionId::random().unwrap();
        let name = TokenName::new(lab.host.now_ns, &lab.host.name, id);
        let (holder, now) = (lab.host.holder.clone(), lab.host.now());
        let files = vec![TokenFile::new(None, name, Vec::new())];
        let run_dir = lab.config.run_dir.clone();
        let record = Record::new(lab.opening(), id, holder, now, run_dir, files);
        drop(sessions.create(&record).unwrap());
    }
    lab.host.holder.start -= 1;
    lab.opened();
    assert_eq!(lab.records().len(), 3 + 1);
}

#[test]
fn a_session_whose_home_was_another_is_left_to_reconcile() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    let killed = lab.opened();
    lab.host.holder.start -= 1;
    fs::create_dir(lab.path("new home")).unwrap();
    let mut opening = lab.opening();
    opening.user.home = lab.path("new home");
    assert!(matches!(
        open(&lab.config, &lab.host, wanted(opening), &lab.log),
        Opened::Yes(_)
    ));
    assert_eq!(lab.tokens(), [killed.record().file().to_string()]);
    assert!(lab.records().contains(&killed.record().name().to_string()));
}

#[test]
fn any_number_of_dead_tokens_gives_a_few_lines() {
    let lab = Lab::new();
    lab.opened();
    let dir = lab.path("home").join(crate::home::TOKENS_D);
    for number in 0..50 {
        let id = SessionId::random().unwrap();
        let name = TokenName::new(number, &lab.host.name, id);
        fs::write(dir.join(name.to_string()), "garbage").unwrap();
    }
    lab.opened();
    let lines = lab.log.lines();
    let count = |part: &str| lines.iter().filter(|line| line.contains(part)).count();
    assert_eq!(count("Notice: dead token removed"), NAMED);
    assert_eq!(count("more dead tokens removed user=alice files=42"), 1);
    assert_eq!(lab.tokens().len(), 2);
}

#[test]
fn a_record_that_is_gone_does_not_keep_the_token() {
    let lab = Lab::new();
    let session = lab.opened();
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    fs::remove_file(sessions.path_of(&session.record().name())).unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.tokens().is_empty());
}
