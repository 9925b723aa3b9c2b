use super::*;
use crate::holder::Holder;
use crate::name::SessionId;
use crate::record::tests::sample;
use crate::user::User;
use std::os::unix::fs::{PermissionsExt, symlink};

fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

fn alice() -> User {
    User {
        name: "alice".into(),
        uid: 7,
        gid: 7,
        groups: vec![7],
        home: "/home/alice".into(),
    }
}

fn record() -> Record {
    sample(
        SessionId::random().unwrap(),
        alice(),
        Holder::current().unwrap(),
    )
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_millis(50))
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_record_lives_in_a_directory_that_lets_nobody_in() {
    let top = tempfile::tempdir().unwrap();
    let state = top.path().join("state");
    let sessions = Sessions::of(&state, 7, euid()).unwrap();
    let record = record();
    let path = sessions.create(&record).unwrap().path();
    assert_eq!(mode(&path), 0o600);
    for dir in [&state, &state.join("sessions"), &state.join("sessions/7")] {
        assert_eq!(mode(dir), 0o700, "{dir:?}");
    }
    assert_eq!(sessions.names().unwrap(), [record.name()]);
    assert_eq!(sessions.read(&record.name()).unwrap(), Some(record.clone()));
    assert_eq!(Sessions::uids(&state).unwrap(), [7]);
    sessions
        .lock(&record.name(), soon())
        .unwrap()
        .unwrap()
        .remove()
        .unwrap();
    assert_eq!(sessions.read(&record.name()).unwrap(), None);
    assert!(sessions.lock(&record.name(), soon()).unwrap().is_none());
}

#[test]
fn a_lock_is_held_by_one_and_waited_for_until_the_deadline() {
    let top = tempfile::tempdir().unwrap();
    let sessions = Sessions::of(top.path(), 7, euid()).unwrap();
    let record = record();
    let held = sessions.create(&record).unwrap();
    assert!(matches!(
        sessions.lock(&record.name(), soon()),
        Err(Error::Locked { .. })
    ));
    drop(held);
    assert!(sessions.lock(&record.name(), soon()).unwrap().is_some());
}

#[test]
fn whoever_waited_for_a_replaced_record_gets_the_new_one() {
    let top = tempfile::tempdir().unwrap();
    let sessions = Sessions::of(top.path(), 7, euid()).unwrap();
    let mut record = record();
    let mut held = sessions.create(&record).unwrap();
    let name = record.name();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| {
            let deadline = Deadline::after(Duration::from_secs(10));
            sessions
                .lock(&name, deadline)
                .unwrap()
                .unwrap()
                .read()
                .unwrap()
        });
        std::thread::sleep(Duration::from_millis(30));
        record.opened = 4242;
        held.replace(&record).unwrap();
        drop(held);
        assert_eq!(waiting.join().unwrap().opened, 4242);
    });
}

#[test]
fn a_directory_that_others_could_write_to_is_refused_with_the_remedy() {
    let top = tempfile::tempdir().unwrap();
    Sessions::of(top.path(), 7, euid()).unwrap();
    for (dir, bad) in [("", 0o777), ("sessions", 0o750), ("sessions/7", 0o701)] {
        let dir = top.path().join(dir);
        let good = mode(&dir);
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(bad)).unwrap();
        let text = Sessions::of(top.path(), 7, euid()).unwrap_err().to_string();
        assert!(text.contains("chmod 07"), "{text}");
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(good)).unwrap();
    }
}

#[test]
fn a_probe_tells_and_leaves_nothing() {
    let top = tempfile::tempdir().unwrap();
    let state = top.path().join("state");
    assert_eq!(probe(&state, euid()).unwrap(), Probe::Missing);
    assert!(!state.exists());
    Sessions::of(&state, 7, euid()).unwrap();
    assert_eq!(probe(&state, euid()).unwrap(), Probe::Ready);
    assert_eq!(std::fs::read_dir(state.join(SESSIONS)).unwrap().count(), 1);
    assert!(probe(&top.path().join("no/such"), euid()).is_err());
    std::fs::set_permissions(&state, std::fs::Permissions::from_mode(0o777)).unwrap();
    assert!(
        probe(&state, euid())
            .unwrap_err()
            .to_string()
            .contains("chmod")
    );
}

#[test]
fn a_link_in_place_of_a_directory_is_not_followed() {
    let top = tempfile::tempdir().unwrap();
    let state = top.path().join("state");
    Sessions::of(&state, 7, euid()).unwrap();
    symlink(top.path(), state.join("sessions/8")).unwrap();
    assert!(Sessions::of(&state, 8, euid()).is_err());
    assert!(Sessions::existing(&state, 8, euid()).is_err());
    assert!(Sessions::existing(&state, 9, euid()).unwrap().is_none());
}

#[test]
fn a_damaged_record_is_named_and_other_files_are_left_alone() {
    let top = tempfile::tempdir().unwrap();
    let sessions = Sessions::of(top.path(), 7, euid()).unwrap();
    let name = record().name();
    std::fs::write(sessions.path_of(&name), b"{").unwrap();
    std::fs::write(top.path().join("sessions/7/notes"), b"x").unwrap();
    let text = sessions.read(&name).unwrap_err().to_string();
    assert!(
        text.contains(&name.to_string()) && text.contains("damaged"),
        "{text}"
    );
    assert_eq!(sessions.names().unwrap(), [name]);
}

#[test]
fn a_record_that_can_not_be_removed_keeps_the_sign_that_its_session_has_ended() {
    let top = tempfile::tempdir().unwrap();
    let sessions = Sessions::of(top.path(), 7, euid()).unwrap();
    let record = record();
    let held = sessions.create(&record).unwrap();
    sessions.mark_ended(&record.name()).unwrap();
    let path = held.path();
    std::fs::remove_file(&path).unwrap();
    std::fs::create_dir(&path).unwrap();
    held.remove().unwrap_err();
    assert!(sessions.list().unwrap().ended.contains(&record.session));
}
