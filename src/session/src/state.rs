//! The state directory: `<state_dir>/sessions/<uid>/` holds the records of a
//! user's sessions, root's alone.
//!
//! One directory per user, so that what a login costs does not grow with the
//! sessions of others. A record is locked by flock(2) on its file; it is
//! replaced by rename, so whoever waited for the lock of a file that is no
//! longer linked looks again.

use std::fs::{File, TryLockError};
use std::io::{Read, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::dir::Dir;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat, mkdirat};
use nix::unistd::{AccessFlags, UnlinkatFlags, access, unlinkat};

use crate::deadline::Deadline;
use crate::error::{Error, Result, refuse_unsafe};
use crate::record::{Record, RecordName};

/// Larger than any record: a user in 65,536 groups fits.
const RECORD_LIMIT: u64 = 1024 * 1024;
/// How often a lock that is taken is asked for again.
const LOCK_PAUSE: Duration = Duration::from_millis(2);
const SESSIONS: &str = "sessions";
const PRIVATE_DIR: Mode = Mode::S_IRWXU;
const PRIVATE_FILE: Mode = Mode::S_IRUSR.union(Mode::S_IWUSR);
const REMEDY: &str = "check the file system that state_dir is on";

/// The records of one user's sessions.
#[derive(Debug)]
pub struct Sessions {
    dir: OwnedFd,
    path: PathBuf,
}

impl Sessions {
    /// The directory of a user's records, made if it is missing.
    ///
    /// Each directory on the way from `state_dir` has to be owned by root (or
    /// by `euid`) and must not let others write; the inner two let nobody in.
    pub fn of(state_dir: &Path, uid: u32, euid: u32) -> Result<Self> {
        let top = match open(state_dir, dir_flags(), Mode::empty()) {
            Err(Errno::ENOENT) => {
                make_dir(AT_FDCWD, state_dir, state_dir)?;
                open(state_dir, dir_flags(), Mode::empty())
            }
            other => other,
        }
        .map_err(|e| Error::io("open the state directory", state_dir, e).with_remedy(REMEDY))?;
        check_dir(&top, state_dir, euid, 0o022)?;
        let sessions = enter(&top, SESSIONS, &state_dir.join(SESSIONS), euid)?;
        let path = state_dir.join(SESSIONS).join(uid.to_string());
        let dir = enter(&sessions, &uid.to_string(), &path, euid)?;
        Ok(Self { dir, path })
    }

    /// The same, without making anything: none if the user has no directory.
    pub fn existing(state_dir: &Path, uid: u32, euid: u32) -> Result<Option<Self>> {
        let path = state_dir.join(SESSIONS).join(uid.to_string());
        match open(&path, dir_flags() | OFlag::O_NOFOLLOW, Mode::empty()) {
            Ok(dir) => {
                check_dir(&dir, &path, euid, 0o077)?;
                Ok(Some(Self { dir, path }))
            }
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open the records in", path, errno)),
        }
    }

    /// The uids that have a directory of records.
    pub fn uids(state_dir: &Path) -> Result<Vec<u32>> {
        let path = state_dir.join(SESSIONS);
        match open(&path, dir_flags(), Mode::empty()) {
            Ok(dir) => Ok(entries(&dir, &path)?
                .iter()
                .filter_map(|name| name.parse().ok())
                .collect()),
            Err(Errno::ENOENT) => Ok(Vec::new()),
            Err(errno) => Err(Error::io("open the records in", path, errno)),
        }
    }

    /// The names of the records.
    pub fn names(&self) -> Result<Vec<RecordName>> {
        Ok(entries(&self.dir, &self.path)?
            .iter()
            .filter_map(|name| name.parse().ok())
            .collect())
    }

    /// The path of a record.
    pub fn path_of(&self, name: &RecordName) -> PathBuf {
        self.path.join(name.to_string())
    }

    /// Reads a record without its lock: none if it is gone.
    pub fn read(&self, name: &RecordName) -> Result<Option<Record>> {
        match self.open(name) {
            Ok(file) => read_record(&file, &self.path_of(name)).map(Some),
            Err(Errno::ENOENT) => Ok(None),
            Err(errno) => Err(Error::io("open the record", self.path_of(name), errno)),
        }
    }

