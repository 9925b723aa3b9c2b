//! What goes wrong, and is tried again.

use super::*;

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
    assert_eq!(lab.tokens(), [other.record().file().to_string()]);
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
    assert_eq!(lab.tokens(), [live.record().file().to_string()]);
    killed(&mut lab);
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    pass(&mut lab, 3601);
    assert_eq!(sorted(done(&lab)), [What::Ended, What::Waiting]);
    assert_eq!(lab.records(), [live.record().name().to_string()]);
}

#[test]
fn a_session_that_could_not_close_is_over_when_its_user_has_removed_the_directory() {
    let lab = Lab::new();
    let session = opened(&lab);
    // At logout a link leads nowhere, of which nobody knows what it means.
    let condor = lab.path("home/.condor");
    fs::rename(&condor, lab.path("home/kept")).unwrap();
    std::os::unix::fs::symlink("nowhere", &condor).unwrap();
    let error = session.close(&lab.host, &lab.log).unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    assert_eq!(done(&lab), [What::Waiting]);
    fs::remove_file(&condor).unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert_eq!(lab.records(), Vec::<String>::new());
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
    let hour = lab.config.shortest_lifetime();
    let fresh = |lab: &Lab, now| stamp::is_fresh(&lab.config.run_dir, hour, now, lab.host.euid);
    assert!(!fresh(&lab, lab.host.now()), "nobody renews anything");
    fs::rename(lab.path("keys/away"), lab.path("keys/POOL")).unwrap();
    assert_eq!(done(&lab), [What::Renewed, What::Renewed]);
    assert!(fresh(&lab, lab.host.now()));
    assert!(lab.tokens().contains(&session.record().file().to_string()));
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
    assert_eq!(last.tokens, record(&lab, &session).files[0].tokens);
}

#[test]
fn a_session_that_is_locked_holds_up_no_other_for_long() {
    let mut lab = Lab::new();
    let all: Vec<Session> = (0..5).map(|_| opened(&lab)).collect();
    pass(&mut lab, 1800);
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    // As threads hold them that wait for a home that does not answer.
    let mut held: Vec<_> = all
        .iter()
        .map(|session| sessions.lock(&session.record().name(), deadline).unwrap())
        .collect();
    held.truncate(2);
    assert_eq!(
        sorted(done(&lab)),
        [
            What::Failed,
            What::Failed,
            What::Renewed,
            What::Renewed,
            What::Renewed
        ]
    );
    drop(held);
    assert_eq!(done(&lab), [What::Renewed, What::Renewed]);
}

#[test]
fn a_session_that_another_reconcile_renews_at_the_same_time_is_no_failure() {
    let mut lab = Lab::new();
    lab.config.timeout = Duration::from_secs(20);
    let session = opened(&lab);
    pass(&mut lab, 1800);
    let before = record(&lab, &session);
    assert_eq!(done(&lab), [What::Renewed]);
    let after = record(&lab, &session);
    // The other one has the lock while it asks a schedd, or writes to a slow home.
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    let locked = sessions.lock(&before.name(), deadline).unwrap();
    let mut locked = locked.unwrap();
    locked.replace(&before).unwrap();
    let lab = &lab;
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || done(lab));
        std::thread::sleep(Duration::from_millis(400));
        locked.replace(&after).unwrap();
        drop(locked);
        assert_eq!(waiting.join().unwrap(), []);
    });
    assert_eq!(lines(lab, "could not be looked after"), 0);
}

#[test]
fn a_home_has_one_deadline_for_all_its_sessions() {
    let mut lab = Lab::new();
    let all: Vec<Session> = (0..20).map(|_| opened(&lab)).collect();
    let usual = std::mem::replace(&mut lab.config.timeout, Duration::from_millis(250));
    pass(&mut lab, 1800);
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    let held: Vec<_> = all
        .iter()
        .map(|session| sessions.lock(&session.record().name(), deadline).unwrap())
        .collect();
    let started = std::time::Instant::now();
    let what = done(&lab);
    // Twenty deadlines would be five seconds.
    assert!(started.elapsed() < Duration::from_secs(3));
    assert!(what.len() < 5 && what.iter().all(|what| *what == What::Failed));
    drop(held);
    lab.config.timeout = usual;
    assert_eq!(done(&lab).len(), 20);
}

#[test]
fn a_record_of_another_version_is_left_alone() {
    let lab = Lab::new();
    let session = opened(&lab);
    let path = sessions(&lab).path_of(&session.record().name());
    let text = fs::read_to_string(&path).unwrap();
    let text = text.replacen("\"version\":3", "\"version\":9,\"more\":0", 1);
    fs::write(&path, &text).unwrap();
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(fs::read_to_string(&path).unwrap(), text);
    assert_eq!(lines(&lab, "has version 9"), 1);
}

#[test]
fn a_broken_configuration_removes_no_audit() {
    let mut lab = Lab::new();
    opened(&lab);
    let old = lab.config.state_dir.join("audit-1.jsonl");
    fs::write(&old, "").unwrap();
    let broken = Options {
        broken: Some("a mistake".into()),
        ..options()
    };
    reconcile(&lab.config, &lab.host, &broken, &lab.log).unwrap();
    assert!(old.exists());
    pass(&mut lab, 1800);
    run(&lab);
    assert!(!old.exists());
}
