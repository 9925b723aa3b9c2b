//! The audit file: who held which token when, `<state_dir>/audit.jsonl`.
//!
//! One JSON object a line for each opening, renewal and end of a session, only
//! ever appended to, root's alone. It holds the ids of tokens, never a token.
//! Reconcile moves a file that has grown large to `audit-<seconds>.jsonl` and
//! removes those that are older than `audit_keep`.

mod pen;

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::unlink;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::name::SessionId;
use crate::record::{Minted, Record, TokenFile};

pub use pen::Pen;

const CURRENT: &str = "audit.jsonl";
const REMEDY: &str = "check the file system that state_dir is on";
/// A file larger than this is put away by reconcile: some 20,000 sessions.
pub const ROTATE_AT: u64 = 16 * 1024 * 1024;

/// How many files that were put away are kept, whatever their age: with the
/// current one about a gigabyte.
const FILES: usize = 64;

/// What happened to a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Event {
    /// It was given its first tokens.
    Opened,
    /// Its home did not answer: its first tokens may be there or not.
    Pending,
    /// It was given its first tokens late, because its home had not answered.
    Delayed,
    /// It was given new ones in their place, or was about to be when the process ended.
    Renewed,
    /// It was closed and keeps its tokens while its processes live.
    Lingers,
    /// Its user took the tokens away.
    Removed,
    /// No table of the configuration makes these tokens any more; they were removed.
    Dropped,
    /// Its tokens were removed because it closed.
    Closed,
    /// Its tokens were removed because it had ended without a close.
    Ended,
    /// Its tokens were removed because the last of its processes ended.
    Finished,
    /// Its tokens were removed by an administrator.
    Revoked,
    /// No session: an administrator had tokens made to see whether the pool accepts them. They
    /// were there while the pool was asked.
    Checked,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Seconds since 1970 UTC.
    pub time: u64,
    /// What happened.
    pub event: Event,
    /// The session.
    pub session: SessionId,
    /// The user.
    pub user: String,
    /// Their uid.
    pub uid: u32,
    /// The PAM service.
    pub service: String,
    /// `PAM_RHOST`.
    pub rhost: Option<String>,
    /// The methods of SSH by which the user proved who they are.
    pub auth: Vec<String>,
    /// When the session opened, as seconds since 1970 UTC.
    pub opened: u64,
    /// The tokens that it is about.
    pub tokens: Vec<Minted>,
}

impl Entry {
    /// What there is to say about some of a session's token files at `time`, in seconds
    /// since 1970 UTC.
    pub fn new(event: Event, record: &Record, files: &[TokenFile], time: u64) -> Self {
        Self {
            time,
            event,
            session: record.session,
            user: record.user.name.clone(),
            uid: record.user.uid,
            service: record.login.service.clone(),
            rhost: record.login.rhost.clone(),
            auth: record.login.auth.clone(),
            opened: record.opened,
            tokens: files.iter().flat_map(|file| file.tokens.clone()).collect(),
        }
    }
}

/// What the audit files say.
#[derive(Debug, Default)]
pub struct Read {
    /// The lines, oldest file first.
    pub entries: Vec<Entry>,
    /// Lines and files that could not be read.
    pub errors: Vec<Error>,
}

/// Reads all audit files; what can not be read does not hide the rest.
pub fn read(state_dir: &Path) -> Result<Read> {
    let mut read = Read::default();
    // First: reconcile may put it away while the others are read, and then it may be none of those
    // that were listed.
    let path = state_dir.join(CURRENT);
    let current = open(&path, &mut read);
    let mut files = rotated(state_dir)?;
    files.sort();
    for (_, path) in files {
        if let Some((file, id)) = open(&path, &mut read)
            && current.as_ref().is_none_or(|(_, current)| *current != id)
        {
            read_file(file, &path, &mut read);
        }
    }
    if let Some((file, _)) = current {
        read_file(file, &path, &mut read);
    }
    Ok(read)
}

/// A file if it is there, with its device and inode.
fn open(path: &Path, read: &mut Read) -> Option<(File, (u64, u64))> {
    let opened = File::open(path).and_then(|file| {
        let meta = file.metadata()?;
        Ok((file, (meta.dev(), meta.ino())))
    });
    match opened {
        Ok(opened) => return Some(opened),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
        Err(e) => read.errors.push(Error::io("open", path, e)),
    }
    None
}

