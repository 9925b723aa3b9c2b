use super::*;

use std::collections::HashSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use idtoken::{Claims, Jti, KeyForm, Kid, SigningKey, Subject};

use crate::name::SessionId;

const NOW: u64 = 1_000_000;

fn key(raw: &[u8]) -> SigningKey {
    SigningKey::from_bytes(&Kid::pool(), raw, KeyForm::Plain).unwrap()
}

/// The key of the pool as this host has it.
fn keys() -> Keys {
    vec![("lab.test".parse().unwrap(), Arc::from([key(b"current")]))]
}

/// Of a session that is recorded.
fn written(plan: &Plan) -> Result<Written> {
    write(plan, || true)
}

fn token(raw: &[u8], exp: u64) -> String {
    let claims = Claims {
        iat: NOW - 100,
        exp: Some(exp),
        iss: "lab.test".parse().unwrap(),
        jti: Jti::random().unwrap(),
        sub: Subject::new("alice", &"lab.test".parse().unwrap()).unwrap(),
        scope: None,
    };
    key(raw).mint(&claims).unwrap().as_str().to_owned()
}

fn name_at(seconds: u64, host: &str) -> TokenName {
    TokenName::new(seconds * 1_000_000_000, host, SessionId::random().unwrap())
}

fn judge(alive: &[&TokenName]) -> Arc<Judge> {
    let alive: HashSet<_> = alive.iter().map(|name| name.id()).collect();
    Arc::new(Judge {
        now: NOW,
        host: "ap1".into(),
        alive,
        keys: keys(),
    })
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn with_tokens_d() -> Self {
        let home = Self::new();
        fs::create_dir_all(home.tokens_d()).unwrap();
        home
    }

    fn tokens_d(&self) -> PathBuf {
        self.0.path().join(TOKENS_D)
    }

    #[allow(clippy::needless_pass_by_value)]
    fn path(&self, name: impl ToString) -> PathBuf {
        self.tokens_d().join(name.to_string())
    }

    /// A file that has been there for a while.
    fn put(&self, name: impl ToString, text: &str) {
        fs::write(self.path(name.to_string()), text).unwrap();
        let file = fs::File::options()
            .write(true)
            .open(self.path(name))
            .unwrap();
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW - 90_000);
        file.set_modified(old).unwrap();
    }

    fn plan(&self, name: &TokenName, judge: Arc<Judge>) -> Plan {
        Plan {
            home: self.0.path().to_owned(),
            files: vec![(
                name.clone(),
                Arc::new(Zeroizing::new(b"the.new.token\n".to_vec())),
            )],
            ended: vec![],
            insist: false,
            judge,
            abandoned: Arc::default(),
        }
    }

    fn write(&self, name: &TokenName) -> Result<Written> {
        written(&self.plan(name, judge(&[name])))
    }
}

fn removed(written: Written) -> Vec<String> {
    assert_eq!(written.behind, None);
    written.removed
}

#[test]
fn the_token_is_private_in_private_directories() {
    let home = Home::new();
    let name = name_at(NOW, "ap1");
    home.write(&name).unwrap();
    assert_eq!(fs::read(home.path(&name)).unwrap(), b"the.new.token\n");
    for (path, mode) in [
        (home.path(&name), 0o600),
        (home.tokens_d(), 0o700),
        (home.0.path().join(".condor"), 0o700),
    ] {
        assert_eq!(
            fs::metadata(&path).unwrap().mode() & 0o7777,
            mode,
            "{path:?}"
        );
    }
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 1);
    assert!(remove(home.0.path(), None, std::slice::from_ref(&name)).unwrap());
    assert!(!remove(home.0.path(), None, std::slice::from_ref(&name)).unwrap());
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 0);
}

#[test]
fn directories_that_are_there_keep_their_modes() {
    let home = Home::with_tokens_d();
    fs::set_permissions(home.tokens_d(), fs::Permissions::from_mode(0o755)).unwrap();
    home.write(&name_at(NOW, "ap1")).unwrap();
    assert_eq!(
        fs::metadata(home.tokens_d()).unwrap().mode() & 0o7777,
        0o755
    );
}

