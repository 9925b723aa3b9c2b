//! Names that lead somewhere else from one system call to the next.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};

use super::{begun, is_over, is_token, say};

/// So many swaps between two looks at whether it is over.
const ROUND: usize = 64;
/// After so many it says how far it is.
const REPORT: usize = 5000;

/// Each for the other, in one step.
fn swap(one: &Path, other: &Path) -> bool {
    renameat2(AT_FDCWD, one, AT_FDCWD, other, RenameFlags::RENAME_EXCHANGE).is_ok()
}

/// Swaps the first path with each of the others in turn.
pub(super) fn exchange(paths: &[PathBuf]) -> usize {
    let (target, others) = paths.split_first().unwrap();
    begun();
    let mut count = Count::default();
    while !is_over(0) {
        for other in others.iter().cycle().take(ROUND) {
            count.add(swap(target, other));
        }
    }
    count.all
}

/// Swaps every token in a directory, finished or not, with each of the decoys in another.
pub(super) fn displace(tokens_d: &Path, decoys: &Path) -> usize {
    let decoys: Vec<PathBuf> = fs::read_dir(decoys)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    begun();
    let mut count = Count::default();
    while !is_over(0) {
        let names = fs::read_dir(tokens_d).into_iter().flatten().flatten();
        let names = names.map(|entry| entry.file_name());
        for name in names.filter(|name| is_token(name.as_bytes())) {
            for decoy in decoys.iter().cycle().take(ROUND) {
                count.add(swap(&tokens_d.join(&name), decoy));
            }
        }
    }
    count.all
}

/// How many swaps there were.
#[derive(Default)]
struct Count {
    all: usize,
}

impl Count {
    fn add(&mut self, was_swapped: bool) {
        self.all += usize::from(was_swapped);
        if was_swapped && self.all.is_multiple_of(REPORT) {
            say(&self.all.to_string());
        }
    }
}
