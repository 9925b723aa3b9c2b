use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::audit::Event;
use crate::close::{Closed, Session};
use crate::deadline::Deadline;
use crate::linger::Trace;
use crate::open::{Opened, open};
use crate::record::Record;
use crate::testing::Lab;

const EVERY: Option<Duration> = Some(Duration::from_secs(15));

fn options() -> Options {
    Options {
        every: EVERY,
        ..Options::default()
    }
}

fn run(lab: &Lab) -> Report {
    reconcile(&lab.config, &lab.host, &options(), &lab.log).unwrap()
}

/// What was done, without why.
fn done(lab: &Lab) -> Vec<What> {
    run(lab).actions.iter().map(|action| action.what).collect()
}

/// A session with a token of one hour, as with a reconciler that runs.
fn opened(lab: &Lab) -> Session {
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    lab.opened()
}

fn sessions(lab: &Lab) -> Sessions {
    Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap()
}

fn record(lab: &Lab, session: &Session) -> Record {
    let read = sessions(lab).read(&session.record().name());
    read.unwrap().unwrap()
}

fn token(session: &Session) -> String {
    fs::read_to_string(session.record().token_path()).unwrap()
}

fn pass(lab: &mut Lab, seconds: u64) {
    lab.host.now_ns += seconds * 1_000_000_000;
}

fn replace_key(lab: &Lab, name: &str, secret: &str) {
    let path = lab.path("keys").join(name);
    fs::write(&path, secret).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn lines(lab: &Lab, part: &str) -> usize {
    let lines = lab.log.lines();
    lines.iter().filter(|line| line.contains(part)).count()
}

/// Opens a session whose holder is no process of this host any more.
fn killed(lab: &mut Lab) -> Session {
    lab.host.holder.start += 1;
    let session = opened(lab);
    lab.host.holder.start -= 1;
    session
}

#[test]
fn nothing_is_done_to_a_session_that_needs_nothing() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let (before, text) = (record(&lab, &session), token(&session));
    pass(&mut lab, 1799);
    let report = run(&lab);
    assert_eq!((report.sessions, report.actions.len()), (1, 0));
    assert_eq!((record(&lab, &session), token(&session)), (before, text));
}

#[test]
fn at_half_of_its_life_a_token_is_renewed_in_the_same_file() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let (before, text) = (record(&lab, &session), token(&session));
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    let after = record(&lab, &session);
    assert_eq!(after.file, before.file);
    assert_eq!(after.expires, lab.host.now() + 3600);
    assert_ne!(after.tokens[0].jti, before.tokens[0].jti);
    let seen = idtoken::decode(token(&session).trim()).unwrap();
    assert_eq!(seen.jti.unwrap(), after.tokens[0].jti.to_string());
    assert_eq!(seen.exp, Some(after.expires));
    assert_ne!(token(&session), text);
    assert_eq!(lab.tokens().len(), 1);
    assert_eq!(lines(&lab, "Notice: token renewed user=alice"), 1);
    assert_eq!(lines(&lab, "why=\"half of its life is over\""), 1);
    assert_eq!(done(&lab), []);
    let events = audit::read(&lab.config.state_dir).unwrap().entries;
    assert_eq!(events[1].event, Event::Renewed);
    assert_eq!(events[1].tokens, after.tokens);
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_replaced_key_renews_at_once() {
    let lab = Lab::new();
    let session = opened(&lab);
    replace_key(&lab, "POOL", "the next key");
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lines(&lab, "its signing key was replaced"), 1);
    let key = idtoken::SigningKey::from_bytes(
        &idtoken::Kid::pool(),
        b"the next key",
        idtoken::KeyForm::Plain,
    );
    let key = key.unwrap();
    idtoken::verify(token(&session).trim(), &[&key], None, lab.host.now()).unwrap();
    assert_eq!(done(&lab), []);
}

#[test]
fn a_list_of_keys_is_followed_as_keys_come() {
    let mut lab = Lab::new();
    lab.config.kids = vec!["next".parse().unwrap(), "POOL".parse().unwrap()];
    let session = opened(&lab);
    assert_eq!(token(&session).lines().count(), 1);
    replace_key(&lab, "next", "the next key");
    assert_eq!(done(&lab), [What::Renewed]);
    let kids: Vec<_> = token(&session)
        .lines()
        .map(|line| idtoken::decode(line).unwrap().kid.unwrap())
        .collect();
    assert_eq!(kids, ["next", "POOL"]);
    // A key that is being replaced is not there for a moment.
    fs::remove_file(lab.path("keys/next")).unwrap();
    assert_eq!(done(&lab), []);
    assert_eq!(token(&session).lines().count(), 2);
}