#[test]
fn a_users_own_tokens_are_never_touched() {
    let home = Home::with_tokens_d();
    let almost = format!("{}~", name_at(5, "ap1"));
    for own in [
        "mine",
        "00-first",
        "0-session-",
        "0-session-old",
        almost.as_str(),
    ] {
        home.put(own, &token(b"other", NOW - 1));
    }
    assert!(removed(home.write(&name_at(NOW, "ap1")).unwrap()).is_empty());
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 6);
}

#[test]
fn a_token_that_may_still_work_stays() {
    let home = Home::with_tokens_d();
    let (here, there, alive) = (name_at(5, "ap1"), name_at(6, "ap2"), name_at(7, "ap1"));
    home.put(&here, &token(b"current", NOW + 50));
    // Signed by a key that this host does not have: it may be the other host's.
    home.put(&there, &token(b"another", NOW + 50));
    // Its session lives here; renewing it is not the business of a login.
    home.put(&alive, &token(b"current", NOW - 50));
    let name = name_at(NOW, "ap1");
    assert!(removed(written(&home.plan(&name, judge(&[&name, &alive]))).unwrap()).is_empty());
    assert!(
        [here, there, alive]
            .iter()
            .all(|name| home.path(name).exists())
    );
}

#[test]
fn a_token_of_this_host_that_the_current_key_does_not_verify_is_removed() {
    let home = Home::with_tokens_d();
    let (old, young) = (name_at(5, "ap1"), name_at(6, "ap1"));
    home.put(&old, &token(b"replaced", NOW + 50));
    home.put(&young, &token(b"replaced", NOW + 50));
    let file = fs::File::options()
        .write(true)
        .open(home.path(&young))
        .unwrap();
    file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(NOW - 1))
        .unwrap();
    assert_eq!(
        removed(home.write(&name_at(NOW, "ap1")).unwrap()),
        [old.to_string()]
    );
    assert!(home.path(&young).exists());
}

#[test]
fn garbage_links_and_fifos_with_our_name_are_removed_and_never_waited_for() {
    let home = Home::with_tokens_d();
    let names: Vec<TokenName> = (1..=5).map(|i| name_at(i, "ap2")).collect();
    home.put(&names[0], "no token");
    fs::write(home.path(&names[1]), b"\xff\xfe").unwrap();
    let mine = home.0.path().join("mine");
    fs::write(&mine, "x").unwrap();
    symlink(&mine, home.path(&names[2])).unwrap();
    nix::unistd::mkfifo(&home.path(&names[3]), Mode::S_IRUSR | Mode::S_IWUSR).unwrap();
    fs::create_dir(home.path(&names[4])).unwrap();
    let gone = removed(home.write(&name_at(NOW, "ap1")).unwrap());
    assert_eq!(gone.len(), 4, "{gone:?}");
    assert!(mine.exists() && home.path(&names[4]).is_dir());
}

#[test]
fn an_unfinished_file_goes_only_when_nobody_can_be_writing_it() {
    let home = Home::with_tokens_d();
    let (old, young) = (
        format!(".{}", name_at(5, "ap1")),
        format!(".{}", name_at(6, "ap1")),
    );
    home.put(&old, "half a tok");
    fs::write(home.path(&young), "half a tok").unwrap();
    home.put(".mine", "x");
    assert_eq!(removed(home.write(&name_at(NOW, "ap1")).unwrap()), [old]);
    assert!(home.path(&young).exists() && home.path(".mine").exists());
}

#[test]
fn tokens_of_ended_sessions_go_even_if_they_are_valid() {
    let home = Home::with_tokens_d();
    let (ended, gone) = (name_at(5, "ap1"), name_at(6, "ap1"));
    home.put(&ended, &token(b"current", NOW + 50));
    let name = name_at(NOW, "ap1");
    let mut plan = home.plan(&name, judge(&[&name]));
    plan.ended = vec![ended.clone(), gone.clone()];
    let written = written(&plan).unwrap();
    assert_eq!(written.ended, [ended.clone(), gone]);
    assert!(!home.path(&ended).exists());
}

