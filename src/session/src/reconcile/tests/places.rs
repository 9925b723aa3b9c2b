//! The place of a token among those of other hosts.

use super::*;

/// A session that another access point opened with the same home, this many seconds later.
fn opened_on_ap2(lab: &Lab, later: u64) -> Session {
    let mut host = lab.host.clone();
    host.name = "ap2".into();
    host.now_ns += later * 1_000_000_000;
    let mut config = lab.config.clone();
    config.state_dir = lab.path("state of ap2");
    match open(&config, &host, wanted(lab.opening()), &lab.log) {
        Opened::Yes(session) => *session,
        _ => panic!("it did not open"),
    }
}

/// Writes a record as a reconcile would.
fn replace(lab: &Lab, record: &Record) {
    let sessions = sessions(lab);
    let deadline = Deadline::after(lab.config.timeout);
    let locked = sessions.lock(&record.name(), deadline).unwrap();
    locked.unwrap().replace(record).unwrap();
}

#[test]
fn a_dead_token_of_another_host_is_cleared_out_of_the_way_as_it_dies() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    // A later session of another host, which lost its power since.
    stamp::promise(&lab.config.run_dir, lab.host.now() + 1000).unwrap();
    let other = opened_on_ap2(&lab, 1000);
    let (own, other) = (session.record().file().to_string(), other.record().clone());
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(
        record(&lab, &session).files[0].clear_at,
        Some(other.expires() + 60)
    );
    assert_eq!(lab.tokens(), [other.file().to_string(), own.clone()]);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    lab.host.now_ns = (other.expires() + 61) * 1_000_000_000;
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.tokens(), [own]);
    assert_eq!(record(&lab, &session).files[0].clear_at, None);
    assert_eq!(done(&lab), []);
}

#[test]
fn a_token_that_another_host_removed_as_expired_comes_back() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 3700);
    fs::remove_file(session.record().token_path()).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
    assert!(!record(&lab, &session).files[0].removed);
}

#[test]
fn a_token_that_another_host_removed_when_it_was_renewed_comes_back_a_minute_later() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let token = session.record().token_path();
    pass(&mut lab, 3700);
    assert_eq!(done(&lab), [What::Renewed]);
    // It had seen the expired one, and removes by name.
    fs::remove_file(&token).unwrap();
    pass(&mut lab, 59);
    assert_eq!(done(&lab), []);
    pass(&mut lab, 1);
    assert_eq!(done(&lab), [What::Renewed]);
    assert!(token.exists() && !record(&lab, &session).files[0].removed);
    // Once, and whoever removes it from now on is its user.
    assert_eq!(done(&lab), []);
    fs::remove_file(&token).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
}

#[test]
fn a_clock_that_was_ahead_makes_no_token_come_back_for_ever() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let year = 365 * 86_400;
    pass(&mut lab, year);
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    lab.host.now_ns -= year * 1_000_000_000;
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    fs::remove_file(session.record().token_path()).unwrap();
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Removed]);
}

#[test]
fn what_is_cleared_away_in_that_minute_finds_no_token_removed_by_its_user() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 3700);
    assert_eq!(done(&lab), [What::Renewed]);
    fs::remove_file(session.record().token_path()).unwrap();
    let mut renewed = record(&lab, &session);
    renewed.files[0].clear_at = Some(lab.host.now());
    let sessions = sessions(&lab);
    let locked = sessions.lock(&renewed.name(), Deadline::after(lab.config.timeout));
    locked.unwrap().unwrap().replace(&renewed).unwrap();
    pass(&mut lab, 30);
    assert_eq!(done(&lab), [What::Tidied]);
    pass(&mut lab, 30);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
}

#[test]
fn a_renewal_goes_in_front_of_a_token_of_a_host_that_has_not_the_new_key() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    let other = opened_on_ap2(&lab, 1);
    let (before, other) = (
        session.record().file().clone(),
        other.record().file().clone(),
    );
    assert_eq!(lab.tokens(), [other.to_string(), before.to_string()]);
    replace_key(&lab, "POOL", "the next key");
    pass(&mut lab, 100);
    assert_eq!(done(&lab), [What::Renewed]);
    let now = record(&lab, &session);
    assert_eq!(lab.tokens(), [now.file().to_string(), other.to_string()]);
    assert_eq!((now.files[0].moving_to.clone(), done(&lab)), (None, vec![]));
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [other.to_string()]);
}

