//! Acting as the user: work in a home, done by a thread that has become them.
//!
//! The host's own thread never changes who it is, and the thread made here
//! never becomes root again: it takes on the user's groups and ids towards file
//! systems, drops every capability, does its work and ends. A home that does
//! not answer costs the caller its deadline and nothing else: the thread is
//! then left to the kernel (the module is linked with `-z nodelete`, so its
//! code stays mapped).

use std::sync::mpsc::{RecvTimeoutError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::Builder;

use nix::sys::signal::{SigSet, SigmaskHow};

use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::sys;
use crate::user::User;

/// Enough for the work of [`crate::home`], with room to spare.
const STACK: usize = 256 * 1024;

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
    let who = Who {
        uid: user.uid,
        gid: user.gid,
        groups: user.groups.clone(),
        euid,
    };
    let (answer, answered) = sync_channel(1);
    let dumpable = Dumpable::keep();
    let thread = {
        // The thread inherits the mask: no signal of the host is ever handled on it.
        let _mask = BlockedSignals::new()?;
        Builder::new()
            .stack_size(STACK)
            .spawn(move || {
                let result = who.become_them().and_then(|()| work());
                // The caller may have stopped waiting.
                let _ = answer.send(result);
            })
            .map_err(|source| Error::Acting {
                doing: "make a thread",
                source,
            })?
    };
    let answer = answered.recv_timeout(deadline.remaining());
    drop(dumpable);
    match answer {
        Ok(result) => {
            // The answer is the thread's last act; joining it gives the host back its thread
            // count.
            let _ = thread.join();
            result
        }
        Err(RecvTimeoutError::Timeout) => Err(Error::HomeTimeout {
            home: user.home.clone(),
            waited: deadline.waited(),
        }),
        Err(RecvTimeoutError::Disconnected) => {
            let _ = thread.join();
            Err(Error::ActingDied)
        }
    }
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
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.0 == 0 {
            kept.1 = sys::dumpable().ok();
        }
        kept.0 += 1;
        Self
    }
}

impl Drop for Dumpable {
    fn drop(&mut self) {
        let mut kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
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

/// Every signal blocked for the calling thread, until dropped.
struct BlockedSignals(SigSet);

impl BlockedSignals {
    fn new() -> Result<Self> {
        SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .map(Self)
            .map_err(|errno| Error::Acting {
                doing: "block signals",
                source: errno.into(),
            })
    }
}

impl Drop for BlockedSignals {
    fn drop(&mut self) {
        // Setting a mask that was in force a moment ago does not fail.
        let _ = self.0.thread_set_mask();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;
    use std::time::{Duration, Instant};

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
            if KEPT.lock().unwrap().0 == 0 {
                break;
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        sys::dumpable().unwrap()
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
        let started = Instant::now();
        let deadline = Deadline::after(Duration::from_millis(50));
        let result = as_user(&user, euid, deadline, || {
            std::thread::sleep(Duration::from_secs(2));
            Ok(())
        });
        assert!(
            matches!(result, Err(Error::HomeTimeout { .. })),
            "{result:?}"
        );
        assert!(started.elapsed() < Duration::from_secs(1));
    }

    #[test]
    fn a_panic_in_the_work_is_an_error_for_the_caller() {
        let (user, euid) = me();
        let result: Result<()> = as_user(&user, euid, soon(), || panic!("on purpose"));
        assert!(matches!(result, Err(Error::ActingDied)), "{result:?}");
    }

    #[test]
    fn another_user_needs_root() {
        let (mut user, euid) = me();
        user.uid = euid + 4321;
        let result = as_user(&user, 4320, soon(), || Ok(()));
        assert!(matches!(result, Err(Error::Acting { .. })), "{result:?}");
    }
}
