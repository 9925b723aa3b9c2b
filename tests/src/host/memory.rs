//! A file system in memory, as /run is one.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{must, run};

/// A tmpfs that goes with this value.
pub struct Memory(PathBuf);

impl Memory {
    /// Mounts one on a directory, which root alone may write to.
    pub fn on(directory: &Path) -> Self {
        std::fs::create_dir_all(directory).unwrap();
        let path = directory.to_str().unwrap();
        must(
            "mount",
            &["-t", "tmpfs", "-o", "mode=0755,size=16m", "tmpfs", path],
        );
        Self(directory.to_owned())
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        let _ = run(Command::new("umount").arg("-l").arg(&self.0));
    }
}