/// A session whose reconcile was killed while it moved its token to another name;
/// the names, old and new.
fn moving(lab: &Lab) -> (Session, String, String) {
    let session = opened(lab);
    let mut moving = session.record().clone();
    let to = moving.file().in_front_of(moving.file(), 0);
    moving.files[0].moving_to = Some(to.clone());
    replace(lab, &moving);
    let from = session.record().token_path();
    fs::copy(&from, from.with_file_name(to.to_string())).unwrap();
    let from = session.record().file().to_string();
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
    assert_eq!(
        (now.file().to_string(), now.files[0].moving_to.clone()),
        (to, None)
    );
}

#[test]
fn a_move_that_was_begun_is_finished_before_the_way_is_cleared() {
    let lab = Lab::new();
    let (session, _, to) = moving(&lab);
    let mut due = record(&lab, &session);
    due.files[0].clear_at = Some(1);
    replace(&lab, &due);
    // The second name was never written.
    let second = session.record().token_path().with_file_name(&to);
    fs::remove_file(second).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens(), [to]);
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_login_tidies_up_after_a_move_that_was_begun() {
    let mut lab = Lab::new();
    lab.host.holder.start += 1;
    moving(&lab);
    lab.host.holder.start -= 1;
    let session = opened(&lab);
    assert_eq!(lab.tokens(), [session.record().file().to_string()]);
    assert_eq!(lab.records(), [session.record().name().to_string()]);
}

#[test]
fn a_close_that_can_not_read_the_record_finds_a_token_that_was_moved() {
    let lab = Lab::new();
    let (session, from, _) = moving(&lab);
    fs::remove_file(session.record().token_path().with_file_name(from)).unwrap();
    let path = sessions(&lab).path_of(&session.record().name());
    fs::write(path, "{").unwrap();
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
    let kept = lab.config.state_dir.join("damaged");
    assert_eq!(fs::read_dir(kept).unwrap().count(), 1);
}

#[test]
fn a_host_that_was_given_no_new_key_stays_behind_others() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    // Of a host that has the new key, and a later session.
    replace_key(&lab, "POOL", "the new key");
    let other = opened_on_ap2(&lab, 1);
    replace_key(&lab, "POOL", "the key");
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    let names = [&other, &session].map(|session| session.record().file().to_string());
    assert_eq!(lab.tokens(), names);
}

#[test]
fn a_move_that_fails_is_not_forgotten_by_what_comes_after_it() {
    let mut lab = Lab::new();
    lab.configure("[[token]]\nname = \"other\"\n[[token]]\n");
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let both = |lab: &Lab| Wanted {
        tables: vec![0, 1],
        ..wanted(lab.opening())
    };
    let Opened::Yes(session) = open(&lab.config, &lab.host, both(&lab), &lab.log) else {
        panic!("it did not open")
    };
    let theirs = opened_on_ap2(&lab, 1).record().file().clone();
    // In the way of the file that the first of the two is to be moved to.
    let to = session.record().files[0].name.in_front_of(&theirs, 0);
    let tokens_d = lab.path("home/.condor/tokens.d");
    fs::create_dir(tokens_d.join(format!(".{to}"))).unwrap();
    replace_key(&lab, "POOL", "the next key");
    pass(&mut lab, 100);
    assert!(done(&lab).contains(&What::Failed));
    assert_eq!(record(&lab, &session).files[0].moving_to, Some(to.clone()));
    fs::remove_dir(tokens_d.join(format!(".{to}"))).unwrap();
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(record(&lab, &session).files[0].name, to);
    session.close(&lab.host, &lab.log).unwrap();
    assert_eq!(lab.tokens(), [theirs.to_string()]);
}