#[test]
fn a_session_whose_process_was_killed_ends() {
    let mut lab = Lab::new();
    let live = opened(&lab);
    let dead = killed(&mut lab);
    assert_eq!(done(&lab), [What::Ended]);
    assert_eq!(lab.tokens(), [live.record().file.to_string()]);
    assert_eq!(lab.records(), [live.record().name().to_string()]);
    assert_eq!(lines(&lab, &dead.record().jtis()), 2);
    assert_eq!(lines(&lab, "ended without a close"), 1);
}

#[test]
fn a_session_of_another_boot_ends_with_what_was_never_finished() {
    let mut lab = Lab::new();
    lab.host.holder.boot = "another-boot".into();
    let dead = opened(&lab);
    lab.host = Host::current().unwrap();
    // The login was killed while it wrote the token, and a renewal beside the record.
    let half = dead.record().token_path();
    let half = half.with_file_name(format!(".{}", dead.record().file));
    fs::write(half, "x").unwrap();
    let dir = lab.config.state_dir.join("sessions");
    let dir = dir.join(lab.host.euid.to_string());
    fs::write(dir.join(dead.record().name().unfinished()), "{").unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_record_that_was_never_finished_goes_with_its_writer_and_not_before() {
    let mut lab = Lab::new();
    let live = opened(&lab).record().name();
    let dead = killed(&mut lab).record().name();
    let dir = lab.config.state_dir.join("sessions");
    let dir = dir.join(lab.host.euid.to_string());
    for name in [&live, &dead] {
        fs::rename(dir.join(name.to_string()), dir.join(name.unfinished())).unwrap();
    }
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.records(), [live.unfinished()]);
}

#[test]
fn a_token_that_its_user_removed_is_left_so_and_said_once() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    fs::remove_file(session.record().token_path()).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
    assert!(record(&lab, &session).removed);
    pass(&mut lab, 1800);
    replace_key(&lab, "POOL", "the next key");
    assert_eq!(done(&lab), []);
    assert_eq!(lines(&lab, "removed by its user"), 1);
    assert!(lab.tokens().is_empty());
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn a_damaged_record_is_set_aside_once_and_stops_no_other() {
    let mut lab = Lab::new();
    let (damaged, other) = (opened(&lab), opened(&lab));
    let path = sessions(&lab).path_of(&damaged.record().name());
    fs::write(&path, "{\"version\":").unwrap();
    pass(&mut lab, 1800);
    assert_eq!(sorted(done(&lab)), [What::Renewed, What::SetAside]);
    let mut left = [
        damaged.record().name().damaged(),
        other.record().name().to_string(),
    ];
    left.sort();
    assert_eq!(lab.records(), left);
    assert_eq!(done(&lab), []);
    assert_eq!(lines(&lab, "damaged record was set aside"), 1);
    // The process that opened it still knows what to remove.
    assert_eq!(damaged.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert_eq!(lab.tokens(), [other.record().file.to_string()]);
}

#[test]
fn a_session_that_could_not_close_ends_though_its_process_lives() {
    let lab = Lab::new();
    let session = opened(&lab);
    sessions(&lab).mark_ended(&session.record().name()).unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_token_that_the_home_did_not_take_is_written_when_it_does() {
    let lab = Lab::new();
    let session = opened(&lab);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    sessions(&lab)
        .mark_pending(&session.record().name())
        .unwrap();
    assert_eq!(done(&lab), [What::Delayed]);
    assert_eq!(lab.tokens(), [session.record().file.to_string()]);
    assert_eq!(lab.records(), [session.record().name().to_string()]);
    assert_eq!(lines(&lab, "token opened late"), 1);
    assert_eq!(done(&lab), []);
}

fn sorted(mut what: Vec<What>) -> Vec<What> {
    what.sort_by_key(|what| format!("{what:?}"));
    what
}

#[test]
fn a_session_whose_token_was_never_written_closes_though_there_is_no_tokens_d() {
    let lab = Lab::new();
    let session = opened(&lab);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    sessions(&lab)
        .mark_pending(&session.record().name())
        .unwrap();
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn a_home_that_is_not_there_keeps_its_sessions_until_their_tokens_expired() {
    let mut lab = Lab::new();
    let (live, closed) = (opened(&lab), opened(&lab));
    killed(&mut lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    // An empty home is one that is not mounted.
    let error = closed.close(&lab.host, &lab.log).unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Waiting; 3]);
    fs::remove_dir(lab.path("home")).unwrap();
    assert_eq!(done(&lab), [What::Waiting; 3]);
    // Said once, and not as an error.
    assert_eq!(
        lines(&lab, "Warning: a session could not be looked after"),
        3
    );
    fs::rename(lab.path("away"), lab.path("home")).unwrap();
    let what = sorted(done(&lab));
    assert_eq!(what, [What::Ended, What::Ended, What::Renewed]);
    assert_eq!(lab.tokens(), [live.record().file.to_string()]);
    killed(&mut lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    pass(&mut lab, 3601);
    assert_eq!(sorted(done(&lab)), [What::Ended, What::Waiting]);
    assert_eq!(lab.records(), [live.record().name().to_string()]);
}

#[test]
fn what_fails_in_a_home_is_said_once_in_a_while() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let token = session.record().token_path();
    fs::remove_file(&token).unwrap();
    fs::create_dir(&token).unwrap();
    for _ in 0..3 {
        pass(&mut lab, 1800 / 3);
    }
    assert_eq!(done(&lab), [What::Failed]);
    pass(&mut lab, 15);
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(lines(&lab, "could not be looked after"), 1);
    pass(&mut lab, 600);
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(lines(&lab, "could not be looked after"), 2);
    fs::remove_dir(&token).unwrap();
    assert_eq!(done(&lab), [What::Removed]);
}

#[test]
fn a_dead_token_of_another_host_is_cleared_out_of_the_way_as_it_dies() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    // A later session of another host, which lost its power since.
    let mut host = lab.host.clone();
    host.name = "ap2".into();
    host.now_ns += 1_000_000_000_000;
    let mut config = lab.config.clone();
    config.state_dir = lab.path("state of ap2");
    stamp::promise(&config.run_dir, host.now()).unwrap();
    let Opened::Yes(other) = open(&config, &host, lab.opening(), &lab.log) else {
        panic!("it did not open")
    };
    let (own, other) = (session.record().file.to_string(), other.record().clone());
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(record(&lab, &session).clear_at, Some(other.expires + 60));
    assert_eq!(lab.tokens(), [other.file.to_string(), own.clone()]);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    lab.host.now_ns = (other.expires + 61) * 1_000_000_000;
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.tokens(), [own]);
    assert_eq!(record(&lab, &session).clear_at, None);
    assert_eq!(done(&lab), []);
}

