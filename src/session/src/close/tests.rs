use super::*;

use std::sync::Mutex;

use crate::log::Severity;
use crate::testing::Lab;

const LONG: Duration = Duration::from_secs(20);

/// The records of the user of the lab.
fn sessions(lab: &Lab) -> Sessions {
    Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap()
}

/// A session whose token can not be removed, since its user put a directory in its place.
fn in_the_way(lab: &Lab) -> Session {
    let session = lab.opened();
    let token = session.record.token_path();
    std::fs::remove_file(&token).unwrap();
    std::fs::create_dir(&token).unwrap();
    session
}

#[test]
fn the_home_is_noted_though_a_reconcile_has_just_taken_the_lock() {
    let lab = Lab::new();
    let (session, sessions) = (lab.opened(), sessions(&lab));
    let name = session.record.name();
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
    let (session, sessions) = (in_the_way(&lab), sessions(&lab));
    let name = session.record.name();
    session.close(&lab.host, &lab.log).unwrap_err();
    assert!(sessions.list().unwrap().ended.contains(&name.session));
    let left = sessions.read(&name).unwrap().unwrap();
    assert_eq!(left.home_id, session.record.home_id);
}

/// Looks, when something is logged, whether somebody else could have the record's lock.
struct Looking<'a> {
    sessions: &'a Sessions,
    name: RecordName,
    seen: Mutex<Vec<(String, bool)>>,
}

impl Log for Looking<'_> {
    fn write(&self, _: Severity, text: &str) {
        let locked = self
            .sessions
            .lock(&self.name, Deadline::after(Duration::ZERO));
        let is_held = matches!(locked, Err(Error::Locked { .. }));
        self.seen.lock().unwrap().push((text.to_owned(), is_held));
    }
}

#[test]
fn nobody_else_has_the_lock_before_a_session_that_could_not_end_is_marked() {
    let lab = Lab::new();
    let (session, sessions) = (in_the_way(&lab), sessions(&lab));
    let (name, uid) = (session.record.name(), session.record.user.uid);
    // Where the mark can not be made it is said, when it would have been.
    let sign = lab.path(&format!("state/sessions/{uid}/{}", name.ended()));
    std::fs::create_dir(sign).unwrap();
    let log = Looking {
        sessions: &sessions,
        name,
        seen: Mutex::default(),
    };
    session.close(&lab.host, &log).unwrap_err();
    let seen = log.seen.into_inner().unwrap();
    let marked = seen
        .iter()
        .find(|(text, _)| text.contains("the session ends with its process"));
    assert!(marked.unwrap().1, "{seen:?}");
}
