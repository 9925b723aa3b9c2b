//! Every system call of open and close is in `docs/SYSTEM-CALLS.md`, with why it is made.

use std::fmt::Write as _;
use std::fs;

use pam_idtoken_tests::faults::protocol::Hook;
use pam_idtoken_tests::faults::{Call, Host, Plan, name};
use pam_idtoken_tests::host::Step::Open;
use pam_idtoken_tests::host::memory::Memory;
use pam_idtoken_tests::host::{Lab, Who};
use pam_idtoken_tests::{build_dir, proof};

use crate::Test::{self, Root};
use crate::is_sanitized;

pub(crate) const TESTS: &[Test] = &[Root(
    "every system call of open and close is listed with its reason",
    listed,
)];

/// Waiting and memory: how often depends on who is faster, and on what the C library has left.
const AS_IT_COMES: [&str; 7] = [
    "brk",
    "clock_gettime",
    "futex",
    "madvise",
    "mmap",
    "mprotect",
    "munmap",
];

fn listed() {
    if is_sanitized() {
        return;
    }
    let lab = Lab::new(Who::Root);
    let _memory = Memory::on(&lab.path("run"));
    lab.configure_with_htcondor("");
    lab.line_between_marks();
    lab.promise();
    let host = Host::start(&lab, "alice");
    // Somebody is there: the directories are made, HTCondor was asked, and another session lives.
    let _other = lab.stay("alice", &[Open(0)]);
    let page = fs::read_to_string(build_dir().join("../../docs/SYSTEM-CALLS.md")).unwrap();
    let mut counts = Vec::new();
    for (hook, title) in [(Hook::Open, "Open"), (Hook::Close, "Close")] {
        let program = host.program().to_owned();
        let plan = Plan {
            program: &program,
            from_start: false,
            fault: None,
            after_each: &mut || {},
        };
        let calls = host.session(hook, plan).calls;
        for (who, of_the_host) in [("the host's thread", true), ("the user's thread", false)] {
            let made: Vec<_> = calls
                .iter()
                .filter(|call| call.who.is_first == of_the_host)
                .filter_map(|call| row(call, &lab))
                .collect();
            let title = format!("## {title}: {who}");
            let listed = table(&page, &title);
            assert!(
                listed
                    .iter()
                    .map(|row| &row[..2])
                    .eq(made.iter().map(|row| &row[..])),
                "docs/SYSTEM-CALLS.md is not what is made. {title}:\n{}",
                shown(&made, &listed)
            );
            assert!(
                listed.iter().all(|row| row[2].len() > 10),
                "{title}: a reason is missing"
            );
            counts.push(made.len());
        }
        // What the process that opened has left.
        assert!(lab.tool(&["reconcile"]).ok);
    }
    let counted = format!(
        "{} and {} of an open, {} and {} of a close, each with its reason",
        counts[0], counts[1], counts[2], counts[3]
    );
    proof::row(
        "system calls of the host's and the user's thread",
        &counted,
        0,
    );
}

/// What a call does to what; none if it is not counted.
fn row(call: &Call, lab: &Lab) -> Option<[String; 2]> {
    // The C library has more than one way to say some of it.
    let name = match name(call.position.number).as_str() {
        "newfstatat" if call.is_by_descriptor => "fstat".to_owned(),
        "clone" => "clone3".to_owned(),
        "readlinkat" => "readlink".to_owned(),
        other => other.to_owned(),
    };
    let on = place(&call.what, lab);
    let is_by_the_name_service = ["PASSWD", "GROUP"].contains(&on.as_str());
    let is_counted = !AS_IT_COMES.contains(&name.as_str()) && !is_by_the_name_service;
    is_counted.then_some([name, on])
}

/// A path as it is on a host, with names in place of what is another each time.
fn place(what: &str, lab: &Lab) -> String {
    let what = what.strip_suffix(" (deleted)").unwrap_or(what);
    if what.starts_with("socket:") {
        return "the log's socket".into();
    }
    let on_host = [
        ("etc/config.toml", "/etc/security/pam_idtoken.toml"),
        ("etc/passwd", "PASSWD"),
        ("etc/group", "GROUP"),
        ("keys/", "/etc/condor/passwords.d/"),
        ("tmp/condor_config", "/etc/condor/config.d/00-site"),
        ("bin/", "/usr/bin/"),
        ("state", "/var/lib/pam_idtoken"),
        ("run", "/run/pam_idtoken"),
        ("home/", "/home/"),
    ];
    let root = lab.path("").display().to_string();
    let inside = what
        .strip_prefix(root.trim_end_matches('/'))
        .map(|path| path.trim_start_matches('/'));
    let path = inside.map_or_else(
        || what.to_owned(),
        |inside| {
            let known = on_host.iter().find_map(|(ours, theirs)| {
                inside
                    .strip_prefix(ours)
                    .map(|rest| format!("{theirs}{rest}"))
            });
            known.unwrap_or_else(|| inside.to_owned())
        },
    );
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

fn part(part: &str) -> String {
    let (dot, name) = part
        .strip_prefix('.')
        .map_or(("", part), |name| (".", name));
    let is_hex = |text: &str| text.len() == 16 && text.chars().all(|c| c.is_ascii_hexdigit());
    let starts = |text: &str| text.get(..16).is_some_and(is_hex);
    if name.starts_with("0-session-") {
        return format!("{dot}0-session-T-HOST-SESSION");
    }
    if let Some((_, kind)) = name.split_once('.').filter(|_| starts(name)) {
        return format!("{dot}SESSION-HOLDER.{kind}");
    }
    if let Some((_, kind)) = name
        .split_once('.')
        .filter(|_| name.starts_with("htcondor-"))
    {
        return format!("htcondor-TOOL.{kind}");
    }
    if !name.is_empty() && name.chars().all(|c| c.is_ascii_digit()) {
        return "NUMBER".into();
    }
    part.to_owned()
}

/// The rows of a table of the page: call, what it is on, why.
fn table(page: &str, title: &str) -> Vec<[String; 3]> {
    let lines = page.lines().skip_while(|line| *line != title).skip(1);
    let rows = lines
        .skip_while(|line| !line.starts_with('|'))
        .take_while(|line| line.starts_with('|'));
    rows.skip(2)
        .map(|line| {
            let cells: Vec<String> = line
                .split('|')
                .map(|cell| cell.trim().replace('`', ""))
                .collect();
            [1, 2, 3].map(|cell| cells.get(cell).cloned().unwrap_or_default())
        })
        .collect()
}

/// The table as it would have to be, with the reasons that are known.
fn shown(made: &[[String; 2]], listed: &[[String; 3]]) -> String {
    let (mut text, mut at) = (String::new(), 0);
    for [call, on] in made {
        let is_it = |row: &[String; 3]| row[0] == *call && row[1] == *on;
        let found = listed[at..].iter().position(is_it);
        let reason = found.map_or("", |ahead| &listed[at + ahead][2]);
        at += found.map_or(0, |ahead| ahead + 1);
        let on = if on.is_empty() {
            String::new()
        } else {
            format!("`{on}`")
        };
        let _ = writeln!(text, "| {call} | {on} | {reason} |");
    }
    text
}