#[test]
fn without_a_key_sessions_stay_and_it_is_said_once() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    opened(&lab);
    killed(&mut lab);
    fs::rename(lab.path("keys/POOL"), lab.path("keys/away")).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(sorted(done(&lab)), [What::Ended, What::Failed]);
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(lines(&lab, "no token can be renewed"), 1);
    let hour = lab.config.lifetime;
    let fresh = |lab: &Lab, now| stamp::is_fresh(&lab.config.run_dir, hour, now, lab.host.euid);
    assert!(!fresh(&lab, lab.host.now()), "nobody renews anything");
    fs::rename(lab.path("keys/away"), lab.path("keys/POOL")).unwrap();
    assert_eq!(done(&lab), [What::Renewed, What::Renewed]);
    assert!(fresh(&lab, lab.host.now()));
    assert!(lab.tokens().contains(&session.record().file.to_string()));
}

#[test]
fn tokens_that_were_made_to_last_become_short_when_somebody_renews_them() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!(session.record().expires, lab.host.now() + 86_400);
    let typed = Options::default();
    let report = reconcile(&lab.config, &lab.host, &typed, &lab.log).unwrap();
    assert!(report.actions.is_empty(), "nobody would renew a short one");
    let report = run(&lab);
    assert!(report.actions[0].why.contains("longer than it is renewed"));
    assert_eq!(record(&lab, &session).expires, lab.host.now() + 3600);
}

#[test]
fn a_lifetime_that_is_too_short_for_the_timer_is_not_used() {
    let mut lab = Lab::new();
    lab.config.lifetime = Lifetime::from_secs(20).unwrap();
    lab.opened();
    assert_eq!(done(&lab), []);
    assert_eq!(done(&lab), []);
    assert_eq!(lines(&lab, "no reconcile would renew them in time"), 1);
    let fresh = stamp::is_fresh(
        &lab.config.run_dir,
        lab.config.lifetime,
        lab.host.now(),
        lab.host.euid,
    );
    assert!(!fresh);
}

