//! Acting as the user: work in a home, done by a thread that has become them.
//!
//! The host's own thread never changes who it is, and the thread made here
//! never becomes root again: it takes on the user's groups and ids towards file
//! systems, drops every capability, does its work and ends. A home that does
//! not answer costs the caller its deadline and nothing else: the thread is
//! then left to the kernel (the module is linked with `-z nodelete`, so its
//! code stays mapped).

use std::sync::{Arc, Mutex};

use crate::aside::{self, NoThread, lock};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sys;
use crate::user::User;

/// Runs `work` on a thread of its own that acts as `user` towards file systems.
///
/// `euid` is the effective uid of this process. As root the thread becomes the
/// user; otherwise it can only act as itself, and any other user is refused.
///
/// Fails with [`Error::HomeTimeout`] when the work has no answer by the
/// deadline, and with [`Error::Acting`] when the thread can not be made or can
/// not become the user; nothing has been done to the home in the latter case.
pub fn as_user<T: Send + 'static>(
    user: &User,
    euid: u32,
    deadline: Deadline,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    as_user_while(user, euid, deadline, &mut || (), work)
}

/// As [`as_user`], and does `meanwhile` on the thread of the caller: what need not wait for the
/// home, and is quick.
pub fn as_user_while<T: Send + 'static>(
    user: &User,
    euid: u32,
    deadline: Deadline,
    meanwhile: &mut dyn FnMut(),
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let too_late = || Error::HomeTimeout {
        home: user.home.clone(),
        waited: deadline.waited(),
    };
    // A thread that nobody waits for would change the dumpable attribute after it was given back.
    if deadline.passed() {
        return Err(too_late());
    }
    let who = Who {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        euid,
    };
    let slot = Arc::new(Mutex::new(None));
    let answer = Arc::clone(&slot);
    let job = move || {
        let result = who.become_them().and_then(|()| work());
        // The caller may have stopped waiting: the answer then ends with this slot.
        *lock(&answer) = Some(result);
    };
    if !run(Box::new(job), deadline, meanwhile)? {
        return Err(too_late());
    }
    // A thread that panicked has left no answer.
    let answer = lock(&slot).take();
    answer.unwrap_or(Err(Error::ActingDied))
}

/// Runs a job that changes the ids of its thread; whether it is over by the deadline.
fn run(
    job: Box<dyn FnOnce() + Send>,
    deadline: Deadline,
    meanwhile: &mut dyn FnMut(),
) -> Result<bool> {
    let _dumpable = Dumpable::keep();
    let failed = |NoThread { doing, source }| Error::Acting { doing, source };
    aside::run(job, deadline, meanwhile).map_err(failed)
}

/// A thread that changes its fsuid takes from the whole process the attribute
/// that lets it dump core and be traced (prctl(2), PR_SET_DUMPABLE). It is the
/// host's to say. The user gains nothing by it: whoever traces a process needs
/// its real, effective and saved uid, and those stay root's.
///
/// Several calls may be under way in one process: the first to come notes the
/// host's value, the last to go gives it back.
struct Dumpable;

/// How many calls are under way, and what the host had before the first of them.
static KEPT: Mutex<(usize, Option<i32>)> = Mutex::new((0, None));

impl Dumpable {
    fn keep() -> Self {
        let mut kept = lock(&KEPT);
        if kept.0 == 0 {
            kept.1 = sys::dumpable().ok();
        }
        kept.0 += 1;
        Self
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut kept = lock(&KEPT);
        kept.0 -= 1;
        let changed = |before: &i32| sys::dumpable().is_ok_and(|now| now != *before);
        if let Some(before) = kept.1.filter(|before| kept.0 == 0 && changed(before)) {
            // The host runs on all the same if it can not be given back.
            let _ = sys::set_dumpable(before);
        }
    }
}

struct Who {
    uid: u32,
    gid: u32,
    groups: Vec<u32>,
    euid: u32,
}

