use super::*;

use crate::testing::Lab;

const LONG: Duration = Duration::from_secs(20);

#[test]
fn the_home_is_noted_though_a_reconcile_has_just_taken_the_lock() {
    let lab = Lab::new();
    let session = lab.opened();
    let (name, uid) = (session.record.name(), session.record.user.uid);
    let sessions = Sessions::existing(&session.state_dir, uid, lab.host.euid)
        .unwrap()
        .unwrap();
    let noted = || sessions.read(&name).unwrap().unwrap().home_id;
    assert!(noted().is_none() && session.record.home_id.is_some());
    let held = sessions.lock(&name, Deadline::after(LONG)).unwrap();
    std::thread::scope(|scope| {
        let closing = scope.spawn(|| session.note_home(&sessions, Deadline::after(LONG)));
        std::thread::sleep(Duration::from_millis(100));
        drop(held);
        closing.join().unwrap().unwrap();
    });
    assert_eq!(noted(), session.record.home_id);
}

#[test]
fn a_close_that_fails_says_that_the_session_has_ended_and_where_its_home_is() {
    let lab = Lab::new();
    let session = lab.opened();
    let (name, uid) = (session.record.name(), session.record.user.uid);
    let token = session.record.token_path();
    std::fs::remove_file(&token).unwrap();
    std::fs::create_dir(&token).unwrap();
    session.close(&lab.host, &lab.log).unwrap_err();
    let sessions = Sessions::existing(&session.state_dir, uid, lab.host.euid)
        .unwrap()
        .unwrap();
    assert!(sessions.list().unwrap().ended.contains(&name.session));
    let left = sessions.read(&name).unwrap().unwrap();
    assert_eq!(left.home_id, session.record.home_id);
}
