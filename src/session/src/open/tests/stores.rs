//! Where tokens go: several files, the private store, and a home that fails.

use super::*;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::PathBuf;

use crate::reconcile::{Options, What, reconcile};
use crate::record::{Place, Record};
use crate::testing::names;

fn store(session: &Session) -> PathBuf {
    let (name, path) = session.environment().expect("it has no private store");
    assert_eq!(name, "_CONDOR_SEC_TOKEN_DIRECTORY");
    path
}

fn private() -> Lab {
    let mut lab = Lab::in_memory();
    lab.configure("store = \"private\"\n");
    lab
}

/// The names in the directory of all private stores.
fn stores(lab: &Lab) -> Vec<String> {
    names(&lab.config.run_dir.join("tokens"))
}

pub(super) fn done(lab: &Lab) -> Vec<What> {
    let options = Options {
        every: Some(Duration::from_secs(15)),
        ..Options::default()
    };
    let report = reconcile(&lab.config, &lab.host, &options, &lab.log).unwrap();
    report.actions.iter().map(|action| action.what).collect()
}

pub(super) fn record(lab: &Lab, session: &Session) -> Record {
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    sessions.read(&session.record().name()).unwrap().unwrap()
}

/// A home with two tokens of the user's own.
fn own_tokens(lab: &Lab) -> PathBuf {
    let dir = lab.path("home/.condor/tokens.d");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join("mine"), "a").unwrap();
    fs::write(dir.join("another"), "b").unwrap();
    dir
}

#[test]
fn a_private_store_has_the_token_and_links_and_the_home_has_nothing() {
    let lab = private();
    let own = own_tokens(&lab);
    let session = lab.opened();
    let dir = store(&session);
    let file = session.record().file().to_string();
    assert_eq!(names(&dir), [file.as_str(), "another", "mine"]);
    let meta = fs::metadata(&dir).unwrap();
    assert_eq!((meta.mode() & 0o777, meta.uid()), (0o700, lab.host.euid));
    let token = fs::metadata(dir.join(&file)).unwrap();
    assert_eq!(token.mode() & 0o777, 0o600);
    assert_eq!(fs::read_link(dir.join("mine")).unwrap(), own.join("mine"));
    let above = fs::metadata(dir.parent().unwrap()).unwrap();
    assert_eq!(above.permissions().mode() & 0o777, 0o711);
    assert_eq!(lab.tokens(), ["another", "mine"]);
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!((stores(&lab), lab.records()), (vec![], vec![]));
    assert_eq!(lab.tokens(), ["another", "mine"]);
}

#[test]
fn a_private_store_is_renewed_and_its_links_follow() {
    let mut lab = private();
    let own = own_tokens(&lab);
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = lab.opened();
    let dir = store(&session);
    let file = dir.join(session.record().file().to_string());
    let before = fs::read_to_string(&file).unwrap();
    fs::remove_file(own.join("mine")).unwrap();
    fs::write(own.join("new"), "c").unwrap();
    assert_eq!(done(&lab), []);
    assert_eq!(names(&dir)[1..], ["another", "new"]);
    lab.host.now_ns += 1_800_000_000_000;
    assert_eq!(done(&lab), [What::Renewed]);
    assert_ne!(fs::read_to_string(&file).unwrap(), before);
    // Whoever takes the token away gets no other.
    fs::remove_file(&file).unwrap();
    lab.host.now_ns += 1_800_000_000_000;
    assert_eq!(done(&lab), [What::Removed]);
    assert!(record(&lab, &session).is_removed());
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!((stores(&lab), lab.records()), (vec![], vec![]));
}

#[test]
fn a_private_store_of_a_killed_session_goes_with_the_next_reconcile_or_login() {
    for next_is_a_login in [true, false] {
        let mut lab = private();
        lab.host.holder.start += 1;
        let killed = lab.opened();
        // Whatever its user put there goes too.
        fs::create_dir_all(store(&killed).join("deep/er")).unwrap();
        lab.host.holder.start -= 1;
        if next_is_a_login {
            let session = lab.opened();
            assert_eq!(stores(&lab), [session.record().session.to_string()]);
        } else {
            assert_eq!(done(&lab), [What::Ended]);
            assert_eq!(stores(&lab), Vec::<String>::new());
        }
        assert_eq!(lab.records().len(), usize::from(next_is_a_login));
    }
}