#[test]
fn a_dry_run_says_what_it_would_do_and_does_nothing() {
    let mut lab = Lab::new();
    opened(&lab);
    killed(&mut lab);
    pass(&mut lab, 1800);
    let (tokens, records, said) = (lab.tokens(), lab.records(), lab.log.lines());
    let dry = Options {
        dry_run: true,
        ..options()
    };
    let report = reconcile(&lab.config, &lab.host, &dry, &lab.log).unwrap();
    assert_eq!(
        (report.count(What::Renewed), report.count(What::Ended)),
        (1, 1)
    );
    assert_eq!(
        (lab.tokens(), lab.records(), lab.log.lines()),
        (tokens, records, said)
    );
}

#[test]
fn only_the_user_who_was_asked_for_is_looked_at() {
    let mut lab = Lab::new();
    killed(&mut lab);
    let other = Options {
        uid: Some(lab.host.euid + 1),
        ..options()
    };
    let report = reconcile(&lab.config, &lab.host, &other, &lab.log).unwrap();
    assert_eq!((report.sessions, lab.tokens().len()), (0, 1));
}

#[test]
fn a_session_that_closes_while_reconcile_waits_for_it_stays_closed() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 1800);
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    let locked = sessions
        .lock(&session.record().name(), deadline)
        .unwrap()
        .unwrap();
    let (lab, session) = (&lab, &session);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || done(lab));
        std::thread::sleep(Duration::from_millis(50));
        fs::remove_file(session.record().token_path()).unwrap();
        locked.remove().unwrap();
        assert_eq!(waiting.join().unwrap(), []);
    });
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_session_lingers_while_its_processes_live() {
    let mut lab = Lab::new();
    let mut child = std::process::Command::new("sleep");
    let mut child = std::os::unix::process::CommandExt::process_group(&mut child, 0)
        .arg("60")
        .spawn()
        .unwrap();
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let mut opening = lab.opening();
    opening.linger = Some(Trace::Group {
        group: child.id(),
        session: u32::MAX,
    });
    let Opened::Yes(session) = open(&lab.config, &lab.host, opening, &lab.log) else {
        panic!("it did not open")
    };
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Lingers);
    assert_eq!(lab.tokens().len(), 1);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(done(&lab), []);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(done(&lab), [What::Finished]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
    assert_eq!(lines(&lab, "after the last process of its session"), 1);
}

#[test]
fn a_key_that_was_replaced_is_seen_by_its_file() {
    let lab = Lab::new();
    let before = Watch::of(&lab.config);
    assert_eq!(Watch::of(&lab.config), before);
    std::thread::sleep(Duration::from_millis(20));
    replace_key(&lab, "POOL", "the key");
    assert_ne!(Watch::of(&lab.config), before);
}

#[test]
fn the_pools_limits_bound_a_token_and_when_it_is_renewed() {
    let mut lab = Lab::new();
    lab.config.token_max_age = Lifetime::from_secs(600);
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = lab.opened();
    assert_eq!(session.record().expires, lab.host.now() + 600);
    pass(&mut lab, 299);
    assert_eq!(done(&lab), []);
    pass(&mut lab, 1);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(record(&lab, &session).expires, lab.host.now() + 600);
    lab.config.issued_token_expiration = Lifetime::from_secs(100);
    assert_eq!(done(&lab), [What::Renewed], "it lives too long now");
    assert_eq!(record(&lab, &session).expires, lab.host.now() + 100);
}

#[test]
fn a_token_that_another_host_removed_as_expired_comes_back() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 3700);
    fs::remove_file(session.record().token_path()).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens(), [session.record().file.to_string()]);
    assert!(!record(&lab, &session).removed);
}

#[test]
fn a_user_who_removes_the_whole_directory_gets_no_other_token() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    fs::write(lab.path("home/work"), "of a user who lives here").unwrap();
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
    assert_eq!(done(&lab), []);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty() && !lab.path("home/.condor").exists());
}

#[test]
fn what_fails_again_and_again_does_not_fill_the_audit() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let token = session.record().token_path();
    fs::remove_file(&token).unwrap();
    fs::create_dir(&token).unwrap();
    pass(&mut lab, 1800);
    for _ in 0..20 {
        assert_eq!(done(&lab), [What::Failed]);
    }
    let audit = || audit::read(&lab.config.state_dir).unwrap().entries;
    assert_eq!(audit().len(), 2, "the opening and the first attempt");
    fs::remove_dir(&token).unwrap();
    fs::write(&token, "x").unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    let last = audit().pop().unwrap();
    assert_eq!(last.tokens, record(&lab, &session).tokens);
}

