//! The system calls of a session (docs/SYSTEM-CALLS.md) and nothing around them: no configuration that
//! is parsed, no token that is signed, no JSON, nothing that is checked. What is left of the module's
//! time is its own.
//!
//! They are made on files of the benchmark's, on the file systems of the module's own.

mod steps;

use std::ffi::CString;
use std::fs::{self, File};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use nix::fcntl::{OFlag, open, openat, renameat};
use nix::sys::signal::{SigSet, SigmaskHow};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, socket};
use nix::sys::stat::{Mode, fchmod, fstat, stat};
use nix::unistd::{User, geteuid, gethostname, getpid};

use super::rows::Times;
use steps::{become_user, entered, list, put_record, random, read, read_once, say, unlink};

const RECORD: &str = "0123456789abcdef-12345-1234567-979fcc25-1b38-469b-b331-885d86428b00";
const TOKEN: &str = "0-session-e7147e3e6459402e-host-0123456789abcdef";
const DIR: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_DIRECTORY)
    .union(OFlag::O_CLOEXEC);
const NEW: OFlag = OFlag::O_RDWR
    .union(OFlag::O_CREAT)
    .union(OFlag::O_EXCL)
    .union(OFlag::O_CLOEXEC);
const FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);

/// Where they are made, and as whom.
pub struct Bare {
    top: PathBuf,
    name: CString,
    user: User,
    /// HTCondor's files, of which each is looked at whether it changed.
    watched: Vec<PathBuf>,
}

/// Log and audit, for what is said next.
struct Ready {
    log: OwnedFd,
    audit: File,
}

impl Bare {
    /// Below `top`, which is root's and is made anew, and in the home of a user.
    pub fn new(top: &Path, user: &str) -> Self {
        let _ = fs::remove_dir_all(top);
        fs::create_dir_all(top.join("sessions/1")).unwrap();
        let user = User::from_name(user).unwrap().unwrap();
        // As long as they are.
        for (file, len) in [("config", 400), ("key", 256), ("kept", 600)] {
            fs::write(top.join(file), vec![b'x'; len]).unwrap();
        }
        fs::write(top.join("audit"), "\n").unwrap();
        Self {
            top: top.to_owned(),
            watched: watched(),
            name: CString::new(user.name.as_str()).unwrap(),
            user,
        }
    }

    /// The calls of one session.
    pub fn session(&self) -> Times {
        let start = Instant::now();
        self.open();
        let open = start.elapsed();
        let start = Instant::now();
        self.close();
        Times {
            open,
            close: start.elapsed(),
            around: Duration::ZERO,
        }
    }

    fn open(&self) {
        geteuid();
        read(&self.top.join("config"));
        self.look_up();
        getpid();
        read_once(Path::new(&format!("/proc/{}/stat", std::process::id())));
        read_once(Path::new("/proc/sys/kernel/random/boot_id"));
        let _ = gethostname();
        geteuid();
        read(&self.top.join("kept"));
        for path in &self.watched {
            let _ = fs::metadata(path);
        }
        random();
        let _ = fs::metadata(self.top.join("reconciled"));
        read(&self.top.join("key"));
        random();
        let top = entered(open(&self.top, DIR, Mode::empty()).unwrap());
        let sessions = entered(openat(&top, "sessions", DIR, Mode::empty()).unwrap());
        let records = entered(openat(&sessions, "1", DIR, Mode::empty()).unwrap());
        drop((sessions, top));
        list(openat(&records, ".", DIR, Mode::empty()).unwrap());
        let (mut record, mut ready) = (None, None);
        self.as_the_user(
            || {
                record = Some(put_record(&records));
                ready = Some(self.make_ready());
            },
            |home| {
                let dir = open(&home.join(".condor/tokens.d"), DIR, Mode::empty()).unwrap();
                let dir = list(dir);
                let temporary = format!(".{TOKEN}");
                let mut file = File::from(openat(&dir, temporary.as_str(), NEW, FILE).unwrap());
                fchmod(&file, FILE).unwrap();
                file.write_all(&[b'x'; 300]).unwrap();
                drop(file);
                renameat(&dir, temporary.as_str(), &dir, TOKEN).unwrap();
                entered(open(home, DIR, Mode::empty()).unwrap());
            },
        );
        say(ready.unwrap());
        record.unwrap().unlock().unwrap();
    }

