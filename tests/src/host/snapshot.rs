//! What belongs to a host process, as far as a module could change it.

use std::collections::BTreeMap;
use std::fs;

use serde::{Deserialize, Serialize};

use super::growth::wait_for_joined_threads;

type Map = serde_json::Map<String, serde_json::Value>;

/// Everything at one moment; two of them compare equal if nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Uid, Gid, Groups, Umask, Threads, capabilities and signals of /proc/self/status.
    pub status: BTreeMap<String, String>,
    /// Where each descriptor leads.
    pub descriptors: BTreeMap<u32, String>,
    /// The working directory.
    pub cwd: String,
    /// The environment of the process.
    pub environment: BTreeMap<String, String>,
    /// The locale.
    pub locale: String,
    /// Resource limits.
    pub limits: String,
    /// Whether the process may dump core.
    pub dumpable: bool,
    /// What is done at each signal, by sigaction(2): handler and flags.
    pub actions: Vec<(usize, i32)>,
}

const STATUS: [&str; 15] = [
    "Uid",
    "Gid",
    "Groups",
    "Umask",
    "Threads",
    "SigBlk",
    "SigIgn",
    "SigCgt",
    "CapInh",
    "CapPrm",
    "CapEff",
    "CapBnd",
    "CapAmb",
    "NoNewPrivs",
    "Seccomp",
];

impl Snapshot {
    /// Of the calling process.
    pub fn take() -> Self {
        wait_for_joined_threads();
        let status = fs::read_to_string("/proc/self/status").unwrap();
        let status = status
            .lines()
            .filter_map(|line| line.split_once(':'))
            .filter(|(key, _)| STATUS.contains(key))
            .map(|(key, value)| (key.to_owned(), without_libc(key, value.trim())))
            .collect();
        Self {
            status,
            descriptors: descriptors(),
            cwd: fs::read_link("/proc/self/cwd")
                .unwrap()
                .display()
                .to_string(),
            environment: std::env::vars().collect(),
            locale: locale(),
            limits: fs::read_to_string("/proc/self/limits").unwrap(),
            dumpable: nix::sys::prctl::get_dumpable().unwrap(),
            actions: (1..=64).map(action).collect(),
        }
    }

    /// What is not the same in another one.
    pub fn differences(&self, other: &Self) -> Vec<String> {
        let [before, after] = [self, other].map(|snapshot| {
            let value = serde_json::to_value(snapshot).unwrap();
            value.as_object().unwrap().clone()
        });
        let changed = before.iter().filter(|(key, value)| after[*key] != **value);
        let told = changed.map(
            |(key, value)| match (value.as_object(), after[key].as_object()) {
                (Some(before), Some(after)) => {
                    let of = |one: &Map, other: &Map| {
                        let only = one
                            .iter()
                            .filter(|(key, value)| other.get(*key) != Some(value));
                        let told = only.map(|(key, value)| format!("{key}: {value}"));
                        told.collect::<Vec<_>>().join(", ")
                    };
                    let (gone, new) = (of(before, after), of(after, before));
                    format!("{key}: {{{gone}}} became {{{new}}}")
                }
                _ => format!("{key}: {value} became {}", after[key]),
            },
        );
        told.collect()
    }
}

/// glibc handles signals 32 and 33, which are its own, from a process's first thread on;
/// nobody else can (nptl(7)).
fn without_libc(key: &str, value: &str) -> String {
    match (key, u64::from_str_radix(value, 16)) {
        ("SigCgt", Ok(signals)) => format!("{:016x}", signals & !(0b11 << 31)),
        _ => value.to_owned(),
    }
}

fn descriptors() -> BTreeMap<u32, String> {
    let entries = fs::read_dir("/proc/self/fd").unwrap();
    entries
        .filter_map(|entry| {
            let entry = entry.unwrap();
            let number = entry.file_name().to_str()?.parse().ok()?;
            let target = fs::read_link(entry.path()).ok()?.display().to_string();
            // The descriptor by which this very directory is read.
            (!target.ends_with("/fd")).then_some((number, target))
        })
        .collect()
}

fn locale() -> String {
    // SAFETY: a null pointer asks and changes nothing; the answer is a C string of the C library.
    unsafe {
        let name = libc::setlocale(libc::LC_ALL, std::ptr::null());
        std::ffi::CStr::from_ptr(name)
            .to_string_lossy()
            .into_owned()
    }
}

fn action(signal: i32) -> (usize, i32) {
    // SAFETY: a null action only asks; the structure that is written to is ours.
    unsafe {
        let mut action: libc::sigaction = std::mem::zeroed();
        libc::sigaction(signal, std::ptr::null(), &raw mut action);
        (action.sa_sigaction, action.sa_flags)
    }
}