#[test]
fn a_renewal_goes_in_front_of_a_token_of_a_host_that_has_not_the_new_key() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let mut host = lab.host.clone();
    host.name = "ap2".into();
    host.now_ns += 1_000_000_000;
    let mut config = lab.config.clone();
    config.state_dir = lab.path("state of ap2");
    let Opened::Yes(other) = open(&config, &host, lab.opening(), &lab.log) else {
        panic!("it did not open")
    };
    let (before, other) = (session.record().file.clone(), other.record().file.clone());
    assert_eq!(lab.tokens(), [other.to_string(), before.to_string()]);
    replace_key(&lab, "POOL", "the next key");
    pass(&mut lab, 100);
    assert_eq!(done(&lab), [What::Renewed]);
    let now = record(&lab, &session);
    assert_eq!(lab.tokens(), [now.file.to_string(), other.to_string()]);
    assert_eq!((now.moving_to, done(&lab)), (None, vec![]));
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [other.to_string()]);
}

/// A session whose reconcile was killed while it moved its token to another name;
/// the names, old and new.
fn moving(lab: &Lab) -> (Session, String, String) {
    let session = opened(lab);
    let sessions = sessions(lab);
    let deadline = Deadline::after(lab.config.timeout);
    let name = session.record().name();
    let mut locked = sessions.lock(&name, deadline).unwrap().unwrap();
    let mut moving = session.record().clone();
    let to = moving.file.in_front_of(&moving.file);
    moving.moving_to = Some(to.clone());
    locked.replace(&moving).unwrap();
    drop(locked);
    let from = session.record().token_path();
    fs::copy(&from, from.with_file_name(to.to_string())).unwrap();
    let from = session.record().file.to_string();
    (session, from, to.to_string())
}

#[test]
fn a_session_that_was_moving_when_its_reconcile_was_killed_leaves_nothing() {
    let lab = Lab::new();
    let (session, from, to) = moving(&lab);
    assert_eq!(lab.tokens(), [to, from]);
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty());
}

#[test]
fn a_move_that_was_begun_is_finished_by_the_next_renewal() {
    let mut lab = Lab::new();
    let (session, _, to) = moving(&lab);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens(), std::slice::from_ref(&to));
    let now = record(&lab, &session);
    assert_eq!((now.file.to_string(), now.moving_to), (to, None));
}

#[test]
fn a_home_has_one_deadline_for_all_its_sessions() {
    let mut lab = Lab::new();
    lab.config.timeout = Duration::from_millis(100);
    let all: Vec<Session> = (0..6).map(|_| opened(&lab)).collect();
    pass(&mut lab, 1800);
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    // As threads hold them that wait for a home that does not answer.
    let held: Vec<_> = all
        .iter()
        .map(|session| sessions.lock(&session.record().name(), deadline).unwrap())
        .collect();
    let started = std::time::Instant::now();
    assert_eq!(done(&lab), [What::Failed]);
    assert!(started.elapsed() < Duration::from_millis(500));
    drop(held);
    assert_eq!(done(&lab).len(), 6);
}

#[test]
fn with_a_broken_configuration_what_has_ended_ends_and_nothing_is_renewed() {
    let mut lab = Lab::new();
    let live = opened(&lab);
    killed(&mut lab);
    pass(&mut lab, 1800);
    let broken = Options {
        broken: Some("/x.toml line 3: a mistake".into()),
        ..options()
    };
    let report = reconcile(&lab.config, &lab.host, &broken, &lab.log).unwrap();
    let what: Vec<What> = report.actions.iter().map(|action| action.what).collect();
    assert_eq!(sorted(what), [What::Ended, What::Failed]);
    assert_eq!(lab.tokens(), [live.record().file.to_string()]);
    assert_eq!(lines(&lab, "no token can be renewed: /x.toml line 3"), 1);
}

#[test]
fn signs_beside_records_that_are_gone_are_removed() {
    let lab = Lab::new();
    let session = opened(&lab);
    let name = session.record().name();
    session.close(&lab.host, &lab.log).unwrap();
    sessions(&lab).mark_ended(&name).unwrap();
    assert_eq!(lab.records().len(), 1);
    assert_eq!(done(&lab), []);
    assert!(lab.records().is_empty());
}

#[test]
fn a_record_of_another_version_is_left_alone() {
    let lab = Lab::new();
    let session = opened(&lab);
    let path = sessions(&lab).path_of(&session.record().name());
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen("\"version\":2", "\"version\":9,\"more\":0", 1);
    fs::write(&path, &text).unwrap();
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(lines(&lab, "has version 9"), 1);
}
