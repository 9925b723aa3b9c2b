use super::*;

use std::io::ErrorKind;

use nix::mount::{MsFlags, mount};

#[test]
fn a_session_gets_a_directory_that_is_its_users_alone() {
    let lab = Lab::new();
    let dir = lab.make().unwrap();
    assert_eq!(dir, lab.dir());
    let meta = fs::symlink_metadata(&dir).unwrap();
    assert_eq!((meta.uid(), mode(&dir)), (lab.user.uid, 0o700));
    if lab.euid == 0 {
        assert_eq!(meta.gid(), lab.user.gid);
    }
    assert_eq!(mode(&lab.run_dir()), 0o755);
    assert_eq!(mode(&lab.run_dir().join("tokens")), 0o711);
}

#[test]
fn others_can_neither_list_the_sessions_nor_enter_one() {
    let lab = Lab::made();
    if lab.euid != 0 {
        // There is nobody else to be; the modes are tested above.
        return;
    }
    let other = User {
        uid: 4322,
        gid: 4322,
        groups: vec![4322],
        ..lab.user.clone()
    };
    for path in [lab.run_dir().join("tokens"), lab.dir()] {
        let listed = as_user(&other, 0, soon(), move || Ok(fs::read_dir(path).map(drop)));
        assert_eq!(
            listed.unwrap().unwrap_err().kind(),
            ErrorKind::PermissionDenied
        );
    }
    let dir = lab.dir();
    as_user(&other, 0, soon(), move || {
        let error = write(&dir, &[], &AtomicBool::new(false)).unwrap_err();
        assert!(error.is_io_kind(ErrorKind::PermissionDenied), "{error}");
        Ok(())
    })
    .unwrap();
    let listed = lab.act(|dir| fs::read_dir(dir).map(drop));
    assert!(listed.is_ok(), "the user can");
}

#[test]
fn a_tokens_directory_that_another_login_has_just_made_lets_users_pass() {
    let lab = Lab::made();
    // As the host's umask had it, before its mode was set.
    chmod(&lab.run_dir().join("tokens"), 0o700);
    lab.make().unwrap();
    assert_eq!(mode(&lab.run_dir().join("tokens")), 0o711);
}

#[test]
fn a_disk_is_no_place_for_a_private_store() {
    let lab = Lab::on("/var/tmp");
    if is_in_memory(fs::File::open(lab.dir.path()).unwrap()).unwrap() {
        // A machine without a disk can not show it.
        return;
    }
    let text = lab.make().unwrap_err().to_string();
    assert!(
        text.contains("on a disk") && text.contains("mount a tmpfs"),
        "{text}"
    );
    assert_eq!(list(&lab.run_dir(), lab.euid).unwrap(), []);
}

#[test]
fn a_run_dir_that_others_can_write_to_or_nobody_can_pass_is_refused() {
    let lab = Lab::made();
    for (path, bad) in [
        (lab.run_dir(), 0o777),
        (lab.run_dir(), 0o700),
        (lab.run_dir().join("tokens"), 0o1777),
    ] {
        let good = mode(&path);
        chmod(&path, bad);
        let text = lab.make().unwrap_err().to_string();
        assert!(text.contains("run `chmod"), "{text}");
        assert!(lab.remove_dir().is_err());
        assert!(list(&lab.run_dir(), lab.euid).is_err());
        chmod(&path, good);
    }
    if lab.euid == 0 {
        std::os::unix::fs::chown(lab.run_dir(), Some(4321), None).unwrap();
        assert!(lab.make().unwrap_err().to_string().contains("chown root"));
    }
}

#[test]
fn a_link_in_place_of_the_tokens_directory_is_not_followed() {
    let lab = Lab::new();
    fs::create_dir(lab.run_dir()).unwrap();
    std::os::unix::fs::symlink("/dev/shm", lab.run_dir().join("tokens")).unwrap();
    assert!(lab.make().is_err());
    assert!(lab.remove_dir().is_err());
}

#[test]
fn only_root_makes_a_directory_for_another() {
    let lab = Lab::new();
    let other = User {
        uid: lab.user.uid + 1,
        ..lab.user.clone()
    };
    let made = make(&lab.run_dir(), lab.session, &other, 4321);
    assert!(made.is_err());
    assert_eq!(
        crate::testing::names(&lab.run_dir().join("tokens")),
        [""; 0]
    );
}

#[test]
fn what_is_there_already_is_kept_with_all_that_is_in_it() {
    let lab = Lab::made();
    // Left half made by a process that was killed.
    if lab.euid == 0 {
        std::os::unix::fs::chown(lab.dir(), Some(0), Some(0)).unwrap();
    }
    lab.make().unwrap();
    lab.write(&[lab.token(1)]).unwrap();
    lab.make().unwrap();
    assert_eq!(lab.names().len(), 1);
}