#[test]
fn a_private_store_without_a_record_stays_while_its_user_is_there() {
    let lab = private();
    let session = lab.opened();
    fs::remove_dir_all(&lab.config.state_dir).unwrap();
    // Whoever runs the tests is.
    assert_eq!(done(&lab), []);
    assert_eq!(stores(&lab), [session.record().session.to_string()]);
}

#[test]
fn a_disk_takes_no_private_store_and_the_home_is_no_way_out() {
    let mut lab = Lab::new();
    lab.configure("store = \"private\"\n");
    assert!(lab.refused().contains("is on a disk"));
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_home_that_fails_sends_the_token_into_a_private_store() {
    let mut lab = Lab::in_memory();
    fs::write(lab.path("home/.condor"), "in the way").unwrap();
    let session = lab.opened();
    assert_eq!(
        names(&store(&session)),
        [session.record().file().to_string()]
    );
    let kept = record(&lab, &session);
    assert_eq!((kept.place, kept.strays.len()), (Place::Private, 0));
    let lines = lab.log.lines();
    let why = "the tokens are in the private store, since the home can not take them user=alice";
    assert!(
        lines
            .iter()
            .any(|l| l.starts_with("Warning") && l.contains(why)),
        "{lines:#?}"
    );
    // It stays there, renewed, when the home is well again.
    fs::remove_file(lab.path("home/.condor")).unwrap();
    lab.host.now_ns += 43_200_000_000_000;
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!((lab.tokens(), stores(&lab).len()), (vec![], 1));
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!((stores(&lab), lab.records()), (vec![], vec![]));
}

/// A session whose home did not answer, as a login leaves it.
fn strayed(lab: &Lab) -> (Session, Record) {
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    fs::write(lab.path("home/.condor"), "in the way").unwrap();
    let session = lab.opened();
    fs::remove_file(lab.path("home/.condor")).unwrap();
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    let name = session.record().name();
    let mut record = sessions.read(&name).unwrap().unwrap();
    record.place = Place::Home;
    let soon = Deadline::after(Duration::from_secs(2));
    let mut locked = sessions.lock(&name, soon).unwrap().unwrap();
    locked.replace(&record).unwrap();
    sessions.mark_strayed(&name).unwrap();
    record.stray();
    // What the thread wrote that nobody waited for.
    let dir = lab.path("home/.condor/tokens.d");
    fs::create_dir_all(&dir).unwrap();
    fs::write(dir.join(record.file().to_string()), "late").unwrap();
    (session, record)
}

#[test]
fn what_strayed_into_a_home_is_taken_away_when_it_answers() {
    let lab = Lab::in_memory();
    let (session, expected) = strayed(&lab);
    assert_eq!(record(&lab, &session), expected);
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.tokens(), Vec::<String>::new());
    let kept = record(&lab, &session);
    assert_eq!((kept.place, kept.strays.len()), (Place::Private, 0));
    // The sign went with it.
    assert_eq!(lab.records(), [kept.name().to_string()]);
    assert_eq!(done(&lab), []);
    assert_eq!(stores(&lab).len(), 1);
}

#[test]
fn a_session_that_strayed_leaves_nothing_in_either_place() {
    let lab = Lab::in_memory();
    let (_, record) = strayed(&lab);
    let session = Session::new(record, &lab.config);
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(
        (stores(&lab), lab.tokens(), lab.records()),
        (vec![], vec![], vec![])
    );
}

