//! `make bench`: reconcile over 100 to 10,000 sessions, each held by a process of
//! its own, beside the bare system calls of the same work in the same run.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::lab::names;
use pam_idtoken_tests::host::{Lab, Step, Who};

const USERS: usize = 100;
const ROUNDS: usize = 5;

/// Medians for one number of sessions.
struct Row {
    sessions: usize,
    idle: Duration,
    idle_floor: Duration,
    renewed: Duration,
    renewed_floor: Duration,
}

fn main() {
    let rows: Vec<Row> = [100, 1000, 10_000].map(measure).into();
    println!("\nreconcile, medians of {ROUNDS} runs in ms, from start to exit of idtokenctl:\n");
    println!(
        "{:>8}  {:>12}  {:>12}  {:>6}  {:>12}  {:>12}  {:>6}",
        "sessions", "nothing due", "bare reads", "ratio", "all renewed", "bare writes", "ratio"
    );
    for row in &rows {
        println!(
            "{:>8}  {:>12.1}  {:>12.1}  {:>6.1}  {:>12.1}  {:>12.1}  {:>6.1}",
            row.sessions,
            ms(row.idle),
            ms(row.idle_floor),
            ms(row.idle) / ms(row.idle_floor),
            ms(row.renewed),
            ms(row.renewed_floor),
            ms(row.renewed) / ms(row.renewed_floor)
        );
    }
    let (few, many) = (&rows[0], &rows[rows.len() - 1]);
    let more = f64::from(u32::try_from(many.sessions / few.sessions).unwrap());
    println!(
        "\nper session, {} against {}: nothing due {:.2}, all renewed {:.2} times as much",
        many.sessions,
        few.sessions,
        ms(many.idle) / ms(few.idle) / more,
        ms(many.renewed) / ms(few.renewed) / more
    );
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn measure(sessions: usize) -> Row {
    let lab = Lab::new(Who::Root);
    lab.configure("timeout = \"20s\"\n");
    lab.add_users(u32::try_from(USERS).unwrap());
    let users = USERS;
    let host = lab.stay("alice", &[Step::Hold { sessions, users }]);
    let idle = median(|| reconcile(&lab, sessions, "nothing to do"));
    let records = files(&lab.path("state/sessions"));
    assert_eq!(records.len(), sessions);
    let idle_floor = median(|| read_all(&records));
    let mut key = 0;
    let renewed = median(|| {
        key += 1;
        fs::write(lab.path("keys/POOL"), format!("key number {key}")).unwrap();
        reconcile(&lab, sessions, &format!("{sessions} renewed"))
    });
    let renewed_floor = median(|| write_all(&lab, &records));
    drop(host);
    Row {
        sessions,
        idle,
        idle_floor,
        renewed,
        renewed_floor,
    }
}

fn median(mut run: impl FnMut() -> Duration) -> Duration {
    let mut times: Vec<Duration> = (0..ROUNDS).map(|_| run()).collect();
    times.sort_unstable();
    times[ROUNDS / 2]
}

/// One run; its summary has to say what was wanted.
fn reconcile(lab: &Lab, sessions: usize, wanted: &str) -> Duration {
    let started = Instant::now();
    let said = lab.tool(&["reconcile"]).must().stdout;
    let took = started.elapsed();
    let summary = said.lines().last().unwrap_or_default();
    assert_eq!(summary, format!("{sessions} sessions, {wanted}"));
    took
}

/// Every file in the directories of a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    names(dir)
        .iter()
        .flat_map(|uid| {
            let dir = dir.join(uid);
            names(&dir).into_iter().map(move |name| dir.join(name))
        })
        .collect()
}

/// What a run with nothing to do can not do without: each record, and the state of its holder.
fn read_all(records: &[PathBuf]) -> Duration {
    let started = Instant::now();
    for record in records {
        let name = record.file_name().unwrap().to_str().unwrap();
        let pid = name.split('-').nth(1).unwrap();
        fs::read(record).unwrap();
        fs::read(format!("/proc/{pid}/stat")).unwrap();
    }
    started.elapsed()
}

/// What a renewal can not do without: a new file in place of the token, and of the record.
fn write_all(lab: &Lab, records: &[PathBuf]) -> Duration {
    let dir = lab.path("floor");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir(&dir).unwrap();
    let put = |name: &str, size: usize| {
        let new = dir.join(format!(".{name}"));
        let mut options = fs::File::options();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(&new).unwrap();
        file.write_all(&vec![b'x'; size]).unwrap();
        drop(file);
        fs::rename(new, dir.join(name)).unwrap();
    };
    let started = Instant::now();
    for (number, record) in records.iter().enumerate() {
        fs::read(record).unwrap();
        put(&format!("token-{number}"), 240);
        put(&format!("record-{number}"), 900);
    }
    started.elapsed()
}
