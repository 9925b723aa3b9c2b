//! What a program leaves running.

use super::*;
use std::thread;
use std::time::{SystemTime, UNIX_EPOCH};

/// CAP_DAC_READ_SEARCH, CAP_SETGID, CAP_SETUID, CAP_SYS_PTRACE, CAP_CHOWN: what the unit
/// of reconcile leaves root, but for CAP_KILL.
const OF_UNIT: u64 = 1 << 2 | 1 << 6 | 1 << 7 | 1 << 19 | 1;
const CAP_KILL: u64 = 1 << 5;

/// Runs a test as it is, and without CAP_SYS_ADMIN, which makes a pid namespace.
fn with_and_without_namespace(test: impl Fn() + Sync) {
    test();
    without_namespace(&test);
}

fn without_namespace(test: impl Fn() + Sync) {
    thread::scope(|scope| {
        let ran = scope.spawn(|| {
            crate::sys::keep_capabilities(OF_UNIT | CAP_KILL);
            test();
        });
        ran.join().unwrap();
    });
}

fn alice() -> Option<User> {
    is_root().then(|| User {
        name: "alice".into(),
        uid: 4321,
        gid: 4322,
        groups: vec![4322],
        home: PathBuf::from("/h"),
    })
}

/// One that leaves its session, and two that lose their parents besides.
fn leaving(time: &str) -> String {
    format!("setsid sleep {time} & (setsid sh -c 'sleep {time} & sleep {time}' &); sleep 0.2")
}

/// Runs a shell; tells whether its keeper may have been killed before it had killed the rest.
fn is_held_up(mut program: Program<'_>) -> bool {
    program.args[1] += "; date +%s%N";
    let ended = text(&program).trim().parse().unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
    now.as_nanos().saturating_sub(ended) >= SETTLE_MOST.as_nanos()
}

/// Runs what leaves processes with this word in their command lines, and looks whether they
/// stay. `run` tells whether a keeper was held up.
fn nobody_stays(word: &str, run: impl Fn() -> bool) {
    let is_over = || {
        let is_held_up = run();
        let is_over = !is_running(word);
        if !is_over {
            for pid in seen(word) {
                let _ = kill(Pid::from_raw(pid), Signal::SIGKILL);
            }
            assert!(is_held_up, "somebody stays");
        }
        is_over
    };
    // Others may hold up one of three.
    assert!((0..3).any(|_| is_over()));
}

#[test]
fn nobody_stays_who_leaves_for_a_session_of_its_own() {
    let user = alice();
    with_and_without_namespace(|| {
        let time = long(3003);
        nobody_stays(&time, || {
            let mut program = shell(&leaving(&time));
            program.user = user.as_ref();
            is_held_up(program)
        });
    });
}

#[test]
fn nobody_stays_when_the_deadline_passes() {
    let user = alice();
    with_and_without_namespace(|| {
        let time = long(3004);
        let mut program = shell("");
        program.user = user.as_ref();
        program.args[1] = format!("{}; sleep {time}; :", leaving(&time));
        nobody_stays(&time, || {
            let patience = Duration::from_millis(600);
            let started = Instant::now();
            let error = run(&program, Deadline::after(patience)).unwrap_err();
            let took = started.elapsed();
            assert!(matches!(error, ChildError::Deadline { .. }), "{error}");
            assert!(took < Duration::from_secs(5));
            took >= patience + ASKED
        });
    });
}

#[test]
fn nobody_stays_of_very_many() {
    without_namespace(|| {
        let time = long(3005);
        // Their numbers fill the list of the kernel that is read at once several times.
        let script = format!(
            "i=0; while [ $i -lt 300 ]; do setsid sleep {time} & i=$((i+1)); done; sleep 0.5"
        );
        nobody_stays(&time, || is_held_up(shell(&script)));
    });
}

#[test]
fn who_starts_another_and_ends_over_and_over_does_not_stay() {
    without_namespace(|| {
        let is_over = || {
            let dir = tempfile::tempdir().unwrap();
            let chain = dir.path().join("chain");
            install("#!/bin/sh\necho >>\"$0.log\"\n\"$0\" &\n", "755", &chain);
            let log = chain.with_extension("log");
            let length = || std::fs::metadata(&log).unwrap().len();
            let is_long = format!("[ \"$(wc -l <{} 2>&1)\" -gt 1 ]", log.display());
            let is_held_up = is_held_up(shell(&format!(
                "setsid {} & sleep 0.2; until {is_long}; do sleep 0.05; done",
                chain.display()
            )));
            let before = length();
            assert!(before > 1);
            thread::sleep(Duration::from_millis(200));
            let is_over = length() == before;
            // Whoever stays starts nobody any more.
            std::fs::remove_file(&chain).unwrap();
            assert!(is_over || is_held_up, "somebody stays");
            is_over
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| is_over()));
    });
}

#[test]
fn nobody_stays_when_the_host_is_killed() {
    const PLACE: &str = "PAM_IDTOKEN_TEST_KILLED";
    let user = alice();
    let host = |namespace: &str| {
        let time = long(3006);
        let mut host = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "child::tests::left::nobody_stays_when_the_host_is_killed",
            ])
            .env(PLACE, format!("{namespace} {time}"))
            .spawn()
            .unwrap();
        let started = Instant::now();
        while !is_seen(&format!("sleep {time}")) && started.elapsed() < Duration::from_secs(10) {
            thread::sleep(Duration::from_millis(10));
        }
        thread::sleep(Duration::from_millis(300));
        host.kill().unwrap();
        host.wait().unwrap();
        assert!(!is_running(&time));
    };
    let Ok(place) = std::env::var(PLACE) else {
        host("with");
        host("without");
        return;
    };
    let (namespace, time) = place.split_once(' ').unwrap();
    let go = || {
        let mut program = shell("");
        program.user = user.as_ref();
        program.args[1] = format!("{}; sleep {time}; :", leaving(time));
        let _ = run(&program, soon());
    };
    if namespace == "with" {
        go();
    } else {
        without_namespace(go);
    }
}

#[test]
fn who_may_not_be_signalled_costs_no_time() {
    let Some(user) = alice() else {
        return;
    };
    thread::spawn(move || {
        crate::sys::keep_capabilities(OF_UNIT);
        let time = long(3);
        let mut program = shell("");
        program.user = Some(&user);
        program.args[1] = format!("setsid sleep {time} & sleep 0.1; echo hi");
        let costs_no_time = || {
            let started = Instant::now();
            assert_eq!(text(&program), "hi\n");
            started.elapsed() < Duration::from_millis(450)
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| costs_no_time()));
    })
    .join()
    .unwrap();
}