impl Who {
    fn become_them(&self) -> Result<()> {
        let failed = |source| Error::Acting {
            doing: "take on the user's ids",
            source,
        };
        if self.euid == 0 {
            sys::become_user_for_files(self.uid, self.gid, &self.groups).map_err(failed)
        } else if self.euid == self.uid {
            Ok(())
        } else {
            Err(failed(std::io::Error::from_raw_os_error(libc::EPERM)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::mpsc;
    use std::time::{Duration, Instant};

    use nix::sys::signal::SigSet;

    fn me() -> (User, u32) {
        let uid = nix::unistd::geteuid().as_raw();
        let gid = nix::unistd::getegid().as_raw();
        let user = User {
            name: "me".into(),
            uid,
            gid,
            groups: vec![gid],
            home: PathBuf::from("/h"),
        };
        (user, uid)
    }

    fn soon() -> Deadline {
        Deadline::after(Duration::from_secs(5))
    }

    #[test]
    fn the_work_is_done_with_every_signal_blocked_and_no_capability() {
        let (user, euid) = me();
        let text = as_user(&user, euid, soon(), || {
            Ok(std::fs::read_to_string("/proc/thread-self/status").unwrap())
        })
        .unwrap();
        let field = |key: &str| {
            text.lines()
                .find(|l| l.starts_with(key))
                .unwrap()
                .to_owned()
        };
        // SIGKILL, SIGSTOP and the two signals of the C library can not be blocked.
        assert_eq!(field("SigBlk:"), "SigBlk:\tfffffffe7ffbfeff");
        if euid == 0 {
            assert!(field("CapEff:").ends_with("0000000000000000"));
        }
    }

    #[test]
    fn the_caller_keeps_its_signal_mask_and_threads() {
        let (user, euid) = me();
        let mask = SigSet::thread_get_mask().unwrap();
        as_user(&user, euid, soon(), || Ok(())).unwrap();
        assert_eq!(SigSet::thread_get_mask().unwrap(), mask);
    }

    /// Waits until no other test of this process is acting.
    fn dumpable_now() -> i32 {
        for _ in 0..5000 {
            // Nobody begins while it is locked.
            let kept = lock(&KEPT);
            if kept.0 == 0 {
                return sys::dumpable().unwrap();
            }
            drop(kept);
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("others are acting all the time");
    }

    #[test]
    fn the_process_stays_as_dumpable_as_it_was_however_many_act_at_once() {
        let (user, euid) = me();
        let before = dumpable_now();
        let other = User {
            uid: 4321,
            gid: 4321,
            ..user
        };
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| {
                    for _ in 0..50 {
                        let _ = as_user(&other, euid, soon(), || Ok(()));
                    }
                });
            }
        });
        assert_eq!(dumpable_now(), before);
    }

    #[test]
    fn a_home_that_does_not_answer_costs_the_deadline() {
        let (user, euid) = me();
        let costs_no_more = || {
            let started = Instant::now();
            let deadline = Deadline::after(Duration::from_millis(50));
            let result = as_user(&user, euid, deadline, || {
                std::thread::sleep(Duration::from_secs(60));
                Ok(())
            });
            assert!(
                matches!(result, Err(Error::HomeTimeout { .. })),
                "{result:?}"
            );
            started.elapsed() < Duration::from_secs(1)
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| costs_no_more()));
    }

    #[test]
    fn a_panic_in_the_work_is_an_error_for_the_caller_at_once() {
        let (user, euid) = me();
        let is_at_once = || {
            let started = Instant::now();
            let result: Result<()> = as_user(&user, euid, soon(), || panic!("on purpose"));
            assert!(matches!(result, Err(Error::ActingDied)), "{result:?}");
            started.elapsed() < Duration::from_secs(2)
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| is_at_once()));
    }

    /// Says when it is dropped, and takes its time for it.
    struct Slow(Arc<AtomicBool>);

    impl Drop for Slow {
        fn drop(&mut self) {
            std::thread::sleep(Duration::from_millis(50));
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn what_the_work_had_is_gone_when_there_is_an_answer() {
        let (mut user, euid) = me();
        let works: [fn() -> Result<()>; 3] = [
            || Ok(()),
            || Err(Error::ActingDied),
            || panic!("on purpose"),
        ];
        for work in works {
            let is_gone = Arc::new(AtomicBool::new(false));
            let had = Slow(Arc::clone(&is_gone));
            let _ = as_user(&user, euid, soon(), move || {
                let _had = had;
                work()
            });
            assert!(is_gone.load(Ordering::SeqCst));
        }
        user.uid = euid + 4321;
        let is_gone = Arc::new(AtomicBool::new(false));
        let had = Slow(Arc::clone(&is_gone));
        let _ = as_user(&user, 4320, soon(), move || {
            drop(had);
            Ok(())
        });
        assert!(is_gone.load(Ordering::SeqCst));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_dropped_by_the_thread() {
        let (user, euid) = me();
        let is_dropped_by_it = || {
            let [has_begun, is_gone] = [(), ()].map(|()| Arc::new(AtomicBool::new(false)));
            let (begins, answer) = (Arc::clone(&has_begun), Slow(Arc::clone(&is_gone)));
            let (go, may_go) = mpsc::channel();
            let deadline = Deadline::after(Duration::from_millis(20));
            let result = as_user(&user, euid, deadline, move || {
                begins.store(true, Ordering::SeqCst);
                let _ = may_go.recv_timeout(Duration::from_secs(30));
                Ok(answer)
            });
            assert!(matches!(result, Err(Error::HomeTimeout { .. })));
            // Where the deadline passed before there was a thread, there never is one.
            if is_gone.load(Ordering::SeqCst) && !has_begun.load(Ordering::SeqCst) {
                return false;
            }
            assert!(!is_gone.load(Ordering::SeqCst));
            go.send(()).unwrap();
            for _ in 0..500 {
                if is_gone.load(Ordering::SeqCst) {
                    return true;
                }
                std::thread::sleep(Duration::from_millis(10));
            }
            panic!("the answer is still there");
        };
        // Others may hold up one of three.
        assert!((0..3).any(|_| is_dropped_by_it()));
    }

    #[test]
    fn another_user_needs_root() {
        let (mut user, euid) = me();
        user.uid = euid + 4321;
        let result = as_user(&user, 4320, soon(), || Ok(()));
        assert!(matches!(result, Err(Error::Acting { .. })), "{result:?}");
    }
}