    fn close(&self) {
        geteuid();
        let _ = gethostname();
        geteuid();
        let records = open(&self.top.join("sessions/1"), DIR, Mode::empty()).unwrap();
        let records = entered(records);
        let name = format!("{RECORD}.json");
        let record = openat(
            &records,
            name.as_str(),
            OFlag::O_RDWR | OFlag::O_CLOEXEC,
            FILE,
        );
        let mut record = File::from(record.unwrap());
        record.try_lock().unwrap();
        fstat(&record).unwrap();
        record.rewind().unwrap();
        let mut text = [0; 2048];
        while record.read(&mut text).unwrap() > 0 {}
        let _ = stat(&self.top.join("sessions/1/strayed"));
        let mut ready = None;
        self.as_the_user(
            || ready = Some(self.make_ready()),
            |home| {
                let dir = open(&home.join(".condor/tokens.d"), DIR, Mode::empty()).unwrap();
                unlink(&dir, &format!(".{TOKEN}"));
                unlink(&dir, TOKEN);
            },
        );
        say(ready.unwrap());
        for sign in ["pending", "strayed", "new", "ended", "json"] {
            unlink(&records, &format!("{RECORD}.{sign}"));
        }
        record.unlock().unwrap();
    }

    /// What the name service takes is not the module's.
    fn look_up(&self) {
        User::from_name(&self.user.name).unwrap().unwrap();
        let (mut groups, mut count) = ([0; 64], 64);
        let gid = self.user.gid.as_raw();
        // SAFETY: a live string, and a live array of as many gids as `count` says.
        unsafe { libc::getgrouplist(self.name.as_ptr(), gid, groups.as_mut_ptr(), &raw mut count) };
    }

    fn make_ready(&self) -> Ready {
        let _ = fs::read_link("/proc/self/exe");
        let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
        let log = socket(AddressFamily::Unix, SockType::Datagram, flags, None).unwrap();
        // A host without a log daemon has nothing to wait for.
        let _ = connect(log.as_raw_fd(), &UnixAddr::new("/dev/log").unwrap());
        let audit = File::options()
            .read(true)
            .append(true)
            .mode(0o600)
            .open(self.top.join("audit"));
        let audit = audit.unwrap();
        fstat(&audit).unwrap();
        Ready { log, audit }
    }

    /// Both sides at once, as the module has them.
    fn as_the_user(&self, meanwhile: impl FnOnce(), work: impl FnOnce(&Path) + Send) {
        // SAFETY: asks for a plain number.
        let dumpable = unsafe { libc::prctl(libc::PR_GET_DUMPABLE) };
        let before = SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .unwrap();
        let (uid, gid) = (self.user.uid.as_raw(), self.user.gid.as_raw());
        std::thread::scope(|scope| {
            let home = &self.user.dir;
            let thread = std::thread::Builder::new().stack_size(256 * 1024);
            let thread = thread
                .spawn_scoped(scope, move || {
                    become_user(uid, gid);
                    work(home);
                })
                .unwrap();
            before.thread_set_mask().unwrap();
            meanwhile();
            thread.join().unwrap();
        });
        // SAFETY: plain numbers; what was is what is to be.
        unsafe {
            libc::prctl(libc::PR_GET_DUMPABLE);
            libc::prctl(libc::PR_SET_DUMPABLE, dumpable, 0, 0, 0);
        }
    }
}

/// What the answer that HTCondor gave depends on: a file that is kept for logins says so.
fn watched() -> Vec<PathBuf> {
    let entries = fs::read_dir("/run/pam_idtoken").into_iter().flatten();
    let kept = entries.filter_map(|entry| fs::read_to_string(entry.unwrap().path()).ok());
    let lines = kept.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    let paths = lines.filter_map(|line| line.strip_prefix("local ").map(PathBuf::from));
    paths.collect()
}

impl Drop for Bare {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.top);
    }
}
