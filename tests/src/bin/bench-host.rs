//! The benchmark itself, run as root on a host of a pool:
//!
//!     bench-host CONFDIR USER HOME ROUNDS SLOW_ROUNDS SERVICE...
//!
//! The services take turns in each round, so that whatever else the machine
//! does meets all of them alike; `pam_exec` takes part in SLOW_ROUNDS of them.
//! The last row is what the file system alone takes for the same file.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::pam::Transaction;

/// One kind of session with the times it took.
struct Row {
    name: String,
    open: Vec<Duration>,
    close: Vec<Duration>,
}

impl Row {
    fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            open: Vec::new(),
            close: Vec::new(),
        }
    }

    fn note(&mut self, (open, close): (Duration, Duration)) {
        self.open.push(open);
        self.close.push(close);
    }
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [confdir, user, home, rounds, slow_rounds, services @ ..] = &args[..] else {
        panic!("usage: bench-host CONFDIR USER HOME ROUNDS SLOW_ROUNDS SERVICE...");
    };
    let tokens_d = Path::new(home).join(".condor/tokens.d");
    let (rounds, slow): (usize, usize) = (rounds.parse().unwrap(), slow_rounds.parse().unwrap());
    let mut rows: Vec<Row> = services.iter().map(|name| Row::new(name)).collect();
    let mut floor = Row::new("bare files");
    for round in 0..rounds {
        for row in &mut rows {
            let is_slow = row.name == "pam_exec";
            if !is_slow || (round * slow) % rounds < slow {
                row.note(session(confdir, user, &row.name, &tokens_d));
            }
        }
        floor.note(files(&tokens_d));
    }
    rows.push(floor);
    print(&rows);
}

/// Opens and closes one session; a token must be there in between, and none after.
fn session(confdir: &str, user: &str, service: &str, tokens_d: &Path) -> (Duration, Duration) {
    let mut pam = Transaction::start(confdir, service, user, Some("192.0.2.7")).unwrap();
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
    pam.end(0);
    assert_eq!(
        fs::read_dir(tokens_d).unwrap().count(),
        0,
        "{service} left a token"
    );
    (open, close)
}

/// Creates, writes and renames a file like a token, and removes it.
fn files(tokens_d: &Path) -> (Duration, Duration) {
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
    (open, start.elapsed())
}

fn quantile(times: &[Duration], per_cent: usize) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_unstable();
    let at = (sorted.len() * per_cent / 100).min(sorted.len() - 1);
    sorted[at].as_secs_f64() * 1e6
}

/// The median of an open and a close together, in microseconds.
fn both(row: &Row) -> f64 {
    let sums: Vec<Duration> = row
        .open
        .iter()
        .zip(&row.close)
        .map(|(a, b)| *a + *b)
        .collect();
    quantile(&sums, 50)
}

fn print(rows: &[Row]) {
    println!(
        "{:<12} {:>6}  {:>22}  {:>22}",
        "", "", "open (us)", "close (us)"
    );
    println!(
        "{:<12} {:>6}  {:>10}  {:>10}  {:>10}  {:>10}  {:>12}",
        "", "rounds", "median", "p99", "median", "p99", "open + close"
    );
    for row in rows {
        println!(
            "{:<12} {:>6}  {:>10.1}  {:>10.1}  {:>10.1}  {:>10.1}  {:>12.1}",
            row.name,
            row.open.len(),
            quantile(&row.open, 50),
            quantile(&row.open, 99),
            quantile(&row.close, 50),
            quantile(&row.close, 99),
            both(row)
        );
    }
    let of = |name: &str| rows.iter().find(|row| row.name == name);
    let Some(module) = of("pam_idtoken") else {
        return;
    };
    println!("\nmedians of open + close in the same run:");
    for (name, slower_is_other) in [
        ("pam_permit", false),
        ("bare files", false),
        ("pam_exec", true),
    ] {
        if let Some(other) = of(name) {
            if slower_is_other {
                println!(
                    "  {name} takes {:.0} times as long as pam_idtoken",
                    both(other) / both(module)
                );
            } else {
                println!(
                    "  pam_idtoken takes {:.1} times as long as {name}",
                    both(module) / both(other)
                );
            }
        }
    }
}
