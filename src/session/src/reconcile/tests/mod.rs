mod endings;
mod places;
mod trials;
mod trouble;

use super::*;

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::audit::Event;
use crate::close::{Closed, Session};
use crate::deadline::Deadline;
use crate::error::Error;
use crate::linger::Trace;
use crate::open::{Opened, Wanted, open};
use crate::record::Record;
use crate::testing::{Lab, wanted};

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

/// Opens a session whose tokens its home did not take; there is no tokens.d.
fn never_written(lab: &Lab) -> Session {
    let session = opened(lab);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    let name = session.record().name();
    sessions(lab).mark_pending(&name).unwrap();
    session
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
    assert_eq!(after.file(), before.file());
    assert_eq!(after.expires(), lab.host.now() + 3600);
    assert_ne!(after.files[0].tokens[0].jti, before.files[0].tokens[0].jti);
    let seen = idtoken::decode(token(&session).trim()).unwrap();
    assert_eq!(seen.jti.unwrap(), after.files[0].tokens[0].jti.to_string());
    assert_eq!(seen.exp, Some(after.expires()));
    assert_ne!(token(&session), text);
    assert_eq!(lab.tokens().len(), 1);
    assert_eq!(lines(&lab, "Notice: token renewed user=alice"), 1);
    assert_eq!(lines(&lab, "why=\"half of its life is over\""), 1);
    assert_eq!(done(&lab), []);
    let events = audit::read(&lab.config.state_dir).unwrap().entries;
    assert_eq!(events[1].event, Event::Renewed);
    assert_eq!(events[1].tokens, after.files[0].tokens);
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
    lab.configure("kid = [\"next\", \"POOL\"]");
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
fn a_token_that_its_user_removed_is_left_so_and_said_once() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    fs::remove_file(session.record().token_path()).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
    assert!(record(&lab, &session).files[0].removed);
    pass(&mut lab, 1800);
    replace_key(&lab, "POOL", "the next key");
    assert_eq!(done(&lab), []);
    assert_eq!(lines(&lab, "removed by its user"), 1);
    assert!(lab.tokens().is_empty());
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn a_token_that_the_home_did_not_take_is_written_when_it_does() {
    let lab = Lab::new();
    let session = never_written(&lab);
    assert_eq!(done(&lab), [What::Delayed]);
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
    assert_eq!(lab.records(), [session.record().name().to_string()]);
    assert_eq!(lines(&lab, "token opened late"), 1);
    assert_eq!(done(&lab), []);
}

fn sorted(mut what: Vec<What>) -> Vec<What> {
    what.sort_by_key(|what| format!("{what:?}"));
    what
}

#[test]
fn tokens_that_were_made_to_last_become_short_when_somebody_renews_them() {
    let lab = Lab::new();
    let session = lab.opened();
    assert_eq!(session.record().expires(), lab.host.now() + 86_400);
    let typed = Options::default();
    let report = reconcile(&lab.config, &lab.host, &typed, &lab.log).unwrap();
    assert!(report.actions.is_empty(), "nobody would renew a short one");
    let report = run(&lab);
    assert!(report.actions[0].why.contains("longer than it is renewed"));
    assert_eq!(record(&lab, &session).expires(), lab.host.now() + 3600);
}

#[test]
fn a_lifetime_that_is_too_short_for_the_timer_is_not_used() {
    let mut lab = Lab::new();
    lab.configure("lifetime = 20");
    lab.opened();
    assert_eq!(done(&lab), []);
    assert_eq!(done(&lab), []);
    assert_eq!(lines(&lab, "no reconcile would renew them in time"), 1);
    lab.configure("");
    run(&lab);
    std::fs::remove_file(lab.config.run_dir.join("reconciled")).unwrap();
    lab.configure("lifetime = 20");
    run(&lab);
    assert_eq!(
        lines(&lab, "no reconcile would renew them in time"),
        2,
        "it was well between"
    );
    let fresh = stamp::is_fresh(
        &lab.config.run_dir,
        lab.config.shortest_lifetime(),
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
    lab.configure("token_max_age = 600");
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = lab.opened();
    assert_eq!(session.record().expires(), lab.host.now() + 600);
    pass(&mut lab, 299);
    assert_eq!(done(&lab), []);
    pass(&mut lab, 1);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(record(&lab, &session).expires(), lab.host.now() + 600);
    lab.configure("token_max_age = 600\nissued_token_expiration = 100");
    assert_eq!(done(&lab), [What::Renewed], "it lives too long now");
    assert_eq!(record(&lab, &session).expires(), lab.host.now() + 100);
}

#[test]
fn a_user_who_removes_the_whole_directory_gets_no_other_token() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
    assert_eq!(done(&lab), []);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty() && !lab.path("home/.condor").exists());
}
