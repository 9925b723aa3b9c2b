//! What a program leaves running.

use super::*;
use std::thread;

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

#[test]
fn nobody_stays_who_leaves_for_a_session_of_its_own() {
    let user = alice();
    with_and_without_namespace(|| {
        let time = long(3003);
        let mut program = shell("");
        program.user = user.as_ref();
        program.args[1] = format!("{}; echo hi", leaving(&time));
        assert_eq!(text(&program), "hi\n");
        assert!(!is_running(&time));
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
        let started = Instant::now();
        let error = run(&program, Deadline::after(Duration::from_millis(600))).unwrap_err();
        assert!(matches!(error, ChildError::Deadline { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(!is_running(&time));
    });
}

#[test]
fn nobody_stays_of_very_many() {
    without_namespace(|| {
        let time = long(3005);
        // Their numbers fill the list of the kernel that is read at once several times.
        let script =
            format!("i=0; while [ $i -lt 300 ]; do setsid sleep {time} & i=$((i+1)); done");
        output(&format!("{script}; sleep 0.5"));
        assert!(!is_running(&time));
    });
}

#[test]
fn who_starts_another_and_ends_over_and_over_does_not_stay() {
    let dir = tempfile::tempdir().unwrap();
    let chain = dir.path().join("chain");
    install("#!/bin/sh\necho >>\"$0.log\"\n\"$0\" &\n", "755", &chain);
    let length = || {
        std::fs::metadata(chain.with_extension("log"))
            .unwrap()
            .len()
    };
    without_namespace(|| {
        output(&format!("setsid {} & sleep 0.2", chain.display()));
    });
    let before = length();
    thread::sleep(Duration::from_millis(200));
    assert!(before > 1 && length() == before);
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