#[test]
fn a_token_from_a_clock_ahead_is_reported_and_nothing_written() {
    let home = Home::with_tokens_d();
    let ahead = name_at(NOW + 3600, "ap2");
    home.put(&ahead, &token(b"current", NOW + 7200));
    let name = name_at(NOW, "ap1");
    assert_eq!(home.write(&name).unwrap().behind, Some(ahead.clone()));
    assert!(!home.path(&name).exists());
    let mut plan = home.plan(&name, judge(&[&name]));
    plan.insist = true;
    assert!(removed(written(&plan).unwrap()).is_empty());
    assert!(remove(home.0.path(), None, std::slice::from_ref(&name)).unwrap());
    let moved = name.in_front_of(&ahead, 0);
    assert!(removed(home.write(&moved).unwrap()).is_empty());
    let mut names: Vec<_> = fs::read_dir(home.tokens_d())
        .unwrap()
        .map(|e| e.unwrap().file_name())
        .collect();
    names.sort();
    assert_eq!(names[0].to_str().unwrap(), moved.to_string());
}

#[test]
fn the_first_stamp_there_is_blocks_nobody() {
    let home = Home::with_tokens_d();
    let first = TokenName::new(u64::MAX, "ap2", SessionId::random().unwrap());
    home.put(&first, &token(b"current", NOW + 50));
    assert_eq!(home.write(&name_at(NOW, "ap1")).unwrap().behind, None);
}

#[test]
fn what_nobody_waits_for_is_not_put_in_place() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    let plan = home.plan(&name, judge(&[&name]));
    plan.abandoned.store(true, Ordering::SeqCst);
    assert!(written(&plan).is_err());
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 0);
}

#[test]
fn nothing_is_put_in_place_that_is_not_recorded() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    let before = || {
        assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 0);
        false
    };
    assert!(write(&home.plan(&name, judge(&[&name])), before).is_err());
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 0);
}

#[test]
fn a_home_that_is_not_one_is_an_error_with_its_path() {
    let home = Home::new();
    fs::write(home.0.path().join(".condor"), "a file").unwrap();
    let text = home.write(&name_at(NOW, "ap1")).unwrap_err().to_string();
    assert!(text.contains(".condor"), "{text}");
    let mut plan = home.plan(&name_at(NOW, "ap1"), judge(&[]));
    plan.home = "/no/such/home".into();
    let text = written(&plan).unwrap_err().to_string();
    assert!(
        text.contains("/no/such/home") && text.contains("check the home"),
        "{text}"
    );
    // It may be a file system that is not mounted just now, with a token on it.
    let empty = Home::new();
    for away in [Path::new("/no/such/home"), empty.0.path()] {
        let error = remove(away, None, &[name_at(NOW, "ap1")]).unwrap_err();
        assert!(matches!(error, Error::Away { .. }), "{error}");
    }
    let name = [name_at(NOW, "ap1")];
    // In the home that is known nothing but its user takes tokens.d away.
    let known = home_id(home.0.path());
    assert!(!remove(home.0.path(), known, &name).unwrap());
    let error = remove(empty.0.path(), known, &name).unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    fs::remove_file(home.0.path().join(".condor")).unwrap();
    assert!(!remove(home.0.path(), known, &name).unwrap());
    // A link that leads nowhere is somebody's scratch that is not mounted.
    symlink("/no/such/scratch", home.0.path().join(".condor")).unwrap();
    let error = remove(home.0.path(), known, &name).unwrap_err();
    assert!(matches!(error, Error::Away { .. }), "{error}");
    let there = Home::with_tokens_d();
    assert!(!remove(there.0.path(), None, &[name_at(NOW, "ap1")]).unwrap());
}

fn renewal(home: &Home, name: &TokenName) -> Renewal {
    Renewal {
        home: home.0.path().to_owned(),
        name: name.clone(),
        known: home_id(home.0.path()),
        contents: Some(Arc::new(Zeroizing::new(b"the.newer.token\n".to_vec()))),
        moves_from: None,
        missing: Missing::Removed,
        judge: Judge {
            now: NOW,
            host: "ap1".into(),
            alive: HashSet::new(),
            keys: Keys::new(),
        },
        abandoned: Arc::new(AtomicBool::new(false)),
    }
}

