//! What the host keeps, whatever it is and does.

use super::*;

/// Runs a test in a process of its own: what it changes belongs to the process.
fn alone(name: &str, test: impl FnOnce()) {
    const SIGN: &str = "PAM_IDTOKEN_TEST_ALONE";
    if std::env::var_os(SIGN).is_some() {
        return test();
    }
    let ran = std::process::Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &format!("child::tests::host::{name}")])
        .env(SIGN, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&ran.stdout);
    assert!(ran.status.success() && said.contains("1 passed"), "{said}");
}

#[test]
fn a_host_that_ignores_its_children_loses_no_answer() {
    alone("a_host_that_ignores_its_children_loses_no_answer", || {
        handle(Signal::SIGCHLD, SigHandler::SigIgn);
        let said = run(&shell("echo hi; exit 4"), soon()).unwrap();
        assert_eq!(
            (said.stdout.as_slice(), said.status.code()),
            (&b"hi\n"[..], Some(4))
        );
        let kept = handle(Signal::SIGCHLD, SigHandler::SigDfl).handler();
        assert!(matches!(kept, SigHandler::SigIgn));
    });
}

#[test]
fn the_host_hears_nothing_of_the_child_and_finds_none() {
    use std::sync::atomic::{AtomicUsize, Ordering};
    static HEARD: AtomicUsize = AtomicUsize::new(0);
    extern "C" fn hear(_: i32) {
        HEARD.fetch_add(1, Ordering::SeqCst);
    }
    alone("the_host_hears_nothing_of_the_child_and_finds_none", || {
        handle(Signal::SIGCHLD, SigHandler::Handler(hear));
        std::thread::scope(|scope| {
            let running = scope.spawn(|| run(&shell("sleep 0.3; echo hi"), soon()).unwrap());
            for _ in 0..20 {
                std::thread::sleep(Duration::from_millis(20));
                let found = waitpid(None, Some(WaitPidFlag::WNOHANG));
                assert_eq!(found, Err(Errno::ECHILD));
            }
            assert_eq!(running.join().unwrap().stdout.as_slice(), b"hi\n");
        });
        assert_eq!(HEARD.load(Ordering::SeqCst), 0);
        // The same test hears of a child that is no such.
        std::process::Command::new("true").status().unwrap();
        assert_eq!(HEARD.load(Ordering::SeqCst), 1);
    });
}

#[test]
fn a_host_that_waits_for_everything_takes_the_child_and_not_the_answer() {
    alone(
        "a_host_that_waits_for_everything_takes_the_child_and_not_the_answer",
        || {
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let running =
                        scope.spawn(|| run(&shell("sleep 0.2; echo hi"), soon()).unwrap());
                    while !running.is_finished() {
                        let _ = waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL));
                    }
                    assert_eq!(running.join().unwrap().stdout.as_slice(), b"hi\n");
                });
            });
        },
    );
}

#[test]
fn a_host_without_streams_of_its_own_can_run_a_program() {
    alone(
        "a_host_without_streams_of_its_own_can_run_a_program",
        || {
            use nix::unistd::{close, dup, dup2_stderr, dup2_stdin, dup2_stdout};
            let [stdin, stdout, stderr] = [0, 1, 2].map(|number| {
                // SAFETY: the standard streams are open and stay so until the next line.
                #[allow(unsafe_code)]
                let stream = unsafe { std::os::fd::BorrowedFd::borrow_raw(number) };
                dup(stream).unwrap()
            });
            (0..3).for_each(|number| close(number).unwrap());
            let said = run(&shell("cat; echo hi; echo ho >&2"), soon());
            dup2_stdin(stdin).unwrap();
            dup2_stdout(stdout).unwrap();
            dup2_stderr(stderr).unwrap();
            let said = said.unwrap();
            assert_eq!(
                (said.stdout.as_slice(), said.stderr.as_str()),
                (&b"hi\n"[..], "ho\n")
            );
        },
    );
}

#[test]
fn the_host_keeps_its_descriptors_mask_and_threads() {
    alone("the_host_keeps_its_descriptors_mask_and_threads", || {
        let seen = || {
            let count = |dir: &str| std::fs::read_dir(dir).unwrap().count();
            let mask = SigSet::thread_get_mask().unwrap();
            let dumpable = crate::sys::dumpable().unwrap();
            (
                mask,
                dumpable,
                count("/proc/self/fd"),
                count("/proc/self/task"),
            )
        };
        let before = seen();
        for script in [":", "exit 1", "sleep 0.2", "exec yes"] {
            let mut program = shell(script);
            program.limit = 1000;
            let _ = run(&program, Deadline::after(Duration::from_millis(100)));
        }
        // A thread that was joined is in /proc a moment longer.
        for _ in 0..1000 {
            if seen() == before {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        assert_eq!(seen(), before);
        assert_eq!(waitpid(None, Some(WaitPidFlag::__WALL)), Err(Errno::ECHILD));
    });
}