    /// Writes a new record; its lock is held before anybody can see it.
    pub fn create(&self, record: &Record) -> Result<Locked<'_>> {
        let name = record.name();
        let file = self.put(&name, record)?;
        Ok(Locked {
            sessions: self,
            name,
            file,
        })
    }

    /// Takes the lock of a record: none if the record is gone.
    ///
    /// Fails with [`Error::Locked`] when the deadline passes first.
    pub fn lock(&self, name: &RecordName, deadline: Deadline) -> Result<Option<Locked<'_>>> {
        loop {
            let failed = |e: Errno| Error::io("lock the record", self.path_of(name), e);
            let file = match self.open(name) {
                Ok(file) => file,
                Err(Errno::ENOENT) => return Ok(None),
                Err(errno) => return Err(failed(errno)),
            };
            match file.try_lock() {
                Ok(()) if is_linked(&file).map_err(failed)? => {
                    return Ok(Some(Locked {
                        sessions: self,
                        name: name.clone(),
                        file,
                    }));
                }
                // Replaced or removed before the lock was ours.
                Ok(()) => {}
                Err(TryLockError::WouldBlock) if !deadline.passed() => {
                    std::thread::sleep(LOCK_PAUSE);
                }
                Err(TryLockError::WouldBlock) => {
                    return Err(Error::Locked {
                        path: self.path_of(name),
                        waited: deadline.waited(),
                    });
                }
                Err(TryLockError::Error(source)) => {
                    return Err(Error::io("lock the record", self.path_of(name), source));
                }
            }
        }
    }

    fn open(&self, name: &RecordName) -> nix::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CLOEXEC | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK;
        openat(&self.dir, name.to_string().as_str(), flags, Mode::empty()).map(File::from)
    }

    /// Writes the record beside its place, locks it and moves it there.
    fn put(&self, name: &RecordName, record: &Record) -> Result<File> {
        let path = self.path_of(name);
        let bytes = record.to_bytes().map_err(|why| Error::Damaged {
            path: path.clone(),
            why,
        })?;
        let temporary = format!(".{}.new", record.session);
        let result = self.write_new(&temporary, &bytes).and_then(|file| {
            let to = name.to_string();
            renameat(&self.dir, temporary.as_str(), &self.dir, to.as_str())?;
            Ok(file)
        });
        result.map_err(|source| {
            let _ = unlinkat(&self.dir, temporary.as_str(), UnlinkatFlags::NoRemoveDir);
            Error::io("write the record", path, source).with_remedy(REMEDY)
        })
    }

    fn write_new(&self, temporary: &str, bytes: &[u8]) -> std::io::Result<File> {
        let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
        let open_new = || {
            openat(
                &self.dir,
                temporary,
                flags | OFlag::O_NOFOLLOW,
                PRIVATE_FILE,
            )
        };
        let file = match open_new() {
            // Left by a process that was killed here: a session id is used by one process only.
            Err(Errno::EEXIST) => {
                unlinkat(&self.dir, temporary, UnlinkatFlags::NoRemoveDir)?;
                open_new()
            }
            other => other,
        }?;
        // The host's umask is not ours.
        fchmod(file.as_fd(), PRIVATE_FILE)?;
        let mut file = File::from(file);
        file.try_lock().map_err(std::io::Error::from)?;
        file.write_all(bytes)?;
        Ok(file)
    }
}

/// What [`probe`] found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probe {
    /// The directory is there and a record can be written.
    Ready,
    /// It is not there and can be made.
    Missing,
}

/// Whether records can be written below `state_dir`; makes and leaves nothing.
pub fn probe(state_dir: &Path, euid: u32) -> Result<Probe> {
    let failed = |path: &Path, e| Error::io("write to", path, e).with_remedy(REMEDY);
    let top = match open(state_dir, dir_flags(), Mode::empty()) {
        Ok(top) => top,
        Err(Errno::ENOENT) => {
            let parent = state_dir.parent().unwrap_or(Path::new("/"));
            access(parent, AccessFlags::W_OK).map_err(|e| failed(parent, e))?;
            return Ok(Probe::Missing);
        }
        Err(errno) => return Err(failed(state_dir, errno)),
    };
    check_dir(&top, state_dir, euid, 0o022)?;
    let path = state_dir.join(SESSIONS);
    let inner = match open(&path, dir_flags() | OFlag::O_NOFOLLOW, Mode::empty()) {
        Ok(inner) => {
            check_dir(&inner, &path, euid, 0o077)?;
            inner
        }
        Err(Errno::ENOENT) => top,
        Err(errno) => return Err(failed(&path, errno)),
    };
    // A file without a name: a full or read-only file system says so, and nothing is left.
    let flags = OFlag::O_TMPFILE | OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let file = openat(&inner, ".", flags, PRIVATE_FILE).map_err(|e| failed(state_dir, e))?;
    File::from(file)
        .write_all(&[b' '; 4096])
        .map_err(|e| Error::io("write to", state_dir, e).with_remedy(REMEDY))?;
    Ok(Probe::Ready)
}

