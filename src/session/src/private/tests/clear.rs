use super::*;

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixListener;

const ALL: Cleared = Cleared {
    had_tokens: false,
    is_empty: true,
};

#[test]
fn tokens_and_what_is_left_of_a_write_are_removed() {
    let lab = Lab::made();
    let left = format!(".{}", lab.token(2).0);
    lab.act(move |dir| fs::write(dir.join(left), "half").unwrap());
    assert_eq!(lab.clear(), ALL, "no token was in place");
    lab.write(&[lab.token(1)]).unwrap();
    assert!(lab.clear().had_tokens);
    assert_eq!(lab.names(), [""; 0]);
}

#[test]
fn nothing_is_followed_out_of_the_directory() {
    let lab = Lab::made();
    let home = lab.user.home.clone();
    let own = home.clone();
    let name = lab.token(1).0.to_string();
    lab.act(move |dir| {
        fs::write(own.join("mine"), "x").unwrap();
        symlink("/etc", dir.join("etc")).unwrap();
        symlink("/etc/passwd", dir.join(name)).unwrap();
        fs::create_dir(dir.join("a")).unwrap();
        symlink(&own, dir.join("a/home")).unwrap();
        fs::hard_link(own.join("mine"), dir.join("hard")).unwrap();
    });
    assert!(lab.clear().is_empty);
    assert!(home.join("mine").exists() && Path::new("/etc/passwd").exists());
}

#[test]
fn whatever_a_user_can_make_is_removed() {
    let lab = Lab::made();
    let name = lab.token(1).0.to_string();
    lab.act(move |dir| {
        fs::create_dir_all(dir.join(&name).join("in a name of ours")).unwrap();
        fs::write(dir.join("n".repeat(255)), "x").unwrap();
        fs::write(dir.join(OsString::from_vec(vec![b'\n', 0xff])), "x").unwrap();
        fs::write(dir.join("closed"), "x").unwrap();
        chmod(&dir.join("closed"), 0);
        nix::unistd::mkfifo(&dir.join("fifo"), Mode::empty()).unwrap();
        UnixListener::bind(dir.join("socket")).unwrap();
        symlink("loop", dir.join("loop")).unwrap();
        for mode in [0o000, 0o100, 0o300, 0o400, 0o500] {
            let inner = dir.join(format!("{mode:o}"));
            fs::create_dir_all(inner.join("x/y")).unwrap();
            chmod(&inner.join("x"), mode);
            chmod(&inner, mode);
        }
    });
    assert_eq!(lab.clear(), ALL);
    assert_eq!(lab.clear(), ALL, "again");
}

#[test]
fn a_tree_of_any_depth_goes() {
    let lab = Lab::made();
    lab.act(|dir| {
        let mut at = nix::fcntl::open(&dir, dir_flags(), Mode::empty()).unwrap();
        for depth in 0..300 {
            nix::sys::stat::mkdirat(&at, "d", PRIVATE_DIR).unwrap();
            nix::sys::stat::mkdirat(&at, "empty", PRIVATE_DIR).unwrap();
            let inner = openat(&at, "d", dir_flags(), Mode::empty()).unwrap();
            if depth % 7 == 0 {
                fchmod(&at, Mode::empty()).unwrap();
            }
            at = inner;
        }
    });
    assert_eq!(lab.clear(), ALL);
}

#[test]
fn a_wide_tree_takes_several_calls_and_its_tokens_are_gone_first() {
    let lab = Lab::made();
    lab.act(|dir| {
        for i in 0..20 {
            fs::create_dir(dir.join(i.to_string())).unwrap();
            for j in 0..400 {
                fs::create_dir(dir.join(format!("{i}/{j}"))).unwrap();
            }
        }
    });
    lab.write(&[lab.token(1)]).unwrap();
    let passed = Deadline::after(Duration::ZERO);
    let cleared = lab.act(move |dir| clear(&dir, passed)).unwrap();
    assert!(cleared.had_tokens && !cleared.is_empty);
    assert_eq!(lab.names().len(), 20, "there was no time for the rest");
    assert_eq!(lab.clear(), ALL);
}

#[test]
fn what_is_another_users_stays_and_is_told() {
    let lab = Lab::made();
    if lab.euid != 0 {
        // Only root can be another.
        return;
    }
    fs::create_dir_all(lab.dir().join("roots/inner")).unwrap();
    fs::write(lab.dir().join("roots/file"), "x").unwrap();
    lab.write(&[lab.token(1)]).unwrap();
    let cleared = lab.clear();
    assert!(cleared.had_tokens && !cleared.is_empty);
    assert!(lab.dir().join("roots/file").exists());
    assert!(
        lab.end()
            .unwrap_err()
            .to_string()
            .contains("files of other users")
    );
}

#[test]
fn a_directory_that_is_not_there_is_empty() {
    assert_eq!(Lab::new().clear(), ALL);
}