#[test]
fn a_home_that_holds_the_lock_keeps_no_private_store_alive() {
    let mut lab = Lab::in_memory();
    lab.config.timeout = Duration::from_millis(300);
    let (_, record) = strayed(&lab);
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    let soon = Deadline::after(Duration::from_secs(2));
    // As the thread that waits for the home does.
    let held = sessions.lock(&record.name(), soon).unwrap().unwrap();
    let session = Session::new(record, &lab.config);
    assert!(session.close(&lab.host, &lab.log).is_err());
    assert_eq!(stores(&lab), Vec::<String>::new());
    assert_eq!(lab.tokens().len(), 1);
    drop(held);
    assert_eq!(done(&lab), [What::Ended]);
    assert_eq!((lab.tokens(), lab.records()), (vec![], vec![]));
}

pub(super) const TWO: &str = "[[token]]\nname = \"other\"\ntrust_domain = \"other.test\"\nkid = \"site\"\n\
                   lifetime_unrenewed = \"10m\"\n[[token]]\nscope = [\"READ\"]\n";

pub(super) fn two() -> Lab {
    let mut lab = Lab::in_memory();
    fs::write(lab.path("keys/site"), "the other key").unwrap();
    fs::set_permissions(lab.path("keys/site"), fs::Permissions::from_mode(0o600)).unwrap();
    lab.configure(TWO);
    lab
}

fn open_two(lab: &Lab) -> Opened {
    let wanted = Wanted {
        tables: vec![0, 1],
        ..wanted(lab.opening())
    };
    open(&lab.config, &lab.host, wanted, &lab.log)
}

pub(super) fn opened_two(lab: &Lab) -> Session {
    match open_two(lab) {
        Opened::Yes(session) => *session,
        _ => panic!("it did not open: {:#?}", lab.log.lines()),
    }
}

fn claims(lab: &Lab, name: &str) -> idtoken::Decoded {
    let path = lab.path("home/.condor/tokens.d").join(name);
    idtoken::decode(fs::read_to_string(path).unwrap().trim()).unwrap()
}

#[test]
fn two_tokens_are_told_apart_and_keep_the_order_of_the_file() {
    let mut lab = two();
    let old = lab.opened();
    lab.host.now_ns += 1_000_000_000;
    let session = opened_two(&lab);
    let names = lab.tokens();
    assert_eq!(names.len(), 3);
    assert!(
        names[0].ends_with("-other") && !names[1].ends_with("-other"),
        "{names:?}"
    );
    assert_eq!(
        names[2],
        old.record().file().to_string(),
        "the newer ones come first"
    );
    let (other, own) = (claims(&lab, &names[0]), claims(&lab, &names[1]));
    assert_eq!(other.iss.as_deref(), Some("other.test"));
    assert_eq!((other.kid.as_deref(), &other.scope), (Some("site"), &None));
    assert_eq!(own.iss.as_deref(), Some("lab.test"));
    assert_eq!(own.scope.as_deref(), Some("condor:/READ"));
    let life = |claims: &idtoken::Decoded| claims.exp.unwrap() - claims.iat.unwrap();
    assert_eq!(life(&other), 600);
    assert_eq!(session.record().expires(), lab.host.now() + 600);
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [old.record().file().to_string()]);
}

#[test]
fn each_token_is_renewed_when_it_is_due_and_a_clock_ahead_moves_them_all() {
    let mut lab = two();
    lab.host.now_ns += 3_600_000_000_000;
    let ahead = lab.opened();
    lab.host.now_ns -= 3_600_000_000_000;
    let session = opened_two(&lab);
    let names = lab.tokens();
    assert!(names[0].ends_with("-other"), "{names:?}");
    assert_eq!(names[2], ahead.record().file().to_string());
    ahead.close(&lab.host, &lab.log).unwrap();
    lab.host.now_ns += 300_000_000_000;
    let typed = Options::default();
    let report = reconcile(&lab.config, &lab.host, &typed, &lab.log).unwrap();
    assert_eq!(report.count(What::Renewed), 1, "{report:?}");
    let kept = record(&lab, &session);
    assert_eq!(kept.files[0].issued(), lab.host.now());
    assert_eq!(kept.files[1].issued(), lab.host.now() - 300);
    assert_eq!(lab.tokens(), names[..2]);
    assert!(
        lab.log
            .lines()
            .iter()
            .any(|l| l.contains("renewed") && l.contains("-other "))
    );
}