/// A record whose lock is held.
#[derive(Debug)]
pub struct Locked<'a> {
    sessions: &'a Sessions,
    name: RecordName,
    file: File,
}

impl Locked<'_> {
    /// Reads the record.
    pub fn read(&self) -> Result<Record> {
        read_record(&self.file, &self.path())
    }

    /// Replaces the record; the lock is held on the new file then.
    pub fn replace(&mut self, record: &Record) -> Result<()> {
        self.file = self.sessions.put(&self.name, record)?;
        Ok(())
    }

    /// Removes the record.
    pub fn remove(self) -> Result<()> {
        let name = self.name.to_string();
        match unlinkat(
            &self.sessions.dir,
            name.as_str(),
            UnlinkatFlags::NoRemoveDir,
        ) {
            Ok(()) | Err(Errno::ENOENT) => Ok(()),
            Err(errno) => {
                Err(Error::io("remove the record", self.path(), errno).with_remedy(REMEDY))
            }
        }
    }

    /// The record's path.
    pub fn path(&self) -> PathBuf {
        self.sessions.path_of(&self.name)
    }
}

impl Drop for Locked<'_> {
    fn drop(&mut self) {
        // A child that the host forked in the meantime shares the lock: closing would leave it held.
        let _ = self.file.unlock();
    }
}

fn dir_flags() -> OFlag {
    OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC
}

fn enter(parent: &OwnedFd, name: &str, path: &Path, euid: u32) -> Result<OwnedFd> {
    let flags = dir_flags() | OFlag::O_NOFOLLOW;
    let dir = match openat(parent, name, flags, Mode::empty()) {
        Err(Errno::ENOENT) => {
            make_dir(parent, Path::new(name), path)?;
            openat(parent, name, flags, Mode::empty())
        }
        other => other,
    }
    .map_err(|e| Error::io("open the state directory", path, e).with_remedy(REMEDY))?;
    check_dir(&dir, path, euid, 0o077)?;
    Ok(dir)
}

fn make_dir(parent: impl AsFd, name: &Path, path: &Path) -> Result<()> {
    match mkdirat(parent.as_fd(), name, PRIVATE_DIR) {
        // The host's umask is not ours.
        Ok(()) => fchmodat(
            parent.as_fd(),
            name,
            PRIVATE_DIR,
            FchmodatFlags::FollowSymlink,
        ),
        // Another login was first.
        Err(Errno::EEXIST) => Ok(()),
        Err(errno) => Err(errno),
    }
    .map_err(|e| Error::io("make the state directory", path, e).with_remedy(REMEDY))
}

fn check_dir(dir: &OwnedFd, path: &Path, euid: u32, forbidden: u32) -> Result<()> {
    let stat = fstat(dir).map_err(|e| Error::io("look at the state directory", path, e))?;
    refuse_unsafe(path, &stat, euid, forbidden)
}

fn entries(dir: &OwnedFd, path: &Path) -> Result<Vec<String>> {
    let failed = |e| Error::io("list the records in", path, e);
    let mut dir = Dir::openat(dir, ".", dir_flags(), Mode::empty()).map_err(failed)?;
    let mut names = Vec::new();
    for entry in dir.iter() {
        let entry = entry.map_err(failed)?;
        if let Ok(name) = entry.file_name().to_str() {
            names.push(name.to_owned());
        }
    }
    Ok(names)
}

fn is_linked(file: &File) -> nix::Result<bool> {
    Ok(fstat(file)?.st_nlink > 0)
}

fn read_record(file: &File, path: &Path) -> Result<Record> {
    let mut bytes = Vec::new();
    let mut reader = file;
    // A record that was just written is read from its start all the same.
    reader
        .rewind()
        .and_then(|()| reader.take(RECORD_LIMIT).read_to_end(&mut bytes))
        .map_err(|e| Error::io("read the record", path, e))?;
    Record::from_bytes(&bytes).map_err(|why| Error::Damaged {
        path: path.to_owned(),
        why,
    })
}

#[cfg(test)]
mod tests {
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
            record.expires = 4242;
            held.replace(&record).unwrap();
            drop(held);
            assert_eq!(waiting.join().unwrap().expires, 4242);
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
}
