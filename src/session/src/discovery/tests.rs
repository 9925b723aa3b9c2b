use super::*;
use crate::child::tests::install;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Instant;

const NOW: u64 = 1_000_000;

fn euid() -> u32 {
    nix::unistd::geteuid().as_raw()
}

/// A host with a condor_config_val of its own.
struct Fake {
    dir: tempfile::TempDir,
}

/// Counts how often it was asked and answers with what is in `config`.
const ANSWERS: &str = r#"echo asked >>"$D/count"
[ "$1 $2 $3 $4" = "-subsystem SCHEDD -config -macro" ] || exit 2
printf 'Configuration source:\n' >&2
printf '\t%s\n' "$D/config"; for f in "$D/config.d"/*; do [ -e "$f" ] && printf '\t%s\n' "$f"; done
[ -e "$D/more" ] && cat "$D/more"
for a; do case $a in
  pam_idtoken:end) echo "$a";;
  pam_idtoken:TRUST_DOMAIN=*) echo "${a%%=*}=$(cat "$D/config" "$D/config.d"/* 2>/dev/null)";;
  pam_idtoken:UID_DOMAIN=*) echo "${a%%=*}=${CONDOR_CONFIG:-uid.test}";;
  pam_idtoken:SEC_TOKEN_MAX_AGE=*) echo "${a%%=*}=soon";;
  pam_idtoken:LOCAL_CONFIG_DIR=*) echo "${a%%=*}=$D/config.d, $D/missing.d";;
  pam_idtoken:*) echo "${a%%=*}=";;
esac; done
"#;

impl Fake {
    fn new() -> Self {
        let fake = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        fs::create_dir(fake.path("config.d")).unwrap();
        fs::write(fake.path("config"), "one.test").unwrap();
        fake.tool(ANSWERS);
        fake
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Replaces the tool as a package manager does.
    fn tool(&self, script: &str) {
        let dir = self.dir.path().display();
        let script = format!("#!/bin/sh\nD={dir}\n{script}");
        install(&script, "755", &self.path("tool"));
    }

    /// Lets something be done with its source.
    fn with<T>(&self, condor_config: Option<&str>, act: impl FnOnce(&Source<'_>) -> T) -> T {
        act(&Source {
            tool: &self.path("tool"),
            condor_config: condor_config.map(Path::new),
            run_dir: &self.path("run"),
        })
    }

    fn kept(&self) -> PathBuf {
        self.with(None, cache::kept_in)
    }

    fn lock(&self) -> PathBuf {
        self.with(None, cache::lock_of)
    }

    fn found_at(&self, now: u64, deadline: Deadline) -> Found {
        self.with(None, |source| look(source, euid(), deadline, now))
    }

    fn found(&self, now: u64) -> Found {
        self.found_at(now, Deadline::after(Duration::from_secs(20)))
    }

    fn fresh(&self, now: u64) -> HTCondor {
        match self.found(now) {
            Found::Fresh(answer) => answer,
            other => panic!("{other:?}"),
        }
    }

    fn trust_domain(&self, now: u64) -> String {
        self.fresh(now).trust_domain.unwrap().to_string()
    }

    fn asked(&self) -> usize {
        let count = fs::read_to_string(self.path("count")).unwrap_or_default();
        count.lines().count()
    }
}

#[test]
fn an_answer_is_asked_for_once_and_has_what_is_defined() {
    let fake = Fake::new();
    let answer = fake.fresh(NOW);
    assert_eq!(answer.trust_domain.as_ref().unwrap().as_str(), "one.test");
    assert_eq!(answer.uid_domain.as_ref().unwrap().as_str(), "uid.test");
    assert_eq!((&answer.issuer_key, answer.token_max_age), (&None, None));
    assert!(answer.odd.len() == 1 && answer.odd[0].contains("SEC_TOKEN_MAX_AGE"));
    // What has to be watched is known after the first time only.
    assert_eq!(fake.asked(), 2);
    assert_eq!(fake.fresh(NOW + 1), answer);
    assert_eq!(fake.fresh(NOW + GOOD - 1), answer);
    assert_eq!(fake.asked(), 2);
    let file = fs::metadata(fake.kept()).unwrap();
    assert_eq!(file.permissions().mode() & 0o7777, 0o644);
    let lock = fs::metadata(fake.lock()).unwrap();
    assert_eq!(lock.permissions().mode() & 0o7777, 0o600);
}

#[test]
fn a_changed_source_is_asked_about_again_and_once() {
    let fake = Fake::new();
    assert_eq!(fake.trust_domain(NOW), "one.test");
    fs::write(fake.path("config"), "two.test").unwrap();
    assert_eq!(fake.trust_domain(NOW + 1), "two.test");
    assert_eq!(fake.trust_domain(NOW + 2), "two.test");
    assert_eq!(fake.asked(), 3);
}

#[test]
fn a_new_file_in_a_directory_is_asked_about() {
    let fake = Fake::new();
    fs::write(fake.path("config"), "").unwrap();
    assert_eq!(fake.fresh(NOW).trust_domain, None);
    fs::write(fake.path("config.d/10"), "three.test").unwrap();
    assert_eq!(fake.trust_domain(NOW + 1), "three.test");
    // The directory was missing.
    let before = fake.asked();
    fs::create_dir(fake.path("missing.d")).unwrap();
    fake.fresh(NOW + 2);
    assert!(fake.asked() > before);
}

#[test]
fn a_change_while_it_is_asked_is_not_missed() {
    let fake = Fake::new();
    // The answer is read, then the source changes: at the first time only.
    let change = r#"[ -e "$D/changed" ] || { : >"$D/changed"; printf four.test >"$D/config"; }"#;
    fake.tool(&format!("{ANSWERS}{change}"));

    fake.found(NOW);
    assert_eq!(fake.trust_domain(NOW), "four.test");
}

/// Answers, and then changes one of the sources.
fn never_resting() -> String {
    format!("{ANSWERS}: >\"$D/config.d/$$\"\n")
}

#[test]
fn a_source_that_never_rests_is_asked_again_soon() {
    let fake = Fake::new();
    fake.tool(&never_resting());
    fake.fresh(NOW);
    assert_eq!(fake.asked(), ROUNDS);
    fake.fresh(NOW + SOON - 1);
    assert_eq!(fake.asked(), ROUNDS);
    fake.fresh(NOW + SOON);
    assert_eq!(fake.asked(), 2 * ROUNDS);
}

#[test]
fn what_is_read_during_a_change_is_not_believed_for_a_minute_if_there_is_an_older_answer() {
    let fake = Fake::new();
    let old = fake.fresh(NOW);
    fake.tool(&never_resting());
    // Nothing that matters is new.
    assert_eq!(fake.fresh(NOW + 1), old);
    let is_old = |now| {
        let found = fake.found(now);
        assert!(
            matches!(&found, Found::Old(answer, why)
                if *answer == old && why.to_string() == CHANGING),
            "{now}: {found:?}"
        );
    };
    fs::write(fake.path("config"), "half.test").unwrap();
    let before = fake.asked();
    is_old(NOW + 2);
    is_old(NOW + 1 + SOON);
    assert_eq!(fake.asked(), before + ROUNDS);
    is_old(NOW + 2 + SOON);
    assert_eq!(fake.asked(), before + 2 * ROUNDS);
    // Another change, long after it.
    let later = NOW + 2 + 2 * SOON + ANOTHER;
    is_old(later);
    is_old(later + PAUSE - 1);
    let later = later + PAUSE + SOON;
    assert_eq!(fake.trust_domain(later), "half.test");
    fs::write(fake.path("config"), "whole.test").unwrap();
    fake.tool(ANSWERS);
    assert_eq!(fake.trust_domain(later + 1), "whole.test");
}

#[test]
fn a_slow_tool_and_a_new_source_get_an_answer_at_the_next_login() {
    let fake = Fake::new();
    let old = fake.fresh(NOW);
    let asked = fake.asked();
    // It is asked once more because of the source, and there is no time left.
    fake.tool(&format!(
        "[ $(wc -l <$D/count) -ne {} ] || {{ echo asked >>$D/count; exec sleep 100; }}; {ANSWERS}",
        asked + 1
    ));
    fs::write(fake.path("config.d/20"), "new.test").unwrap();
    let found = fake.found_at(NOW + 1, Deadline::after(Duration::from_secs(3)));
    assert!(
        matches!(&found, Found::Old(answer, why) if *answer == old && why.to_string() == CHANGING),
        "{found:?}"
    );
    assert_eq!(fake.asked(), asked + 2);
    let found = fake.found(NOW + 1 + SOON);
    let domain = found
        .answer()
        .and_then(|answer| answer.trust_domain.clone());
    assert!(matches!(found, Found::Fresh(_)), "{found:?}");
    assert_eq!(domain.unwrap().as_str(), "one.testnew.test");
    assert_eq!(fake.asked(), asked + 3);
}

#[test]
fn an_answer_that_a_command_has_a_part_in_is_good_for_five_minutes() {
    let fake = Fake::new();
    fs::write(fake.path("more"), "\techo A=1 |\n").unwrap();
    fake.fresh(NOW);
    let before = fake.asked();
    fake.fresh(NOW + GOOD_UNWATCHED - 1);
    assert_eq!(fake.asked(), before);
    fake.fresh(NOW + GOOD_UNWATCHED);
    assert!(fake.asked() > before);
}

#[test]
fn a_clock_that_was_set_back_asks_again() {
    let fake = Fake::new();
    fake.fresh(NOW);
    let before = fake.asked();
    fake.fresh(NOW - 10);
    assert!(fake.asked() > before);
}

#[test]
fn a_tool_that_hangs_costs_one_login_its_deadline() {
    let fake = Fake::new();
    fake.tool("echo asked >>\"$D/count\"; exec sleep 100");
    let started = Instant::now();
    let found = fake.found_at(NOW, Deadline::after(Duration::from_secs(3)));
    assert!(started.elapsed() < Duration::from_secs(7));
    assert!(matches!(&found, Found::Nothing(Why::Broken(why)) if why.contains("did not end")));
    // Nobody asks, and so nobody waits.
    assert_eq!(fake.found(NOW + 1), found);
    assert_eq!(fake.asked(), 1);
    // Somebody mends it.
    fake.tool(ANSWERS);
    assert_eq!(fake.trust_domain(NOW + 2), "one.test");
}

#[test]
fn a_login_with_no_time_left_does_not_speak_for_others() {
    let fake = Fake::new();
    fake.tool(&format!("sleep 0.3; {ANSWERS}"));
    let found = fake.found_at(NOW, Deadline::after(Duration::from_millis(100)));
    assert_eq!(found, Found::Nothing(too_late()));
    assert_eq!(fake.trust_domain(NOW + 1), "one.test");
}

#[test]
fn a_tool_that_fails_is_not_asked_for_a_minute_unless_a_source_changes() {
    let fake = Fake::new();
    fake.fresh(NOW);
    let broken = "echo asked >>\"$D/count\"; echo 'Config source Error: no' >&2; exit 1";
    fake.tool(broken);
    let before = fake.asked();
    let found = fake.found(NOW + 1);
    let Found::Old(answer, Why::Broken(why)) = &found else {
        panic!("{found:?}");
    };
    assert_eq!(answer.trust_domain.as_ref().unwrap().as_str(), "one.test");
    assert!(
        why.contains("exit status: 1") && why.contains("Config source Error: no"),
        "{why}"
    );
    assert_eq!(fake.found(NOW + 2), found);
    assert_eq!(fake.asked(), before + 1);
    fs::write(fake.path("config"), "five.test").unwrap();
    assert_eq!(fake.found(NOW + 3), found);
    assert_eq!(fake.asked(), before + 2);
    assert_eq!(fake.found(NOW + 3 + PAUSE), found);
    assert_eq!(fake.asked(), before + 3);
}

#[test]
fn garbage_is_a_failure_and_never_an_answer() {
    let fake = Fake::new();
    for garbage in [
        "echo lab.test",
        ":",
        "head -c 1000 /dev/urandom",
        "exec yes",
    ] {
        fake.tool(garbage);
        let found = fake.found(NOW);
        assert!(
            matches!(found, Found::Nothing(Why::Broken(_))),
            "{garbage}: {found:?}"
        );
    }
}

#[test]
fn a_host_without_htcondor_is_told_from_a_broken_one() {
    let fake = Fake::new();
    fs::remove_file(fake.path("tool")).unwrap();
    let found = fake.found(NOW);
    assert!(matches!(&found, Found::Nothing(Why::NotInstalled(why)) if why.contains("/tool")));
    assert!(!fake.path("run").exists());
    fake.tool(ANSWERS);
    fake.fresh(NOW);
    fs::remove_file(fake.path("tool")).unwrap();
    for now in [NOW + 1, NOW + 2] {
        let found = fake.found(now);
        assert!(
            matches!(found, Found::Old(_, Why::NotInstalled(_))),
            "{found:?}"
        );
    }
    fake.tool(ANSWERS);
    fake.fresh(NOW + 3);
}

#[test]
fn ten_logins_at_once_ask_once() {
    let fake = Fake::new();
    std::thread::scope(|scope| {
        for _ in 0..10 {
            scope.spawn(|| assert_eq!(fake.trust_domain(NOW), "one.test"));
        }
    });
    assert_eq!(fake.asked(), 2);
}

#[test]
fn a_login_that_waited_believes_whoever_began_after_it_and_asked() {
    let fake = Fake::new();
    assert_eq!(fake.trust_domain(NOW + 1), "one.test");
    assert_eq!(fake.trust_domain(NOW), "one.test");
    assert_eq!(fake.asked(), 2);
}

#[test]
fn what_others_could_have_written_is_not_believed() {
    let fake = Fake::new();
    fake.fresh(NOW);
    let path = fake.kept();
    let good = fs::read(&path).unwrap();
    let ask_again = |what: &str| {
        let before = fake.asked();
        assert_eq!(fake.trust_domain(NOW + 1), "one.test");
        assert!(fake.asked() > before, "{what}");
        fs::write(&path, &good).unwrap();
    };
    let text = String::from_utf8(good.clone()).unwrap();
    for (from, to) in [
        ("htcondor 2", "htcondor 3"),
        ("pam", ""),
        ("/tool", "/other"),
        ("asked", "x"),
    ] {
        assert!(text.contains(from));
        fs::write(&path, text.replacen(from, to, 1)).unwrap();
        ask_again(to);
    }
    fs::write(&path, &good[..good.len() / 2]).unwrap();
    ask_again("cut off");
    fs::write(&path, vec![b' '; 2_000_000]).unwrap();
    ask_again("too large");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
    ask_again("writable");
    if euid() == 0 {
        nix::unistd::chown(&path, Some(4321.into()), None).unwrap();
        ask_again("foreign");
    }
    fs::rename(&path, fake.path("aside")).unwrap();
    std::os::unix::fs::symlink(fake.path("aside"), &path).unwrap();
    ask_again("a link");
    assert_eq!(
        fs::read(fake.path("aside")).unwrap(),
        good,
        "nothing is written through it"
    );
}

#[test]
fn where_nothing_can_be_kept_it_is_asked_each_time() {
    let fake = Fake::new();
    fs::write(fake.path("run"), "a file").unwrap();
    fake.fresh(NOW);
    let once = fake.asked();
    fake.fresh(NOW);
    assert_eq!(fake.asked(), 2 * once);
    fs::remove_file(fake.path("run")).unwrap();
    fs::create_dir(fake.path("run")).unwrap();
    fs::set_permissions(fake.path("run"), fs::Permissions::from_mode(0o777)).unwrap();
    fake.fresh(NOW);
    assert!(!fake.kept().exists(), "others may write here");
}

#[test]
fn a_lock_that_somebody_keeps_costs_the_deadline() {
    let fake = Fake::new();
    fake.fresh(NOW);
    fs::write(fake.path("config"), "six.test").unwrap();
    let lock = fs::File::open(fake.lock()).unwrap();
    lock.lock().unwrap();
    let started = Instant::now();
    let found = fake.found_at(NOW, Deadline::after(Duration::from_secs(3)));
    assert!(
        matches!(&found, Found::Old(_, Why::Broken(why)) if why.contains("somebody else")),
        "{found:?}"
    );
    let found = fake.found_at(NOW, Deadline::after(Duration::from_millis(100)));
    assert!(
        matches!(&found, Found::Old(_, why) if *why == too_late()),
        "{found:?}"
    );
    assert!(started.elapsed() < Duration::from_secs(7));
    lock.unlock().unwrap();
    assert_eq!(fake.trust_domain(NOW), "six.test");
}

#[test]
fn another_condor_config_is_another_answer() {
    let fake = Fake::new();
    fake.fresh(NOW);
    let soon = Deadline::after(Duration::from_secs(20));
    let found = fake.with(Some("other.test"), |source| look(source, euid(), soon, NOW));
    let domain = found.answer().and_then(|answer| answer.uid_domain.clone());
    assert_eq!(domain.unwrap().as_str(), "other.test");
    let before = fake.asked();
    fake.fresh(NOW + 1);
    assert_eq!(fake.asked(), before);
}

#[test]
fn a_source_that_fails_leaves_the_answers_of_others() {
    let fake = Fake::new();
    let answer = fake.fresh(NOW);
    fake.tool("exit 1");
    let old = |found| matches!(found, Found::Old(kept, Why::Broken(_)) if kept == answer);
    assert!(old(fake.found(NOW + 1)));
    let soon = Deadline::after(Duration::from_secs(20));
    let other = fake.with(Some("/other"), |source| look(source, euid(), soon, NOW + 2));
    assert!(matches!(other, Found::Nothing(_)), "{other:?}");
    for now in [NOW + 3, NOW + 2 * PAUSE, NOW + 2 * GOOD] {
        assert!(old(fake.found(now)), "{now}");
    }
}

/// Does something where a file system that never answers is mounted on `place`; tells
/// whether that could be done, which takes root.
fn where_it_hangs(place: &Path, act: impl FnOnce() + Send) -> bool {
    use nix::mount::{MsFlags, mount};
    use nix::sched::{CloneFlags, unshare};
    use std::os::fd::AsRawFd;

    if euid() != 0 {
        return false;
    }
    let act = || {
        unshare(CloneFlags::CLONE_NEWNS).unwrap();
        let private = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
        mount(None::<&str>, "/", None::<&str>, private, None::<&str>).unwrap();
        // Nobody reads what the kernel asks; that ends when it is closed.
        let mut fuse = fs::File::options();
        let fuse = fuse.read(true).write(true).open("/dev/fuse").unwrap();
        let fd = fuse.as_raw_fd();
        let options = format!("fd={fd},rootmode=40000,user_id=0,group_id=0");
        let kind = Some("fuse");
        mount(kind, place, kind, MsFlags::empty(), Some(&*options)).unwrap();
        act();
    };
    std::thread::scope(|scope| scope.spawn(act).join().unwrap());
    true
}

#[test]
fn a_file_system_that_hangs_costs_one_login_a_minute_its_deadline() {
    let fake = Fake::new();
    let answer = fake.fresh(NOW);
    let kept = fs::read_to_string(fake.kept()).unwrap();
    let dir = format!("{}\n", fake.path("config.d").display());
    let remote = kept.replace(&format!("local {dir}"), &format!("remote {dir}"));
    assert_ne!(kept, remote);
    fs::write(fake.kept(), remote).unwrap();
    let before = fake.asked();
    let mounted = where_it_hangs(&fake.path("config.d"), || {
        let soon = || Deadline::after(Duration::from_secs(3));
        let late = || Deadline::after(Duration::from_millis(50));
        let nobody_asked = |found: Found, says: &str| {
            let Found::Old(old, why) = found else {
                panic!("{found:?}");
            };
            assert!(old == answer && why.to_string().contains(says), "{why}");
        };
        nobody_asked(fake.found_at(NOW + 1, late()), "too little time");
        nobody_asked(fake.found_at(NOW + 1, soon()), "does not answer");
        let no_time = |now: u64, says: &str| {
            let started = Instant::now();
            nobody_asked(fake.found_at(now, soon()), says);
            started.elapsed() < Duration::from_millis(300)
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| no_time(NOW + PAUSE, "does not answer")));
        assert_eq!(fake.asked(), before);
        // The tool itself hangs now.
        nobody_asked(fake.found_at(NOW + 1 + PAUSE, soon()), "did not end");
        assert!((0..3).any(|_| no_time(NOW + 2 + PAUSE, "did not end")));
    });
    if mounted {
        assert_eq!(fake.fresh(NOW + 2 + 2 * PAUSE), answer);
    }
}

#[test]
fn a_tool_that_can_not_even_be_looked_at_costs_one_login_its_deadline() {
    let fake = Fake::new();
    fs::remove_file(fake.path("tool")).unwrap();
    fs::create_dir(fake.path("tool")).unwrap();
    where_it_hangs(&fake.path("tool"), || {
        let (tool, run_dir) = (fake.path("tool/tool"), fake.path("run"));
        let source = Source {
            tool: &tool,
            condor_config: None,
            run_dir: &run_dir,
        };
        let look = || {
            let started = Instant::now();
            let soon = Deadline::after(Duration::from_secs(3));
            let found = look(&source, euid(), soon, NOW);
            let why = found.why().map(ToString::to_string).unwrap_or_default();
            assert!(why.contains("does not answer"), "{found:?}");
            started.elapsed()
        };
        let first = look();
        assert!(first < Duration::from_secs(7), "{first:?}");
        assert!((0..3).any(|_| look() < Duration::from_millis(300)));
    });
}
