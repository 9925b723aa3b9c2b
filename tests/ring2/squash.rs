//! The file server of the tests behaves as NFS with root_squash does, in each of its modes.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use pam_idtoken_tests::command::{Answer, run};
use pam_idtoken_tests::host::lab::{ALICE, BOB};
use pam_idtoken_tests::host::{Mode, Squash};

use crate::Test::{self, Root};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "a squashed root may look at nothing but the mount",
        root_is_refused,
    ),
    Root(
        "a user does what they may with a served home",
        the_user_works,
    ),
    Root("another user may do what the modes say", modes_count),
    Root("supplementary groups count on a served home", groups_count),
    Root("a full server takes nothing new", full),
    Root(
        "a server that is full at close says so at close",
        full_at_close,
    ),
    Root("a read-only server changes nothing", read_only),
    Root("a server that lies has done the rename", lies),
    Root("a server that hangs lets whoever asks be killed", hangs),
    Root("a server that stalls answers later", stalls),
    Root("a server that goes lets everybody go and unmounts", goes),
];

/// A home of alice's that is served.
struct Served {
    // First, so that it ends before the directory goes.
    server: Option<Squash>,
    dir: tempfile::TempDir,
}

impl Served {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["disk", "home"] {
            fs::create_dir(dir.path().join(name)).unwrap();
        }
        let disk = dir.path().join("disk");
        chown(&disk, Some(ALICE), Some(ALICE)).unwrap();
        fs::set_permissions(&disk, fs::Permissions::from_mode(0o755)).unwrap();
        let server = Some(Squash::mount(&disk, &dir.path().join("home")));
        Self { server, dir }
    }

    fn server(&self) -> &Squash {
        self.server.as_ref().unwrap()
    }

    fn command(&self, user: u32, script: &str) -> Command {
        let mut command = Command::new("sh");
        command.args(["-c", script]).current_dir("/");
        command.env("HOME", self.dir.path().join("home"));
        command.uid(user).gid(user);
        command
    }

    fn sh(&self, user: u32, script: &str) -> Answer {
        run(&mut self.command(user, script))
    }

    fn alice(&self, script: &str) -> Answer {
        self.sh(ALICE, script)
    }

    /// Alice asks what the mount is, and waits for the server.
    #[track_caller]
    fn asks(&self) -> Child {
        let mut stat = self.command(ALICE, "exec stat $HOME >/dev/null 2>&1");
        let mut stat = stat.spawn().unwrap();
        let wchan = format!("/proc/{}/wchan", stat.id());
        let end = Instant::now() + Duration::from_secs(10);
        while fs::read_to_string(&wchan).unwrap() != "request_wait_answer" {
            assert!(stat.try_wait().unwrap().is_none(), "it was answered");
            assert!(Instant::now() < end, "it does not ask");
            std::thread::sleep(Duration::from_millis(5));
        }
        stat
    }

    /// What is on the disk of the server.
    fn disk(&self, name: &str) -> std::path::PathBuf {
        self.dir.path().join("disk").join(name)
    }

    #[track_caller]
    fn refused(&self, user: u32, script: &str, why: &str) {
        let said = self.sh(user, &format!("export LC_ALL=C; {script}"));
        assert!(!said.ok && said.stderr.contains(why), "{script}: {said:?}");
    }
}

fn root_is_refused() {
    let served = Served::new();
    served
        .alice("mkdir -m 777 $HOME/open; echo hello >$HOME/open/file; chmod 666 $HOME/open/file")
        .must();
    served.sh(0, "stat $HOME").must();
    for script in [
        "stat $HOME/open",
        "ls $HOME",
        "cat $HOME/open/file",
        "touch $HOME/open/new",
        "mkdir $HOME/open/new",
        "rm -f $HOME/open/file",
        "mv $HOME/open/file $HOME/open/moved",
        "chown root $HOME/open/file",
        "cd $HOME/open",
    ] {
        served.refused(
            0,
            script,
            if script.starts_with("cd") {
                "can't cd"
            } else {
                "Permission denied"
            },
        );
    }
    // Not by a descriptor either that was the user's.
    let file = "exec 3>>$HOME/open/file; exec setpriv --reuid 0 sh -c 'echo more >&3'";
    assert!(!served.sh(0, file).ok);
    assert_eq!(
        fs::read_to_string(served.disk("open/file")).unwrap(),
        "hello\n"
    );
}

fn the_user_works() {
    let served = Served::new();
    let script = "set -e; cd; umask 022; mkdir -p .condor/tokens.d; chmod 700 .condor/tokens.d
        cd .condor/tokens.d; echo secret >.new; chmod 600 .new; mv .new token; cat token
        ln -s token link; readlink link; ln token hard; ls; test -w token; test ! -x token
        touch -d @86400 token; stat -c '%a %Y %h' token; dd if=/dev/zero of=big bs=1k count=300 status=none
        truncate -s 5 big; stat -c %s big; sync big; df . >/dev/null; rm token link hard big
        cd ..; rmdir tokens.d; find ~";
    let said = served.alice(script).must().stdout;
    let home = served.dir.path().join("home").display().to_string();
    let expected =
        format!("secret\ntoken\nhard\nlink\ntoken\n600 86400 2\n5\n{home}\n{home}/.condor\n");
    assert_eq!(said, expected);
    let made = fs::metadata(served.disk(".condor")).unwrap();
    assert_eq!(
        (made.uid(), made.gid(), made.mode() & 0o777),
        (ALICE, ALICE, 0o755)
    );
}

