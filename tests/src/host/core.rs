//! A core of a process that goes on: every mapping, also those that a core of the kernel's would leave
//! out, and the registers of every thread.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::process::Command;

use crate::command::run;

/// The core of a process, made by gdb, as a file of this directory that goes at once.
#[track_caller]
pub fn of(pid: u32, directory: &Path) -> Vec<u8> {
    let file = directory.join(format!("core-{pid}"));
    let write = format!("gcore {}", file.display());
    let answer = run(Command::new("gdb")
        .args(["-nx", "-batch", "-iex", "set auto-solib-add off"])
        .args(["-iex", "set debuginfod enabled off"])
        .args(["-ex", "set use-coredump-filter off"])
        .args(["-ex", "set dump-excluded-mappings on"])
        .args(["-ex", &write])
        .args(["-p", &pid.to_string()]));
    let core = fs::read(&file).unwrap_or_else(|error| panic!("{error}: {}", answer.all()));
    fs::remove_file(file).unwrap();
    assert!(core.starts_with(b"\x7fELF"), "{}", answer.all());
    core
}

/// All that a process has in its memory, also while it waits for a file system and stops for nobody.
pub fn memory_of(pid: u32) -> Vec<u8> {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap();
    let memory = File::open(format!("/proc/{pid}/mem")).unwrap();
    let mut all = Vec::new();
    for line in maps.lines() {
        let range = line.split(' ').next().unwrap().split_once('-').unwrap();
        let number = |text| u64::from_str_radix(text, 16).unwrap();
        let (from, to) = (number(range.0), number(range.1));
        let mut part = vec![0; usize::try_from(to - from).unwrap()];
        // What the kernel keeps to itself ([vvar]) and what nobody may read is not there.
        if memory.read_exact_at(&mut part, from).is_ok() {
            all.extend(part);
        }
    }
    assert!(all.len() > 1 << 20, "{pid} has no memory");
    all
}
