//! Whether a file is still what it was.

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, Mutex};

use nix::sys::statfs::{FsType, statfs};

use super::{Why, is_short, too_late};
use crate::aside::{self, NoThread, lock};
use crate::deadline::Deadline;
use crate::identity::{Identity, identity};

/// File systems that answer without another host or a process, as statfs(2)
/// numbers them: ext2 to ext4, XFS, Btrfs, tmpfs, overlay, ZFS, F2FS, squashfs,
/// EROFS.
const LOCAL: [u32; 9] = [
    0xEF53,
    0x5846_5342,
    0x9123_683E,
    0x0102_1994,
    0x794C_7630,
    0x2FC1_2FC1,
    0xF2F5_2010,
    0x7371_7368,
    0xE0F5_E1E2,
];
const HANGS: &str = "condor_config_val, or a file that `condor_config_val -config` lists, is \
                     on a file system that does not answer; check the mounts";

/// A path and what stat(2) said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Watched {
    pub(super) path: String,
    /// None if it is not there.
    pub(super) seen: Option<Identity>,
    /// Whether its file system may not answer.
    pub(super) remote: bool,
}

fn is_remote(path: &str) -> bool {
    // What is not there would be where its directory is.
    let place = Path::new(path)
        .ancestors()
        .find_map(|place| statfs(place).ok());
    let kind = place.map(|place| place.filesystem_type());
    !LOCAL
        .iter()
        .any(|local| kind == Some(FsType((*local).into())))
}

/// Looks at each path; fails if a file system does not answer by the deadline.
pub(super) fn look_at(paths: &[String], deadline: Deadline) -> Result<Vec<Watched>, Why> {
    let look = |path: &str| Watched {
        path: path.to_owned(),
        seen: identity(Path::new(path)),
        remote: is_remote(path),
    };
    look_aside(paths.to_vec(), look, deadline)
}

/// Whether all that is watched is what it was. `remote` tells whether any of it
/// may not answer; fails if it does not by the deadline.
pub(super) fn is_unchanged(
    watched: &[Watched],
    remote: bool,
    deadline: Deadline,
) -> Result<bool, Why> {
    if !remote {
        return Ok(watched
            .iter()
            .all(|one| identity(Path::new(&one.path)) == one.seen));
    }
    let paths = watched.iter().map(|one| one.path.clone());
    // Where it is costs another call, and does not change.
    let look = |path: &str| Watched {
        path: path.to_owned(),
        seen: identity(Path::new(path)),
        remote: true,
    };
    let now = look_aside(paths.collect(), look, deadline)?;
    let mut both = now.iter().zip(watched);
    Ok(both.all(|(now, before)| now.seen == before.seen))
}

fn exists(path: &Path) -> bool {
    let looked = std::fs::symlink_metadata(path);
    !looked.is_err_and(|e| e.kind() == ErrorKind::NotFound)
}

/// Whether a program is there; fails if its file system does not answer by the
/// deadline. What can not be looked at is there.
pub(super) fn is_there(program: &Path, deadline: Deadline) -> Result<bool, Why> {
    // This host runs from there, this process too.
    if program.parent() == Some(Path::new("/usr/bin")) {
        return Ok(exists(program));
    }
    let look = |path: &str| Watched {
        path: String::new(),
        seen: exists(Path::new(path)).then_some([0; 7]),
        remote: true,
    };
    let paths = program.to_str().map(str::to_owned).into_iter().collect();
    let seen = look_aside(paths, look, deadline)?;
    Ok(seen.iter().all(|one| one.seen.is_some()))
}

/// Whether each of the later ones was there before and was the same.
pub(super) fn holds(after: &[Watched], before: &[Watched]) -> bool {
    after.iter().all(|after| before.contains(after))
}