fn read_file(file: File, path: &Path, read: &mut Read) {
    for (number, line) in BufReader::new(file).split(b'\n').enumerate() {
        let line = match line {
            Ok(line) => line,
            Err(error) => return read.errors.push(Error::io("read", path, error)),
        };
        if line.is_empty() {
            continue;
        }
        match serde_json::from_slice(&line) {
            Ok(entry) => read.entries.push(entry),
            Err(error) => read.errors.push(Error::Config(format!(
                "{} line {} can not be read and is left out: {error}",
                path.display(),
                number + 1
            ))),
        }
    }
}

/// Puts a large file away and removes those that ended more than `keep` seconds ago.
pub fn rotate(state_dir: &Path, now: u64, keep: u64, at: u64) -> Result<()> {
    let path = state_dir.join(CURRENT);
    let size = std::fs::symlink_metadata(&path).map_or(0, |meta| meta.len());
    if size > at {
        let to = state_dir.join(format!("audit-{now}.jsonl"));
        // Never over another: somebody may have been first within this second.
        match renameat2(
            AT_FDCWD,
            &path,
            AT_FDCWD,
            &to,
            RenameFlags::RENAME_NOREPLACE,
        ) {
            Ok(()) | Err(Errno::ENOENT | Errno::EEXIST) => {}
            Err(errno) => return Err(Error::io("put away", path, errno).with_remedy(REMEDY)),
        }
    }
    let mut files = rotated(state_dir)?;
    files.sort();
    let too_many = files.len().saturating_sub(FILES);
    for (number, (ended, path)) in files.into_iter().enumerate() {
        if number < too_many || ended.saturating_add(keep) < now {
            match unlink(&path) {
                // Another reconcile may have been first.
                Ok(()) | Err(Errno::ENOENT) => {}
                Err(errno) => return Err(Error::io("remove", path, errno).with_remedy(REMEDY)),
            }
        }
    }
    Ok(())
}

