//! `make load`: as many logins as one machine takes, with a reconciler at work and signing keys
//! that are replaced meanwhile.
//!
//!     load-pool LOGINS AT_ONCE USERS
//!
//! Every session asks the schedd of the other access point with its first and with its last
//! command; at the end no token and no record may be left.

use std::process::{ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use pam_idtoken_tests::pool::{Build, DOMAIN, Pool};

/// The two keys that take turns.
const KEYS: [&str; 2] = ["site", "next"];
const HOSTS: [&str; 3] = ["cm", "ap2", "ap1"];
/// The timer's period, with what a run takes.
const PERIOD: Duration = Duration::from_secs(20);

/// What the sessions came to.
#[derive(Default)]
struct Seen {
    /// How long each took until its first command ran.
    logins: Vec<Duration>,
    /// What those said that did not go as they should.
    bad: Vec<String>,
}

fn main() -> ExitCode {
    let args: Vec<usize> = std::env::args()
        .skip(1)
        .map(|arg| arg.parse().unwrap())
        .collect();
    let [logins, at_once, users] = args[..] else {
        panic!("usage: load-pool LOGINS AT_ONCE USERS");
    };
    let pool = prepared(users);
    let (seen, done) = (Mutex::new(Seen::default()), AtomicBool::new(false));
    let (next, rotations) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let started = Instant::now();
    std::thread::scope(|scope| {
        let sessions: Vec<_> = (0..at_once)
            .map(|_| {
                scope.spawn(|| {
                    loop {
                        let number = next.fetch_add(1, Ordering::Relaxed);
                        if number >= logins {
                            break;
                        }
                        session(&pool, number, users, &seen);
                    }
                })
            })
            .collect();
        let keys = scope.spawn(|| {
            while !done.load(Ordering::SeqCst) {
                rotate(&pool, rotations.fetch_add(1, Ordering::SeqCst));
            }
        });
        for session in sessions {
            session.join().unwrap();
        }
        done.store(true, Ordering::SeqCst);
        keys.join().unwrap();
    });
    let took = started.elapsed();
    let seen = seen.into_inner().unwrap_or_else(PoisonError::into_inner);
    print(&pool, users, &seen, took, rotations.into_inner())
}

/// A pool with so many users and with reconcilers.
fn prepared(users: usize) -> Pool {
    let pool = Pool::boot();
    pool.install(&Build::find());
    for (number, host) in HOSTS.iter().enumerate() {
        // One /home for all of them: the first makes the homes.
        let home = if number == 0 { "-m" } else { "-M" };
        let add = format!(
            "for n in $(seq 1 {users}); do useradd {home} -u $((7000 + n)) -s /bin/bash load$n; done"
        );
        pool.host(host).sh(&add);
    }
    configure(&pool, &KEYS[..1]);
    for host in ["ap1", "ap2"] {
        pool.install_units(host);
    }
    pool
}

/// One session: its first and its last command need a token that the other access point takes.
fn session(pool: &Pool, number: usize, users: usize, seen: &Mutex<Seen>) {
    let user = format!("load{}", number % users + 1);
    let (here, there) = [("ap1", "ap2"), ("ap2", "ap1")][number % 2];
    let ping = format!(
        "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS \
         condor_ping -type schedd -name {there}.{DOMAIN} WRITE 2>&1"
    );
    let stay = number % 7;
    let script = format!("date +%s.%N; {ping}; sleep {stay}; {ping}");
    let started = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs_f64();
    let output = pool
        .ssh(&user, here)
        .command(300)
        .arg(script)
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let first = said
        .lines()
        .next()
        .and_then(|line| line.parse::<f64>().ok());
    let is_good = |line: &&str| line.contains("succeeded") && line.contains(&format!("as {user}@"));
    let good = said.lines().filter(is_good).count();
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    match first {
        Some(first) if good == 2 => {
            let login = Duration::from_secs_f64((first - started).max(0.0));
            seen.logins.push(login);
        }
        _ => seen.bad.push(format!(
            "{user} on {here}: {said}{}",
            String::from_utf8_lossy(&output.stderr)
        )),
    }
}

/// Replaces one key by the other, host by host, as the guide for administrators says.
fn rotate(pool: &Pool, number: usize) {
    let (old, new) = (KEYS[number % 2], KEYS[(number + 1) % 2]);
    configure(pool, &[new, old]);
    for host in HOSTS {
        pool.write_key(host, new, &format!("key number {number} of the site"));
        pool.wait_until_it_tells(host, new, true);
    }
    configure(pool, &[new]);
    // Every session that is open has been renewed without the old one then.
    std::thread::sleep(PERIOD);
    for host in HOSTS {
        pool.remove_key(host, old);
        pool.wait_until_it_tells(host, old, false);
    }
}

/// With tokens of a minute, so that all of a longer session are renewed.
fn configure(pool: &Pool, keys: &[&str]) {
    for host in ["ap1", "ap2"] {
        let text = format!("lifetime = \"60s\"\nkid = {keys:?}\n");
        pool.host(host).configure(&text);
    }
}

fn print(pool: &Pool, users: usize, seen: &Seen, took: Duration, rotations: usize) -> ExitCode {
    let end = Instant::now() + PERIOD;
    while left(pool, users) > 0 && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(200));
    }
    let left = left(pool, users);
    let mut logins = seen.logins.clone();
    logins.sort_unstable();
    let at = |per_cent: usize| {
        let login = logins.get(logins.len() * per_cent / 100);
        login.map_or(0.0, Duration::as_secs_f64)
    };
    let count = |what: &str, count: usize| println!("{what:<48} {count:>8}");
    println!();
    count("logins by ssh", logins.len() + seen.bad.len());
    let each = took.as_secs_f64() / f64::from(u32::try_from(logins.len().max(1)).unwrap());
    println!("{:<48} {:>8.1}", "  a second", 1.0 / each);
    let quantiles = format!("{:.2} / {:.2}", at(50), at(99));
    println!(
        "{:<43} {quantiles:>13}",
        "  seconds to the first command, median / p99"
    );
    count("replacements of the signing key meanwhile", rotations);
    count("renewals meanwhile", renewals(pool));
    count(
        "sessions whose first or last command failed",
        seen.bad.len(),
    );
    count("tokens and records left", left);
    for bad in seen.bad.iter().take(5) {
        println!("{bad}");
    }
    if seen.bad.is_empty() && left == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// The tokens and records of all that were in the load.
fn left(pool: &Pool, users: usize) -> usize {
    let tokens = (1..=users).map(|number| pool.tokens(&format!("load{number}")).len());
    let records = ["ap1", "ap2"].map(|host| {
        let found = pool
            .host(host)
            .sh("find /var/lib/pam_idtoken/sessions -type f");
        found.lines().count()
    });
    tokens.sum::<usize>() + records.iter().sum::<usize>()
}

/// How many tokens the reconcilers renewed, by the audit.
fn renewals(pool: &Pool) -> usize {
    let count = |host: &str| {
        let found = pool
            .host(host)
            .sh("grep -c '\"event\":\"renewed\"' /var/lib/pam_idtoken/audit.jsonl || :");
        found.trim().parse::<usize>().unwrap_or(0)
    };
    count("ap1") + count("ap2")
}
