//! The first session of a process, which is the only one that sshd's has: the module is loaded
//! for it.

use std::process::Command;
use std::time::{Duration, Instant};

use super::median;
use crate::host::growth::resident;
use crate::host::pam::Transaction;

/// How many processes.
const PROCESSES: usize = 40;

/// What one process measured.
struct First {
    /// pam_start, in which libpam loads the modules.
    start: Duration,
    /// The whole session, from pam_start to pam_end.
    whole: Duration,
    /// What the process then has in memory, in KiB.
    resident: u64,
}

/// Does one session and prints what it took.
pub fn measure(confdir: &str, user: &str, service: &str) {
    // As any host does before it opens a session: the name service is loaded.
    let _ = nix::unistd::User::from_name(user);
    let started = Instant::now();
    let mut pam = Transaction::start(confdir, service, user, Some("192.0.2.7")).unwrap();
    let start = started.elapsed();
    assert_eq!(pam.open(0), 0, "{service} did not open");
    assert_eq!(pam.close(0), 0, "{service} did not close");
    pam.end(0);
    let whole = started.elapsed();
    println!("{} {} {}", start.as_nanos(), whole.as_nanos(), resident());
}

/// Measures both services in turns, each time in a new process, and prints what the module adds.
pub fn compare(confdir: &str, user: &str, [without, with]: [&str; 2]) {
    let (mut permit, mut module) = (Vec::new(), Vec::new());
    for _ in 0..PROCESSES {
        permit.push(one(confdir, user, without));
        module.push(one(confdir, user, with));
    }
    let times =
        |all: &[First], of: fn(&First) -> Duration| median(&all.iter().map(of).collect::<Vec<_>>());
    let memory = |all: &[First]| {
        let mut all: Vec<u64> = all.iter().map(|first| first.resident).collect();
        all.sort_unstable();
        all[all.len() / 2]
    };
    println!("\nthe first session of a process, medians of {PROCESSES} processes:");
    println!(
        "{:<12}  {:>14}  {:>10}  {:>14}",
        "", "pam_start (us)", "whole (us)", "resident (KiB)"
    );
    for (name, all) in [(without, &permit), (with, &module)] {
        println!(
            "{name:<12}  {:>14.1}  {:>10.1}  {:>14}",
            times(all, |first| first.start),
            times(all, |first| first.whole),
            memory(all)
        );
    }
    println!(
        "  loading {with} takes {:.1} us more, and it adds {} KiB of resident memory",
        times(&module, |first| first.start) - times(&permit, |first| first.start),
        memory(&module).saturating_sub(memory(&permit))
    );
}

fn one(confdir: &str, user: &str, service: &str) -> First {
    let this = std::env::current_exe().unwrap();
    let output = Command::new(this)
        .args(["first", confdir, user, service])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let numbers: Vec<u64> = text
        .split_whitespace()
        .map(|number| number.parse().unwrap())
        .collect();
    let [start, whole, resident] = numbers[..] else {
        panic!(
            "{service}: {text}{}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    First {
        start: Duration::from_nanos(start),
        whole: Duration::from_nanos(whole),
        resident,
    }
}