#[test]
fn a_renewal_replaces_the_token_in_one_step_and_leaves_nothing_else() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    home.put(&name, "old");
    // Left by a renewal that was killed.
    home.put(format!(".{name}"), "half");
    let before = fs::metadata(home.path(&name)).unwrap().ino();
    assert!(renew(&renewal(&home, &name)).unwrap().is_there);
    let meta = fs::metadata(home.path(&name)).unwrap();
    assert_ne!(meta.ino(), before, "the file itself was changed");
    assert_eq!(meta.permissions().mode() & 0o7777, 0o600);
    assert_eq!(fs::read(home.path(&name)).unwrap(), b"the.newer.token\n");
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 1);
}

#[test]
fn a_token_that_its_user_removed_is_not_brought_back() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    assert!(!renew(&renewal(&home, &name)).unwrap().is_there);
    assert_eq!(fs::read_dir(home.tokens_d()).unwrap().count(), 0);
    fs::remove_dir(home.tokens_d()).unwrap();
    assert!(!renew(&renewal(&home, &name)).unwrap().is_there);
    let mut elsewhere = renewal(&home, &name);
    elsewhere.known = None;
    assert!(renew(&elsewhere).is_err(), "it may come back");
    fs::remove_dir(home.0.path().join(".condor")).unwrap();
    let mut first = renewal(&home, &name);
    first.missing = Missing::NeverWritten;
    assert!(renew(&first).unwrap().is_there);
    assert!(home.path(&name).exists());
}

#[test]
fn a_renewal_that_fails_or_is_not_waited_for_leaves_the_old_token() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    home.put(&name, "old");
    let renewal = renewal(&home, &name);
    renewal.abandoned.store(true, Ordering::SeqCst);
    assert!(renew(&renewal).is_err());
    assert_eq!(fs::read(home.path(&name)).unwrap(), b"old");
    fs::create_dir(home.path(format!(".{name}"))).unwrap();
    renewal.abandoned.store(false, Ordering::SeqCst);
    assert!(renew(&renewal).is_err());
    assert_eq!(fs::read(home.path(&name)).unwrap(), b"old");
}

#[test]
fn a_renewal_follows_no_link_in_place_of_the_token() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW, "ap1");
    let target = home.0.path().join("target");
    fs::write(&target, "mine").unwrap();
    symlink(&target, home.path(&name)).unwrap();
    assert!(renew(&renewal(&home, &name)).unwrap().is_there);
    assert_eq!(fs::read(target).unwrap(), b"mine");
    assert!(fs::symlink_metadata(home.path(&name)).unwrap().is_file());
}

#[test]
fn all_that_a_session_has_is_found_by_its_id() {
    let home = Home::with_tokens_d();
    let (name, other) = (name_at(NOW, "ap1"), name_at(NOW, "ap1"));
    for file in [name.to_string(), format!(".{name}"), other.to_string()] {
        home.put(file, "x");
    }
    assert!(remove_session(home.0.path(), None, name.id()).unwrap());
    let left: Vec<_> = fs::read_dir(home.tokens_d())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    assert_eq!(left, [other.to_string()]);
    assert!(!remove_session(home.0.path(), None, name.id()).unwrap());
}

#[test]
fn a_probe_leaves_nothing_behind() {
    let home = Home::new();
    probe(home.0.path()).unwrap();
    assert_eq!(fs::read_dir(home.0.path()).unwrap().count(), 0);
    let full = Home::with_tokens_d();
    probe(full.0.path()).unwrap();
    assert_eq!(fs::read_dir(full.tokens_d()).unwrap().count(), 0);
    assert!(probe(Path::new("/no/such/home")).is_err());
    let linked = Home::new();
    symlink("/no/such/scratch", linked.0.path().join(".condor")).unwrap();
    assert!(probe(linked.0.path()).is_err());
}

#[test]
fn another_hosts_token_has_to_be_expired_for_longer_than_its_clock_may_be_behind() {
    let home = Home::with_tokens_d();
    let (own, other, late) = (
        name_at(NOW - 9000, "ap1"),
        name_at(NOW - 9000, "ap2"),
        name_at(NOW - 9000, "ap3"),
    );
    home.put(&own, &token(b"current", NOW - 1));
    home.put(&other, &token(b"current", NOW - 1));
    home.put(&late, &token(b"current", NOW - 61));
    let mut removed = home.write(&name_at(NOW, "ap1")).unwrap().removed;
    removed.sort();
    let mut wanted = [own.to_string(), late.to_string()];
    wanted.sort();
    assert_eq!(removed, wanted);
}