/// Looks at paths that may hang on a thread of its own and waits for it until the
/// deadline; the thread is then left to the kernel.
fn look_aside(
    paths: Vec<String>,
    look: fn(&str) -> Watched,
    deadline: Deadline,
) -> Result<Vec<Watched>, Why> {
    let in_time = !is_short(deadline);
    if deadline.passed() {
        return Err(too_late());
    }
    let slot = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&slot);
    let job = move || {
        let seen: Vec<Watched> = paths.iter().map(|path| look(path)).collect();
        // The caller may have stopped waiting.
        *lock(&answer) = Some(seen);
    };
    let no_thread = |NoThread { source, .. }| {
        Why::Unasked(format!(
            "HTCondor's files can not be looked at without a thread, and none could be started: \
             {source}; check the limits of this process"
        ))
    };
    let is_over = aside::run(Box::new(job), deadline, &mut || ()).map_err(no_thread)?;
    let seen = lock(&slot).take().filter(|_| is_over);
    match seen {
        Some(seen) => Ok(seen),
        None if in_time => Err(Why::Broken(HANGS.to_owned())),
        None => Err(too_late()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::discovery::FAIR;
    use std::time::{Duration, Instant};

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[test]
    fn what_changes_is_seen_and_what_does_not_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
        std::fs::write(path("a"), "1").unwrap();
        let paths = [path("a"), path("missing"), path("")];
        let first = look_at(&paths, soon()).unwrap();
        assert!(first[1].seen.is_none() && first[0].seen.is_some());
        for remote in [false, true] {
            assert!(is_unchanged(&first, remote, soon()).unwrap());
        }
        // The same size and time of change, in another file.
        let time = std::fs::metadata(path("a")).unwrap().modified().unwrap();
        std::fs::write(path("b"), "2").unwrap();
        std::fs::File::open(path("b"))
            .unwrap()
            .set_modified(time)
            .unwrap();
        std::fs::rename(path("b"), path("a")).unwrap();
        assert!(!is_unchanged(&first[..1], false, soon()).unwrap());
        assert!(is_unchanged(&first[1..2], false, soon()).unwrap());
        assert!(
            !is_unchanged(&first[2..], true, soon()).unwrap(),
            "the directory"
        );
        let second = look_at(&paths, soon()).unwrap();
        assert!(holds(&second[1..2], &first) && !holds(&second, &first));
    }

    #[test]
    fn what_hangs_is_left_at_the_deadline() {
        let look = |path: &str| {
            std::thread::sleep(Duration::from_secs(60));
            Watched {
                path: path.to_owned(),
                seen: None,
                remote: true,
            }
        };
        for (time, says) in [
            (Duration::ZERO, "too little time"),
            (Duration::from_millis(50), "too little time"),
            (FAIR + Duration::from_millis(250), "does not answer"),
        ] {
            let is_left = || {
                let started = Instant::now();
                let why = look_aside(vec!["/".into()], look, Deadline::after(time)).unwrap_err();
                let is_said = why.to_string().contains(says);
                // What held up the call may have left it too little.
                assert!(is_said || time > FAIR && why == too_late(), "{why}");
                is_said && started.elapsed() < Duration::from_secs(1)
            };
            // Others may hold up one of three.
            assert!((0..3).any(|_| is_left()), "{says}");
        }
    }

    #[test]
    fn a_program_is_looked_for_wherever_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let missing = dir.path().join("tool");
        for (program, is) in [
            (Path::new("/usr/bin/env"), true),
            (Path::new("/usr/bin/no-such-program"), false),
            (dir.path(), true),
            (&missing, false),
        ] {
            assert_eq!(is_there(program, soon()), Ok(is), "{program:?}");
        }
        let late = Deadline::after(Duration::ZERO);
        assert!(is_there(Path::new("/usr/bin/env"), late).unwrap());
        assert_eq!(is_there(&missing, late), Err(too_late()));
    }

    #[test]
    fn proc_is_a_file_system_that_is_not_trusted_to_answer() {
        assert!(is_remote("/proc/self/no-such-file"));
        let dir = tempfile::tempdir().unwrap();
        assert!(!is_remote(dir.path().to_str().unwrap()));
    }
}