fn modes_count() {
    let served = Served::new();
    served.alice("echo secret >$HOME/mine; chmod 600 $HOME/mine; mkdir -m 1777 $HOME/all; echo 1 >$HOME/all/hers").must();
    let denied = "Permission denied";
    served.refused(BOB, "cat $HOME/mine", denied);
    served.refused(BOB, "touch $HOME/new", denied);
    served.refused(BOB, "mv $HOME/mine $HOME/all/his", denied);
    served.refused(BOB, "chmod 666 $HOME/mine", "not permitted");
    served.refused(BOB, "rm -f $HOME/all/hers", "not permitted");
    served
        .sh(
            BOB,
            "set -e; echo 2 >$HOME/all/his; cat $HOME/all/hers; rm $HOME/all/his",
        )
        .must();
    served.refused(ALICE, "chown root $HOME/mine", "not permitted");
}

fn groups_count() {
    let served = Served::new();
    fs::write(served.disk("ours"), "of the group").unwrap();
    chown(served.disk("ours"), Some(0), Some(BOB)).unwrap();
    fs::set_permissions(served.disk("ours"), fs::Permissions::from_mode(0o640)).unwrap();
    served.refused(ALICE, "cat $HOME/ours", "Permission denied");
    let member = format!("setpriv --reuid {ALICE} --regid {ALICE} --groups {BOB} cat $HOME/ours");
    assert_eq!(served.sh(0, &member).must().stdout, "of the group");
}

fn full() {
    let served = Served::new();
    served.alice("echo old >$HOME/old").must();
    served.server().set(Mode::Full);
    let why = "No space left";
    served.refused(ALICE, "mkdir $HOME/new", why);
    served.refused(ALICE, "echo new >$HOME/new", "cannot create");
    served.refused(ALICE, "echo more >>$HOME/old", "I/O error");
    served
        .alice("set -e; mv $HOME/old $HOME/moved; cat $HOME/moved; rm $HOME/moved")
        .must();
    served.server().set(Mode::Normal);
    served.alice("echo new >$HOME/new").must();
}

fn full_at_close() {
    let served = Served::new();
    served.server().set(Mode::FullAtClose);
    served.refused(ALICE, "cp /etc/passwd $HOME/copy", "No space left");
    served.refused(
        ALICE,
        "dd if=/etc/passwd of=$HOME/other conv=fsync",
        "fsync failed",
    );
    assert_eq!(fs::read(served.disk("copy")).unwrap(), b"");
}

fn read_only() {
    let served = Served::new();
    served.alice("echo old >$HOME/old").must();
    served.server().set(Mode::ReadOnly);
    let why = "Read-only file system";
    for script in [
        "touch $HOME/new",
        "mkdir $HOME/new",
        "rm -f $HOME/old",
        "mv $HOME/old $HOME/new",
        "chmod 600 $HOME/old",
        "truncate -s 0 $HOME/old",
    ] {
        served.refused(ALICE, script, why);
    }
    assert_eq!(served.alice("cat $HOME/old").must().stdout, "old\n");
}

fn lies() {
    let served = Served::new();
    served.alice("echo old >$HOME/old").must();
    served.server().set(Mode::RenamesAndFails);
    let home = served.dir.path().join("home");
    // mv(1) would look what became of it, and complain about that.
    let alice = std::thread::spawn(move || {
        nix::unistd::setfsgid(ALICE.into());
        nix::unistd::setfsuid(ALICE.into());
        fs::rename(home.join("old"), home.join("new"))
    });
    let error = alice.join().unwrap().unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EIO), "{error}");
    assert_eq!(fs::read_to_string(served.disk("new")).unwrap(), "old\n");
    assert!(!served.disk("old").exists());
}

fn hangs() {
    let served = Served::new();
    served.server().hang();
    let mut asking = served.asks();
    std::thread::sleep(Duration::from_millis(300));
    assert!(asking.try_wait().unwrap().is_none(), "it was answered");
    asking.kill().unwrap();
    let started = Instant::now();
    asking.wait().unwrap();
    let took = started.elapsed();
    assert!(took < Duration::from_secs(10), "it could not be killed");
    served.server().go_on();
    served.alice("stat $HOME").must();
}

fn stalls() {
    let served = Served::new();
    served.server().set(Mode::Stalled);
    let mut asking = served.asks();
    std::thread::sleep(Duration::from_millis(300));
    assert!(asking.try_wait().unwrap().is_none(), "it was answered");
    served.server().set(Mode::Normal);
    assert!(asking.wait().unwrap().success());
}

fn goes() {
    let stall = |server: &Squash| server.set(Mode::Stalled);
    for hang in [Squash::hang, stall] {
        let mut served = Served::new();
        hang(served.server());
        let mut asking = served.asks();
        drop(served.server.take());
        // With an answer or without: a server that hung may give its last one before it goes.
        asking.wait().unwrap();
        let mounts = fs::read_to_string("/proc/mounts").unwrap();
        let dir = served.dir.path().to_str().unwrap();
        assert!(!mounts.contains(dir), "{mounts}");
    }
}