#[test]
fn a_token_that_no_table_makes_any_more_goes_and_the_other_stays() {
    let mut lab = two();
    let session = opened_two(&lab);
    lab.configure("");
    let report = reconcile(&lab.config, &lab.host, &Options::default(), &lab.log).unwrap();
    // The one without a name has another scope now.
    assert_eq!(
        (report.count(What::Tidied), report.count(What::Renewed)),
        (1, 1)
    );
    assert_eq!(lab.tokens(), [session.record().files[1].name.to_string()]);
    assert!(record(&lab, &session).files[0].dropped);
    let audit = crate::audit::read(&lab.config.state_dir).unwrap().entries;
    let dropped: Vec<_> = audit.iter().filter(|e| e.event == Event::Dropped).collect();
    assert_eq!(dropped[0].tokens, session.record().files[0].tokens);
    // A table that was gone by mistake brings its token back.
    lab.configure(TWO);
    let report = reconcile(&lab.config, &lab.host, &Options::default(), &lab.log).unwrap();
    assert_eq!(report.count(What::Renewed), 2, "{report:?}");
    assert_eq!(
        lab.tokens(),
        session
            .record()
            .names()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
    );
    assert!(!record(&lab, &session).files[0].dropped);
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_token_that_can_not_be_made_costs_the_session_no_other_unless_it_is_denied() {
    let mut lab = two();
    fs::remove_file(lab.path("keys/site")).unwrap();
    let Opened::Partly(session, error) = open_two(&lab) else {
        panic!("not partly")
    };
    assert!(error.to_string().contains("keys/site"), "{error}");
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
    let lines = lab.log.lines();
    assert!(
        lines
            .iter()
            .any(|l| l.contains("could not be made user=alice token=other"))
    );
    session.close(&lab.host, &lab.log).unwrap();
    lab.configure(&format!("on_failure = \"deny\"\n{TWO}"));
    assert!(matches!(open_two(&lab), Opened::No(_)));
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn two_pools_with_a_key_of_one_name_are_not_mixed_up() {
    let mut lab = Lab::in_memory();
    fs::create_dir(lab.path("other")).unwrap();
    fs::write(lab.path("other/POOL"), "the key of the other").unwrap();
    fs::set_permissions(lab.path("other/POOL"), fs::Permissions::from_mode(0o600)).unwrap();
    lab.configure(&format!(
        "[[token]]\nname = \"other\"\ntrust_domain = \"other.test\"\npassword_directory = {:?}\n\
         [[token]]\n",
        lab.path("other")
    ));
    let first = opened_two(&lab);
    // Old enough to be judged by its signature, by a host that no longer knows its session.
    for path in first.record().paths() {
        let file = fs::File::options().write(true).open(path).unwrap();
        let old = std::time::SystemTime::now() - Duration::from_secs(3600);
        file.set_modified(old).unwrap();
    }
    fs::remove_dir_all(&lab.config.state_dir).unwrap();
    let second = opened_two(&lab);
    assert_eq!(lab.tokens().len(), 4, "{:#?}", lab.log.lines());
    let jtis: Vec<_> = second
        .record()
        .tokens()
        .map(|t| t.kid.to_string())
        .collect();
    assert_eq!(jtis, ["POOL", "POOL"]);
}

#[test]
fn a_configuration_that_is_gone_changes_no_live_session() {
    let mut lab = two();
    let session = opened_two(&lab);
    let (before, tokens) = (record(&lab, &session), lab.tokens());
    lab.config.tables.truncate(1);
    lab.config.file_exists = false;
    lab.host.now_ns += 86_000_000_000_000;
    let report = reconcile(&lab.config, &lab.host, &Options::default(), &lab.log).unwrap();
    assert_eq!(report.count(What::Failed), report.actions.len());
    assert!(
        report.actions[0].why.contains("/x.toml is not there"),
        "{report:?}"
    );
    assert_eq!((record(&lab, &session), lab.tokens()), (before, tokens));
    let said = |lab: &Lab| {
        lab.log
            .lines()
            .iter()
            .filter(|l| l.contains("left as they are"))
            .count()
    };
    reconcile(&lab.config, &lab.host, &Options::default(), &lab.log).unwrap();
    assert_eq!(said(&lab), 1);
}

#[test]
fn a_group_that_is_not_known_for_a_moment_changes_no_live_session() {
    let mut lab = Lab::in_memory();
    let with = |group: &str| {
        format!(
            "[[token]]\nname = \"gpu\"\ngroups = [\"{group}\"]\n\
             [[token]]\ngroups = [\"{group}\"]\nscope = [\"READ\"]\n[[token]]\n"
        )
    };
    let own = nix::unistd::Group::from_gid(nix::unistd::getegid())
        .unwrap()
        .unwrap();
    lab.configure(&with(&own.name));
    let session = opened_two(&lab);
    let (before, tokens) = (record(&lab, &session), lab.tokens());
    assert_eq!(tokens.len(), 2);
    lab.configure(&with("no-such-group"));
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!((record(&lab, &session), lab.tokens()), (before, tokens));
}

#[test]
fn a_private_store_that_was_lost_is_made_again() {
    let mut lab = private();
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = lab.opened();
    let dir = store(&session);
    fs::remove_dir_all(&lab.config.run_dir).unwrap();
    lab.host.now_ns += 15_000_000_000;
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(names(&dir), [session.record().file().to_string()]);
    let lines = lab.log.lines();
    assert!(
        lines
            .iter()
            .any(|l| l.contains("its private store was lost")),
        "{lines:#?}"
    );
    assert_eq!(done(&lab), []);
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!((stores(&lab), lab.records()), (vec![], vec![]));
}

#[test]
fn strays_are_looked_for_until_they_have_expired() {
    let mut lab = Lab::in_memory();
    let (session, _) = strayed(&lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    assert_eq!(done(&lab), [What::Waiting]);
    assert_eq!(record(&lab, &session).strays.len(), 1);
    fs::remove_dir(lab.path("home")).unwrap();
    fs::rename(lab.path("away"), lab.path("home")).unwrap();
    lab.host.now_ns += 700_000_000_000;
    assert_eq!(done(&lab), [What::Tidied]);
    assert!(lab.tokens().is_empty());
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    let (other, _) = strayed(&lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    assert!(other.close(&lab.host, &lab.log).is_err());
    lab.host.now_ns += 3_700_000_000_000;
    assert!(done(&lab).contains(&What::Ended));
    assert!(!lab.records().contains(&other.record().name().to_string()));
}

#[test]
fn a_damaged_record_of_a_private_store_is_retired_with_it() {
    let mut lab = private();
    lab.host.holder.start += 1;
    let session = lab.opened();
    lab.host.holder.start -= 1;
    let uid = lab.host.euid.to_string();
    let dir = lab.path("state/sessions").join(uid);
    fs::write(dir.join(session.record().name().to_string()), "{").unwrap();
    assert_eq!(done(&lab), [What::SetAside, What::Ended]);
    assert_eq!((stores(&lab), lab.records()), (vec![], vec![]));
}

#[test]
fn an_administrator_ends_a_private_store_whatever_its_home_does() {
    let mut lab = Lab::in_memory();
    lab.config.timeout = Duration::from_millis(300);
    let (session, record) = strayed(&lab);
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    let soon = Deadline::after(Duration::from_secs(2));
    let held = sessions.lock(&record.name(), soon).unwrap().unwrap();
    let name = session.record().name();
    let revoked = crate::close::revoke(&sessions, &name, &lab.config, &lab.host, &lab.log);
    assert!(revoked.is_err() && stores(&lab).is_empty());
    drop(held);
}

/// A program in place of condor_token_fetch.
fn fetcher(lab: &Lab, script: &str) -> PathBuf {
    let path = lab.path("fetch");
    crate::child::tests::install(&format!("#!/bin/sh\n{script}\n"), "755", &path);
    path
}

fn fetched(lab: &Lab) -> String {
    let key = SigningKey::from_bytes(&Kid::pool(), b"the key", KeyForm::Plain).unwrap();
    let claims = idtoken::Claims {
        iat: lab.host.now(),
        exp: Some(lab.host.now() + 3600),
        iss: "lab.test".parse().unwrap(),
        jti: idtoken::Jti::random().unwrap(),
        sub: idtoken::Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
        scope: None,
    };
    key.mint(&claims).unwrap().as_str().to_owned()
}

#[test]
fn a_schedd_that_hangs_costs_its_own_token_and_neither_the_home_nor_the_promise() {
    let mut lab = Lab::in_memory();
    let path = fetcher(&lab, "exec sleep 100");
    lab.configure(&format!(
        "[[token]]\n[[token]]\nname = \"other\"\nissuer = \"schedd\"\n\
         condor_token_fetch = {path:?}\n"
    ));
    let Opened::Partly(session, error) = open_two(&lab) else {
        panic!("not partly: {:#?}", lab.log.lines())
    };
    assert!(
        error.to_string().contains("condor_token_fetch") || error.to_string().contains("fetch")
    );
    assert_eq!(session.record().place, Place::Home);
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
}

#[test]
fn a_user_whose_fetch_hangs_holds_up_neither_ends_nor_the_promise() {
    let mut lab = Lab::in_memory();
    let path = fetcher(&lab, &format!("echo {}", fetched(&lab)));
    crate::stamp::promise(&lab.config.run_dir, lab.host.now() + 15).unwrap();
    lab.configure(&format!(
        "issuer = \"schedd\"\ncondor_token_fetch = {path:?}\n"
    ));
    let all: Vec<Session> = (0..4).map(|_| lab.opened()).collect();
    lab.opened();
    fetcher(&lab, "exec sleep 100");
    lab.config.timeout = Duration::from_millis(300);
    lab.host.now_ns += 2_000_000_000_000;
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    for session in &all {
        sessions.mark_ended(&session.record().name()).unwrap();
    }
    let what = done(&lab);
    assert_eq!(
        what.iter().filter(|what| **what == What::Ended).count(),
        4,
        "{what:?}"
    );
    assert_eq!(lab.tokens().len(), 1);
    let fresh = |lab: &Lab| {
        let hour = idtoken::Lifetime::HOUR;
        crate::stamp::is_fresh(&lab.config.run_dir, hour, lab.host.now(), lab.host.euid)
    };
    assert!(
        fresh(&lab),
        "one user is no reason to make everybody's tokens last"
    );
}

#[test]
fn a_configuration_that_nobody_can_complete_changes_no_live_session() {
    let mut lab = two();
    lab.configure("kid = \"site\"\n");
    let session = lab.opened();
    let before = record(&lab, &session);
    lab.configure("");
    let blind = Options {
        is_blind: true,
        ..Options::default()
    };
    let report = reconcile(&lab.config, &lab.host, &blind, &lab.log).unwrap();
    assert!(
        report.actions[0].why.contains("HTCondor can not be asked"),
        "{report:?}"
    );
    assert_eq!(record(&lab, &session), before);
    // What is as the configuration has it is renewed all the same.
    lab.configure("kid = \"site\"\n");
    lab.host.now_ns += 50_000_000_000_000;
    let report = reconcile(&lab.config, &lab.host, &blind, &lab.log).unwrap();
    assert_eq!(report.count(What::Renewed), 1);
}

/// A session of two tokens: one that a schedd signs, asked by a script, and one of the key.
pub(super) fn with_schedd(lab: &mut Lab) -> (Session, PathBuf) {
    let path = fetcher(lab, &format!("echo {}", fetched(lab)));
    crate::stamp::promise(&lab.config.run_dir, lab.host.now() + 15).unwrap();
    lab.configure(&format!(
        "[[token]]\nname = \"other\"\nissuer = \"schedd\"\ncondor_token_fetch = {path:?}\n[[token]]\n"
    ));
    (opened_two(lab), path)
}

#[test]
fn a_schedd_that_hangs_keeps_no_key_from_renewing() {
    let mut lab = Lab::in_memory();
    let (session, _) = with_schedd(&mut lab);
    fetcher(&lab, "exec sleep 100");
    lab.config.timeout = Duration::from_millis(300);
    lab.host.now_ns += 1_900_000_000_000;
    let what = done(&lab);
    assert_eq!(
        what.iter().filter(|what| **what == What::Renewed).count(),
        1,
        "{what:?}"
    );
    let kept = record(&lab, &session);
    assert_eq!(kept.files[1].issued(), lab.host.now());
    assert_ne!(kept.files[0].issued(), lab.host.now());
}

#[test]
fn a_session_written_late_has_each_token_once_and_the_others_when_they_can_be_made() {
    let mut lab = two();
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = opened_two(&lab);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    let sessions = Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap();
    sessions.mark_pending(&session.record().name()).unwrap();
    fs::rename(lab.path("keys/site"), lab.path("keys/away")).unwrap();
    lab.configure(TWO);
    for _ in 0..3 {
        done(&lab);
    }
    let late = |lab: &Lab| {
        let lines = lab.log.lines();
        lines
            .iter()
            .filter(|line| line.contains("token opened late"))
            .count()
    };
    assert_eq!((late(&lab), lab.tokens().len()), (1, 1));
    assert_eq!(lab.records(), [session.record().name().to_string()]);
    fs::rename(lab.path("keys/away"), lab.path("keys/site")).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!((late(&lab), lab.tokens().len()), (1, 2));
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_lost_store_gets_every_token_back_though_one_can_not_be_made_at_once() {
    let mut lab = two();
    lab.configure(&format!("store = \"private\"\n{TWO}"));
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = opened_two(&lab);
    fs::remove_dir_all(&lab.config.run_dir).unwrap();
    fs::rename(lab.path("keys/site"), lab.path("keys/away")).unwrap();
    assert!(done(&lab).contains(&What::Renewed));
    assert_eq!(names(&store(&session)).len(), 1);
    fs::rename(lab.path("keys/away"), lab.path("keys/site")).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(names(&store(&session)).len(), 2);
    assert!(!record(&lab, &session).files.iter().any(|file| file.removed));
}

#[test]
fn a_table_that_is_back_writes_into_no_other_home_and_not_what_its_user_took_away() {
    let mut lab = two();
    let session = opened_two(&lab);
    let typed = |lab: &Lab| {
        let report = reconcile(&lab.config, &lab.host, &Options::default(), &lab.log).unwrap();
        report
            .actions
            .iter()
            .map(|action| action.what)
            .collect::<Vec<_>>()
    };
    lab.configure("scope = [\"READ\"]\n");
    assert_eq!(typed(&lab), [What::Tidied]);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    lab.configure(TWO);
    assert_eq!(typed(&lab), [What::Waiting]);
    assert_eq!(names(&lab.path("home")), Vec::<String>::new());
    fs::remove_dir(lab.path("home")).unwrap();
    fs::rename(lab.path("away"), lab.path("home")).unwrap();
    assert_eq!(typed(&lab), [What::Renewed]);
    fs::remove_file(&session.record().paths()[0]).unwrap();
    lab.configure("scope = [\"READ\"]\n");
    assert_eq!(typed(&lab), [What::Tidied]);
    lab.configure(TWO);
    assert_eq!(typed(&lab), Vec::<What>::new());
    assert_eq!(lab.tokens(), [session.record().files[1].name.to_string()]);
}

#[test]
fn a_home_in_trouble_is_said_once_in_a_while_though_it_is_left_alone_between() {
    let mut lab = Lab::in_memory();
    let (_, _) = strayed(&lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    for _ in 0..9 {
        done(&lab);
        lab.host.now_ns += 15_000_000_000;
    }
    let lines = lab.log.lines();
    let said = lines
        .iter()
        .filter(|line| line.contains("could not be looked after"));
    assert_eq!(said.count(), 1, "{lines:#?}");
}