#[test]
fn a_renewal_clears_dead_tokens_away_and_says_when_the_next_one_dies() {
    let home = Home::with_tokens_d();
    let name = name_at(NOW - 9000, "ap1");
    let (dead, living, behind) = (
        name_at(NOW - 8000, "ap2"),
        name_at(NOW - 7000, "ap2"),
        name_at(NOW - 9500, "ap2"),
    );
    home.put(&name, "old");
    home.put(&dead, &token(b"another", NOW - 100));
    home.put(&living, &token(b"another", NOW + 50));
    home.put(&behind, &token(b"another", NOW + 20));
    let mut renewal = renewal(&home, &name);
    renewal.contents = None;
    let renewed = renew(&renewal).unwrap();
    assert_eq!(renewed.removed, [dead.to_string()]);
    assert_eq!(renewed.in_the_way_at, Some(NOW + 50 + 60));
    assert_eq!(fs::read(home.path(&name)).unwrap(), b"old", "only cleared");
}

#[test]
fn whoever_insists_is_written_behind_a_living_token() {
    let home = Home::with_tokens_d();
    let ahead = name_at(NOW + 9000, "ap2");
    home.put(&ahead, &token(b"current", NOW + 9000));
    let name = name_at(NOW, "ap1");
    let mut plan = home.plan(&name, judge(&[]));
    assert_eq!(written(&plan).unwrap().behind, Some(ahead));
    assert!(!home.path(&name).exists());
    plan.insist = true;
    assert_eq!(written(&plan).unwrap().behind, None);
    assert!(home.path(&name).exists());
}

#[test]
fn a_renewal_moves_in_front_of_a_token_that_this_hosts_key_does_not_verify() {
    let home = Home::with_tokens_d();
    let (name, other) = (name_at(NOW - 9000, "ap1"), name_at(NOW - 8000, "ap2"));
    let own_key = name_at(NOW - 7000, "ap3");
    home.put(&name, "old");
    home.put(&other, &token(b"replaced", NOW + 500));
    home.put(&own_key, &token(b"current", NOW + 500));
    let mut first = renewal(&home, &name);
    first.judge.keys = keys();
    let seen = renew(&first).unwrap();
    assert_eq!(seen.in_the_way, Some(other.clone()));
    let mut second = renewal(&home, &name.in_front_of(&other, 0));
    second.judge.keys = keys();
    second.moves_from = Some(name.clone());
    assert_eq!(renew(&second).unwrap().in_the_way, None);
    assert!(!home.path(&name).exists() && home.path(&second.name).exists());
    assert!(home.path(&other).exists(), "it may work on its own host");
    // Onto itself nothing is lost.
    second.moves_from = Some(second.name.clone());
    renew(&second).unwrap();
    assert!(home.path(&second.name).exists());
}

#[test]
fn a_home_that_may_be_entered_and_not_listed_is_the_same_one_each_time() {
    let home = Home::with_tokens_d();
    let (path, name) = (home.0.path().to_owned(), name_at(NOW, "ap1"));
    let is_root = nix::unistd::geteuid().is_root();
    if is_root {
        for path in [home.tokens_d(), path.join(".condor"), path.clone()] {
            std::os::unix::fs::chown(path, Some(4321), Some(4321)).unwrap();
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o311)).unwrap();
    let mut renewal = renewal(&home, &name);
    let mut goes_round = move || {
        renewal.missing = Missing::NeverWritten;
        let known = renew(&renewal)?.home_id;
        assert!(remove(&renewal.home, known, std::slice::from_ref(&name))?);
        // Its `[[token]]` table went, and is there again.
        (renewal.missing, renewal.known) = (Missing::Dropped, known);
        renew(&renewal)
    };
    let renewed = if is_root {
        let user = crate::user::User {
            name: "alice".into(),
            uid: 4321,
            gid: 4321,
            groups: vec![4321],
            home: path.clone(),
        };
        let soon = crate::deadline::Deadline::after(std::time::Duration::from_secs(5));
        crate::acting::as_user(&user, 0, soon, goes_round)
    } else {
        goes_round()
    };
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).unwrap();
    assert!(renewed.unwrap().is_there);
}