/// The files that were put away, each with the second in which that was.
fn rotated(state_dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let entries = match std::fs::read_dir(state_dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(Error::io("list", state_dir, e)),
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|e| Error::io("list", state_dir, e))?;
        let name = entry.file_name();
        let ended = name
            .to_str()
            .and_then(|name| name.strip_prefix("audit-")?.strip_suffix(".jsonl"))
            .and_then(|seconds| seconds.parse().ok());
        found.extend(ended.map(|ended| (ended, entry.path())));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::holder::Holder;
    use crate::log::Kept;
    use crate::record::tests::{alice, sample};
    use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};

    fn record() -> Record {
        let holder = Holder::current().unwrap();
        sample(SessionId::random().unwrap(), alice(), holder)
    }

    fn euid() -> u32 {
        nix::unistd::geteuid().as_raw()
    }

    fn note(dir: &Path, event: Event, record: &Record, time: u64, log: &Kept) {
        let entry = Entry::new(event, record, &record.files, time);
        Pen::new(dir, euid()).note(&entry, log);
    }

    #[test]
    fn what_is_noted_is_read_and_only_root_can() {
        let dir = tempfile::tempdir().unwrap();
        let log = Kept::default();
        let record = record();
        note(dir.path(), Event::Opened, &record, 7, &log);
        note(dir.path(), Event::Closed, &record, 9, &log);
        let read = read(dir.path()).unwrap();
        assert!(read.errors.is_empty() && log.lines().is_empty());
        let seen: Vec<_> = read.entries.iter().map(|e| (e.time, e.event)).collect();
        assert_eq!(seen, [(7, Event::Opened), (9, Event::Closed)]);
        assert_eq!(read.entries[0].tokens, record.files[0].tokens);
        let mode = std::fs::metadata(dir.path().join(CURRENT)).unwrap();
        assert_eq!(mode.permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_torn_line_is_named_and_hides_no_other() {
        let dir = tempfile::tempdir().unwrap();
        let log = Kept::default();
        std::fs::write(dir.path().join(CURRENT), "{\"time\":1,").unwrap();
        std::fs::set_permissions(
            dir.path().join(CURRENT),
            std::fs::Permissions::from_mode(0o600),
        )
        .unwrap();
        for time in [7, 8] {
            note(dir.path(), Event::Opened, &record(), time, &log);
        }
        let read = read(dir.path()).unwrap();
        assert_eq!((read.entries.len(), read.errors.len()), (2, 1));
        assert!(read.errors[0].to_string().contains("audit.jsonl line 1"));
    }

    #[test]
    fn a_pen_that_was_made_ready_writes_as_any_other() {
        let dir = tempfile::tempdir().unwrap();
        let (log, pen) = (Kept::default(), Pen::new(dir.path(), euid()));
        pen.make_ready();
        note(dir.path(), Event::Opened, &record(), 7, &log);
        for time in [8, 9] {
            let record = record();
            pen.note(&Entry::new(Event::Closed, &record, &[], time), &log);
        }
        let read = read(dir.path()).unwrap();
        let times: Vec<u64> = read.entries.iter().map(|entry| entry.time).collect();
        assert_eq!((times, read.errors.len()), (vec![7, 8, 9], 0));
        assert_eq!(log.lines(), [""; 0]);
    }

    #[test]
    fn a_file_that_others_could_write_and_a_link_are_refused_and_stop_nobody() {
        let dir = tempfile::tempdir().unwrap();
        let log = Kept::default();
        let path = dir.path().join(CURRENT);
        std::fs::write(&path, "").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        note(dir.path(), Event::Opened, &record(), 7, &log);
        assert!(log.lines()[0].contains("chmod"), "{:?}", log.lines());
        std::fs::remove_file(&path).unwrap();
        symlink(dir.path().join("elsewhere"), &path).unwrap();
        note(dir.path(), Event::Opened, &record(), 7, &log);
        assert_eq!(log.lines().len(), 2);
        assert!(!dir.path().join("elsewhere").exists());
    }

    #[test]
    fn a_large_file_is_put_away_and_an_old_one_removed() {
        let dir = tempfile::tempdir().unwrap();
        let log = Kept::default();
        for time in [100, 200] {
            note(dir.path(), Event::Opened, &record(), time, &log);
            rotate(dir.path(), time, 1000, 10).unwrap();
        }
        note(dir.path(), Event::Opened, &record(), 300, &log);
        let times = || -> Vec<u64> {
            let read = read(dir.path()).unwrap();
            read.entries.iter().map(|entry| entry.time).collect()
        };
        assert_eq!(times(), [100, 200, 300]);
        // Nobody's file is written over.
        rotate(dir.path(), 200, 1000, 10).unwrap();
        assert_eq!(times(), [100, 200, 300]);
        rotate(dir.path(), 1101, 1000, 1 << 20).unwrap();
        assert_eq!(times(), [200, 300]);
    }

    #[test]
    fn what_is_put_away_while_it_is_read_is_read_all_the_same() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        note(dir, Event::Opened, &record(), 7, &Kept::default());
        let older = dir.join("audit-1.jsonl");
        nix::unistd::mkfifo(&older, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let read = std::thread::scope(|scope| {
            let reading = scope.spawn(|| read(dir).unwrap());
            // A FIFO can be opened so while somebody reads it, who has listed it then.
            let writing = loop {
                let mut options = std::fs::File::options();
                let options = options.write(true).custom_flags(nix::libc::O_NONBLOCK);
                match options.open(&older) {
                    Ok(writing) => break writing,
                    Err(_) => assert!(!reading.is_finished(), "it was not read"),
                }
            };
            rotate(dir, 8, 1000, 0).unwrap();
            drop(writing);
            reading.join().unwrap()
        });
        assert!(dir.join("audit-8.jsonl").exists() && !dir.join(CURRENT).exists());
        let times: Vec<u64> = read.entries.iter().map(|entry| entry.time).collect();
        assert_eq!((times, read.errors.len()), (vec![7], 0));
    }

    #[test]
    fn what_is_put_away_before_the_others_are_listed_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        note(dir, Event::Opened, &record(), 7, &Kept::default());
        // As if it had been moved after it was opened.
        std::fs::hard_link(dir.join(CURRENT), dir.join("audit-8.jsonl")).unwrap();
        let times: Vec<u64> = read(dir).unwrap().entries.iter().map(|e| e.time).collect();
        assert_eq!(times, [7]);
    }

    #[test]
    fn there_is_an_end_to_what_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for second in 0..FILES as u64 + 3 {
            std::fs::write(dir.path().join(format!("audit-{second}.jsonl")), "").unwrap();
        }
        rotate(dir.path(), 100, 1000, 10).unwrap();
        let left: Vec<u64> = rotated(dir.path())
            .unwrap()
            .into_iter()
            .map(|f| f.0)
            .collect();
        assert_eq!((left.len(), left.iter().min()), (FILES, Some(&3)));
    }

    #[test]
    fn without_a_state_directory_there_is_nothing() {
        let read = read(Path::new("/no/such/directory")).unwrap();
        assert!(read.entries.is_empty() && read.errors.is_empty());
    }
}
