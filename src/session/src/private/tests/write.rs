use super::*;

use std::io::ErrorKind;
use std::os::unix::fs::symlink;

fn renew_with(lab: &Lab, files: Vec<TokenFile>) -> Result<Vec<TokenName>> {
    lab.act(move |dir| renew(&dir, &files, &AtomicBool::new(false)))
}

#[test]
fn every_token_is_written_for_its_user_alone_and_nothing_else() {
    let lab = Lab::made();
    let files = [lab.token(1), lab.token(2)];
    lab.write(&files).unwrap();
    assert_eq!(lab.names().len(), 2);
    for (name, contents) in &files {
        let path = lab.dir().join(name.to_string());
        assert_eq!(mode(&path), 0o600);
        assert_eq!(fs::metadata(&path).unwrap().uid(), lab.user.uid);
        assert_eq!(fs::read(&path).unwrap(), ***contents);
    }
}

#[test]
fn a_failure_leaves_none_of_the_tokens() {
    let lab = Lab::made();
    let files = [lab.token(1), lab.token(2)];
    // In the way of the second, before anything is in place and after the first is.
    for name in [format!(".{}", files[1].0), files[1].0.to_string()] {
        let in_the_way = name.clone();
        lab.act(move |dir| fs::create_dir(dir.join(in_the_way)).unwrap());
        let text = lab.write(&files).unwrap_err().to_string();
        assert!(text.contains("could not write the token"), "{text}");
        assert_eq!(lab.names(), [name.as_str()]);
        fs::remove_dir(lab.dir().join(name)).unwrap();
    }
}

#[test]
fn what_nobody_waits_for_is_not_put_in_place() {
    let lab = Lab::made();
    let files = [lab.token(1)];
    lab.act(move |dir| {
        let abandoned = AtomicBool::new(true);
        assert!(write(&dir, &files, &abandoned).is_err());
    });
    assert_eq!(lab.names(), [""; 0]);
}

#[test]
fn a_write_that_was_killed_is_done_again() {
    let lab = Lab::made();
    let file = lab.token(1);
    let left = format!(".{}", file.0);
    lab.act(move |dir| fs::write(dir.join(left), "half").unwrap());
    lab.write(&[file]).unwrap();
    assert_eq!(lab.names().len(), 1);
}

#[test]
fn a_renewal_replaces_in_one_step_and_follows_no_link() {
    let lab = Lab::made();
    let file = lab.token(1);
    let (name, path) = (file.0.to_string(), lab.dir().join(file.0.to_string()));
    lab.act(move |dir| {
        fs::write(dir.join("mine"), "mine").unwrap();
        symlink("mine", dir.join(name)).unwrap();
    });
    assert_eq!(
        renew_with(&lab, vec![file.clone()]).unwrap(),
        std::slice::from_ref(&file.0)
    );
    assert!(fs::symlink_metadata(&path).unwrap().is_file());
    assert_eq!(fs::read(lab.dir().join("mine")).unwrap(), b"mine");
    let before = fs::metadata(&path).unwrap().ino();
    renew_with(&lab, vec![file]).unwrap();
    assert_ne!(fs::metadata(&path).unwrap().ino(), before);
}

#[test]
fn a_token_that_its_user_removed_is_not_brought_back() {
    let lab = Lab::made();
    let files = vec![lab.token(1), lab.token(2)];
    lab.write(&files).unwrap();
    fs::remove_file(lab.dir().join(files[0].0.to_string())).unwrap();
    assert_eq!(
        renew_with(&lab, files.clone()).unwrap(),
        std::slice::from_ref(&files[1].0)
    );
    assert_eq!(lab.names(), [files[1].0.to_string()]);
}

#[test]
fn a_renewal_that_fails_leaves_the_old_tokens() {
    let lab = Lab::made();
    let files = vec![lab.token(1), lab.token(2)];
    let old = |(name, _): &TokenFile| (name.clone(), Arc::new(Zeroizing::new(b"old".to_vec())));
    lab.write(&files.iter().map(old).collect::<Vec<_>>())
        .unwrap();
    let in_the_way = format!(".{}", files[1].0);
    lab.act(move |dir| fs::create_dir(dir.join(in_the_way)).unwrap());
    assert!(renew_with(&lab, files.clone()).is_err());
    for (name, _) in files {
        assert_eq!(fs::read(lab.dir().join(name.to_string())).unwrap(), b"old");
    }
}

#[test]
fn a_directory_that_its_user_closed_is_opened_again() {
    let lab = Lab::made();
    lab.act(|dir| chmod(&dir, 0));
    lab.write(&[lab.token(1)]).unwrap();
    assert_eq!(mode(&lab.dir()), 0o700);
    lab.act(|dir| chmod(&dir, 0o500));
    lab.write(&[lab.token(2)]).unwrap();
}

#[test]
fn only_the_users_own_directory_in_memory_is_written_to() {
    let lab = Lab::new();
    let error = lab.write(&[lab.token(1)]).unwrap_err();
    assert!(error.is_io_kind(ErrorKind::NotFound), "{error}");
    lab.make().unwrap();
    let home = lab.user.home.clone();
    fs::remove_dir(lab.dir()).unwrap();
    symlink(&home, lab.dir()).unwrap();
    assert!(lab.write(&[lab.token(1)]).is_err(), "a link");
    fs::remove_file(lab.dir()).unwrap();
    if lab.euid == 0 {
        fs::create_dir(lab.dir()).unwrap();
        chmod(&lab.dir(), 0o777);
        let text = lab.write(&[lab.token(1)]).unwrap_err().to_string();
        assert!(text.contains("owned by uid 0"), "{text}");
    }
}
