//! The benchmark itself, run as root on a host of a pool:
//!
//!     bench-host CONFDIR USER HOME ROUNDS SLOW_ROUNDS SERVICE...
//!     bench-host first CONFDIR USER SERVICE
//!
//! The services take turns in each round, so that whatever else the machine
//! does meets all of them alike; `pam_exec` takes part in SLOW_ROUNDS of them.
//! The last two rows are what the file system alone takes for the same file, and what the system calls
//! of a session take alone. The second form does one session in a new process, as the first form has
//! it done.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pam_idtoken_tests::bench::bare::Bare;
use pam_idtoken_tests::bench::first;
use pam_idtoken_tests::bench::rows::{Row, Times, print};
use pam_idtoken_tests::host::pam::Transaction;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if let [mode, confdir, user, service] = &args[..] {
        assert_eq!(mode, "first");
        return first::measure(confdir, user, service);
    }
    let [confdir, user, home, rounds, slow_rounds, services @ ..] = &args[..] else {
        panic!("usage: bench-host CONFDIR USER HOME ROUNDS SLOW_ROUNDS SERVICE...");
    };
    let tokens_d = Path::new(home).join(".condor/tokens.d");
    let (rounds, slow): (usize, usize) = (rounds.parse().unwrap(), slow_rounds.parse().unwrap());
    let mut rows: Vec<Row> = services.iter().map(|name| Row::new(name)).collect();
    let (mut floor, mut calls) = (Row::new("bare files"), Row::new("bare calls"));
    // Beside the records, on the same file system.
    let bare = Bare::new(Path::new("/var/lib/idtoken-bench"), user);
    for round in 0..rounds {
        for row in &mut rows {
            let is_slow = row.name == "pam_exec";
            if !is_slow || (round * slow) % rounds < slow {
                row.note(session(confdir, user, &row.name, &tokens_d));
            }
        }
        floor.note(files(&tokens_d));
        calls.note(bare.session());
    }
    rows.extend([floor, calls]);
    print(&rows);
    if services.iter().any(|name| name == "pam_permit") {
        first::compare(confdir, user, ["pam_permit", "pam_idtoken"]);
    }
}

/// Opens and closes one session; a token must be there in between, and none after.
fn session(confdir: &str, user: &str, service: &str, tokens_d: &Path) -> Times {
    let started = Instant::now();
    let mut pam = Transaction::start(confdir, service, user, Some("192.0.2.7")).unwrap();
    let before = started.elapsed();
    let start = Instant::now();
    assert_eq!(pam.open(0), 0, "{service} did not open");
    let open = start.elapsed();
    let tokens = fs::read_dir(tokens_d).unwrap().count();
    assert_eq!(
        tokens,
        usize::from(service != "pam_permit"),
        "tokens with {service}"
    );
    let start = Instant::now();
    assert_eq!(pam.close(0), 0, "{service} did not close");
    let close = start.elapsed();
    let start = Instant::now();
    pam.end(0);
    let around = before + start.elapsed();
    assert_eq!(
        fs::read_dir(tokens_d).unwrap().count(),
        0,
        "{service} left a token"
    );
    Times {
        open,
        close,
        around,
    }
}

/// Creates, writes and renames a file like a token, and removes it.
fn files(tokens_d: &Path) -> Times {
    let (temporary, name) = (tokens_d.join(".floor"), tokens_d.join("floor"));
    let start = Instant::now();
    let mut file = fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&temporary)
        .unwrap();
    file.write_all(&[b'x'; 240]).unwrap();
    drop(file);
    fs::rename(&temporary, &name).unwrap();
    let open = start.elapsed();
    let start = Instant::now();
    fs::remove_file(&name).unwrap();
    Times {
        open,
        close: start.elapsed(),
        around: Duration::ZERO,
    }
}