#[test]
fn a_directory_goes_once_it_is_empty() {
    let lab = Lab::made();
    lab.write(&[lab.token(1)]).unwrap();
    let error = lab.remove_dir().unwrap_err();
    assert!(error.is_io_kind(ErrorKind::DirectoryNotEmpty), "{error}");
    assert!(lab.clear().is_empty);
    assert!(lab.remove_dir().unwrap());
    assert!(!lab.remove_dir().unwrap());
    fs::remove_dir_all(lab.run_dir()).unwrap();
    assert!(!lab.remove_dir().unwrap(), "the machine started anew");
    assert!(!lab.end().unwrap());
}

#[test]
fn every_session_that_has_a_directory_is_found_and_so_is_its_user() {
    let lab = Lab::made();
    fs::write(lab.run_dir().join("tokens/other"), "").unwrap();
    assert_eq!(list(&lab.run_dir(), lab.euid).unwrap(), [lab.session]);
    let owner = |session| owner(&lab.run_dir(), session, lab.euid).unwrap();
    assert_eq!(owner(lab.session), Some(lab.user.uid));
    assert_eq!(owner(SessionId::random().unwrap()), None);
}

#[test]
fn a_session_ends_with_all_that_its_user_put_there() {
    let lab = Lab::made();
    lab.write(&[lab.token(1), lab.token(2)]).unwrap();
    lab.act(|dir| {
        fs::create_dir_all(dir.join("a/b")).unwrap();
        fs::write(dir.join("a/b/c"), "x").unwrap();
        chmod(&dir.join("a/b"), 0);
        chmod(&dir, 0);
    });
    assert!(lab.end().unwrap());
    assert!(!lab.dir().exists());
    assert!(!lab.end().unwrap());
}

/// Mounts a file system as a user can with FUSE; false if this is not allowed here.
fn mounted(path: &Path) -> bool {
    let none: Option<&str> = None;
    let flags = MsFlags::empty();
    nix::unistd::geteuid().is_root()
        && mount(Some("none"), path, Some("tmpfs"), flags, none).is_ok()
}

#[test]
fn what_a_user_mounted_does_not_keep_a_session() {
    let lab = Lab::made();
    lab.write(&[lab.token(1)]).unwrap();
    lab.act(|dir| fs::create_dir_all(dir.join("a b/c")).unwrap());
    if !mounted(&lab.dir().join("a b/c")) {
        // Without the right to mount there is nothing to detach.
        return;
    }
    fs::write(lab.dir().join("a b/c/theirs"), "x").unwrap();
    assert!(mounted(&lab.dir().join("a b/c")), "twice");
    assert!(!lab.clear().is_empty);
    assert!(lab.dir().join("a b/c").exists(), "it is not entered");
    lab.write(&[lab.token(2)]).unwrap();
    assert!(mounted(&lab.dir()), "and on top");
    fs::write(lab.dir().join("theirs"), "x").unwrap();
    assert_eq!(
        owner(&lab.run_dir(), lab.session, lab.euid).unwrap(),
        Some(4321)
    );
    assert!(mounted(&lab.dir()));
    assert!(lab.end().unwrap());
    assert!(!lab.dir().exists());
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!table.contains(&lab.session.to_string()), "{table}");
}

#[test]
fn no_path_of_a_users_leads_to_what_is_detached() {
    let lab = Lab::made();
    let elsewhere = lab.dir.path().join("elsewhere");
    fs::create_dir_all(elsewhere.join("mnt")).unwrap();
    lab.act(|dir| fs::create_dir_all(dir.join("a/mnt")).unwrap());
    if !mounted(&lab.dir().join("a/mnt")) || !mounted(&elsewhere.join("mnt")) {
        return;
    }
    // The table still says a/mnt if the name is changed while it is read.
    let parent = fs::File::open(lab.run_dir().join("tokens")).unwrap().into();
    let leads = elsewhere.clone();
    lab.act(move |dir| {
        fs::rename(dir.join("a"), dir.join("b")).unwrap();
        std::os::unix::fs::symlink(leads, dir.join("a")).unwrap();
    });
    let point = Path::new(&lab.session.to_string()).join("a/mnt");
    assert!(
        super::super::mounts::walk(&parent, &point)
            .unwrap()
            .is_none()
    );
    assert!(
        super::super::mounts::walk(&parent, &point.parent().unwrap().with_file_name("b/mnt"))
            .unwrap()
            .is_some()
    );
    assert_eq!(detach(&lab.run_dir(), lab.session, 0).unwrap(), 1);
    nix::mount::umount(&elsewhere.join("mnt")).unwrap();
    lab.end().unwrap();
}
