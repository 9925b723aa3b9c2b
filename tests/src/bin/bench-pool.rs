//! `make bench`: the benchmark on a host of a real pool.

use std::process::ExitCode;
use std::time::{Duration, Instant};

use pam_idtoken_tests::bench::{median, quantile};
use pam_idtoken_tests::command::run;
use pam_idtoken_tests::pool::{Build, Pool};
use pam_idtoken_tests::programs_dir;

/// Logins by ssh to each of two hosts.
const LOGINS: usize = 40;

/// What sites do today: fetch a token as the user, remove it at the end.
const SCRIPT: &str = r#"#!/bin/sh
home=$(getent passwd "$PAM_USER" | cut -d: -f6)
# Not runuser, which is a PAM application itself and takes longer.
as_user="setpriv --reuid $PAM_USER --regid $(id -g "$PAM_USER") --init-groups"
case $PAM_TYPE in
open_session)
    exec $as_user condor_token_fetch -lifetime 86400 -token bench ;;
close_session)
    exec $as_user rm -f "$home/.condor/tokens.d/bench" ;;
esac
"#;

fn main() -> ExitCode {
    let (pool, build) = (Pool::boot(), Build::find());
    // The other access point stays without.
    pool.host("ap1").install(&build);
    // As installed: with a reconciler that logins see.
    pool.install_units("ap1");
    // The directory is there from now on.
    pool.ssh("alice", "ap1").run("true").must();
    pool.wait_for_tokens("alice", 0);
    let ap1 = pool.host("ap1");
    ap1.sh("mkdir -p /root/bench/pam.d");
    let bench = std::fs::read(programs_dir().join("bench-host")).unwrap();
    ap1.write("/root/bench/bench-host", bench, 0o755);
    ap1.write("/root/bench/fetch", SCRIPT, 0o755);
    for (service, line) in [
        ("pam_permit", "pam_permit.so"),
        ("pam_idtoken", "pam_idtoken.so services=pam_idtoken"),
        ("pam_exec", "pam_exec.so quiet /root/bench/fetch"),
    ] {
        let file = format!("/root/bench/pam.d/{service}");
        ap1.write(&file, format!("session required {line}\n"), 0o644);
    }
    let args = [
        "/root/bench/bench-host",
        "/root/bench/pam.d",
        "alice",
        "/home/alice",
    ];
    let rest = ["1000", "40", "pam_permit", "pam_idtoken", "pam_exec"];
    let answer = run(&mut ap1.command(600, &[&args[..], &rest[..]].concat()));
    print!("{}", answer.stdout);
    if !answer.ok {
        println!("the benchmark failed: {}", answer.stderr);
        return ExitCode::FAILURE;
    }
    logins(&pool);
    let size = std::fs::metadata(&build.module).unwrap().len();
    println!("\nthe module is {} KiB", size / 1024);
    ExitCode::SUCCESS
}

/// A login by ssh until its command has run, with the module and without it, in turns.
fn logins(pool: &Pool) {
    let (mut with, mut without) = (Vec::new(), Vec::new());
    for _ in 0..LOGINS {
        without.push(login(pool, "ap2"));
        with.push(login(pool, "ap1"));
    }
    println!("\na login by ssh until its command has run, {LOGINS} on each host, in ms:");
    for (name, times) in [("without", &without), ("with", &with)] {
        let (median, p99) = (median(times) / 1000.0, quantile(times, 99) / 1000.0);
        println!("  {name:<8} median {median:>7.1}  p99 {p99:>7.1}");
    }
    println!("  ratio    {:.3}", median(&with) / median(&without));
}

fn login(pool: &Pool, host: &str) -> Duration {
    let ssh = pool.ssh("alice", host);
    let started = Instant::now();
    ssh.run("true").must();
    started.elapsed()
}
