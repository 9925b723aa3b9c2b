use super::*;

use std::os::unix::fs::symlink;

use crate::home::TOKENS_D;

const NOTHING: Links = Links {
    made: 0,
    removed: 0,
};

/// A session whose user has a tokens.d with these files.
fn with(names: &[&str]) -> Lab {
    let lab = Lab::made();
    let tokens_d = lab.user.home.join(TOKENS_D);
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    lab.act(move |_| {
        fs::create_dir_all(&tokens_d).unwrap();
        for name in names {
            fs::write(tokens_d.join(&name), name).unwrap();
        }
    });
    lab
}

fn tokens_d(lab: &Lab) -> PathBuf {
    lab.user.home.join(TOKENS_D)
}

fn linked(lab: &Lab) -> Links {
    let home = lab.user.home.clone();
    lab.act(move |dir| link(&dir, &home)).unwrap()
}

#[test]
fn the_users_own_tokens_appear_under_their_names() {
    let lab = with(&["a", "b c"]);
    assert_eq!(
        linked(&lab),
        Links {
            made: 2,
            removed: 0
        }
    );
    assert_eq!(lab.names(), ["a", "b c"]);
    let made = fs::read_link(lab.dir().join("b c")).unwrap();
    assert_eq!(made, tokens_d(&lab).join("b c"));
    assert_eq!(fs::read_to_string(lab.dir().join("a")).unwrap(), "a");
    assert_eq!(linked(&lab), NOTHING, "nothing changed");
}

#[test]
fn what_htcondor_skips_or_would_hang_on_does_not() {
    let lab = with(&[".hidden", "old~", "#x", "a.py"]);
    let ours = lab.token(1).0.to_string();
    fs::write(tokens_d(&lab).join(ours), "x").unwrap();
    fs::create_dir(tokens_d(&lab).join("dir")).unwrap();
    nix::unistd::mkfifo(&tokens_d(&lab).join("fifo"), Mode::S_IRUSR).unwrap();
    symlink("fifo", tokens_d(&lab).join("to-fifo")).unwrap();
    symlink("dir", tokens_d(&lab).join("to-dir")).unwrap();
    symlink("/nowhere", tokens_d(&lab).join("dangling")).unwrap();
    symlink("old~", tokens_d(&lab).join("to-file")).unwrap();
    assert_eq!(
        linked(&lab),
        Links {
            made: 1,
            removed: 0
        }
    );
    assert_eq!(lab.names(), ["to-file"]);
}

#[test]
fn a_link_goes_with_what_it_led_to() {
    let lab = with(&["a", "b", "c"]);
    linked(&lab);
    fs::remove_file(tokens_d(&lab).join("a")).unwrap();
    fs::remove_file(tokens_d(&lab).join("b")).unwrap();
    nix::unistd::mkfifo(&tokens_d(&lab).join("b"), Mode::S_IRUSR).unwrap();
    fs::write(tokens_d(&lab).join("d"), "d").unwrap();
    assert_eq!(
        linked(&lab),
        Links {
            made: 1,
            removed: 2
        }
    );
    assert_eq!(lab.names(), ["c", "d"]);
    fs::remove_dir_all(tokens_d(&lab)).unwrap();
    assert_eq!(
        linked(&lab),
        Links {
            made: 0,
            removed: 2
        }
    );
    fs::remove_dir_all(&lab.user.home).unwrap();
    assert_eq!(linked(&lab), NOTHING, "no home at all");
}

#[test]
fn what_a_user_made_themselves_is_left_alone() {
    let lab = with(&["file", "link", "dir"]);
    let elsewhere = tokens_d(&lab);
    lab.act(move |dir| {
        fs::write(dir.join("file"), "my own").unwrap();
        symlink("/elsewhere", dir.join("link")).unwrap();
        fs::create_dir(dir.join("dir")).unwrap();
        symlink("/elsewhere", dir.join("other")).unwrap();
        symlink(elsewhere.join("file"), dir.join("alias")).unwrap();
        fs::write(dir.join("0-own"), "x").unwrap();
    });
    lab.write(&[lab.token(1)]).unwrap();
    let before = lab.names();
    assert_eq!(linked(&lab), NOTHING);
    fs::remove_dir_all(tokens_d(&lab)).unwrap();
    assert_eq!(linked(&lab), NOTHING);
    assert_eq!(lab.names(), before);
    assert_eq!(fs::read(lab.dir().join("file")).unwrap(), b"my own");
}

#[test]
fn a_tokens_d_that_is_the_store_itself_makes_no_circles() {
    let lab = Lab::made();
    let (home, target) = (lab.user.home.clone(), lab.dir());
    lab.act(move |dir| {
        fs::create_dir(home.join(".condor")).unwrap();
        symlink(target, home.join(TOKENS_D)).unwrap();
        fs::write(dir.join("mine"), "x").unwrap();
    });
    assert_eq!(linked(&lab), NOTHING);
    assert_eq!(lab.names(), ["mine"]);
}

#[test]
fn the_first_thousand_are_linked_and_stay_so() {
    let names: Vec<String> = (0..1100).map(|i| format!("{i:04}")).collect();
    let lab = with(&names.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(linked(&lab).made, 1000);
    assert_eq!(lab.names().last().map(String::as_str), Some("0999"));
    assert_eq!(linked(&lab), NOTHING);
}

#[test]
fn a_home_that_its_user_can_not_list_has_no_links() {
    let lab = with(&["a"]);
    linked(&lab);
    chmod(&tokens_d(&lab), 0);
    assert_eq!(
        linked(&lab),
        Links {
            made: 0,
            removed: 1
        }
    );
    // So that it can be cleared away after the test.
    chmod(&tokens_d(&lab), 0o700);
}
