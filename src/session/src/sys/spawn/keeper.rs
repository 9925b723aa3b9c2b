//! The life of the two processes between clone and exec.
//!
//! Nothing here allocates, locks or panics, and every call is the kernel's own: another
//! thread of the host may have held any lock when its memory was copied.

use libc::{c_int, c_long, pid_t};

use super::calls::{
    await_signal, clone, close_from, default_signals, drop_capabilities, dup_to, hear_of_parent,
    keep_memory, kill_child, kill_children, outcome, plain, prctl, set_groups, set_ids, set_mask,
    take_any,
};
use super::{ASK, ENDED, Prepared, REPORT, REPORT_SIZE, Step};

/// So often a keeper looks for what is still there, and so long it waits between.
const ROUNDS: u32 = 5000;
const ROUND: c_long = 1_000_000;

type Done = Result<(), (Step, c_int)>;

impl Prepared<'_> {
    /// The keeper's life.
    pub(super) fn keep(&mut self) -> ! {
        let made = self
            .settle()
            .and_then(|()| clone(libc::SIGCHLD).map_err(|errno| (Step::Clone, errno)));
        match made {
            Ok(0) => self.become_program(),
            Ok(program) => self.watch(program),
            Err((step, errno)) => fail(step, errno),
        }
    }

    /// A session of its own, no signal handled, no descriptor but four.
    fn settle(&self) -> Done {
        plain(libc::SYS_setsid, [0; 3]).map_err(|errno| (Step::Session, errno))?;
        // The host's thread waits for the keeper: if it ends, the host has.
        let signal = if self.own_pids {
            libc::SIGKILL
        } else {
            prctl(libc::PR_SET_CHILD_SUBREAPER, 1).map_err(|errno| (Step::Attributes, errno))?;
            ASK as c_int
        };
        hear_of_parent(signal);
        default_signals();
        let [stdin, stdout, stderr] = self.streams;
        for (from, to) in [(stdin, 0), (stdout, 1), (stderr, 2)] {
            dup_to(from, to, 0).map_err(|errno| (Step::Streams, errno))?;
        }
        dup_to(self.report, REPORT, libc::O_CLOEXEC).map_err(|errno| (Step::Streams, errno))?;
        close_from(REPORT + 1);
        Ok(())
    }

    /// The program's life before it is the program.
    fn become_program(&mut self) -> ! {
        let (step, errno) = match self.change() {
            Ok(()) => (Step::Exec, self.exec()),
            Err(failed) => failed,
        };
        fail(step, errno)
    }

    fn change(&mut self) -> Done {
        // SAFETY: the path is a literal with its NUL.
        let result = unsafe { libc::syscall(libc::SYS_chdir, c"/".as_ptr()) };
        outcome(result).map_err(|errno| (Step::Directory, errno))?;
        let _ = plain(libc::SYS_umask, [0o077, 0, 0]);
        if let Some((uid, gid)) = self.ids {
            set_groups(&self.wanted, &mut self.kept).map_err(|errno| (Step::Groups, errno))?;
            set_ids(libc::SYS_setresgid, libc::SYS_getresgid, gid)
                .map_err(|errno| (Step::Gid, errno))?;
            set_ids(libc::SYS_setresuid, libc::SYS_getresuid, uid)
                .map_err(|errno| (Step::Uid, errno))?;
            if uid != 0 {
                drop_capabilities().map_err(|errno| (Step::Capabilities, errno))?;
                prctl(libc::PR_SET_NO_NEW_PRIVS, 1).map_err(|errno| (Step::Attributes, errno))?;
            }
        }
        // A change of ids takes these back, so they come after it.
        keep_memory().map_err(|errno| (Step::Attributes, errno))?;
        hear_of_parent(libc::SIGKILL);
        // The program keeps the mask, so it is emptied here, and from here on the user may end
        // this copy of the host with any signal; none of them finds a handler or leaves a core.
        set_mask(0)
            .map(drop)
            .map_err(|errno| (Step::Signals, errno))
    }

    /// Waits until the program has ended and reports it; whoever else ends is reaped on
    /// the way. Ends everything then, or when it is asked to.
    fn watch(&self, program: pid_t) -> ! {
        // A reader of the streams must see their end when the program closes them.
        for descriptor in 0..3 {
            let _ = plain(libc::SYS_close, [descriptor, 0, 0]);
        }
        let mut has_ended = false;
        loop {
            match reap(program, &mut has_ended) {
                _ if has_ended => break,
                Ok(()) => {}
                Err(errno) => fail(Step::Wait, errno),
            }
            let ask = ASK as c_int;
            if await_signal([libc::SIGCHLD, ask], None) == Ok(c_long::from(ask)) {
                break;
            }
        }
        if !self.own_pids {
            end_all(program, has_ended);
        }
        leave()
    }

    /// Returns only if it fails.
    fn exec(&self) -> c_int {
        // SAFETY: a C string and two lists of such that end with a null pointer, all of them live.
        let result =
            unsafe { libc::syscall(libc::SYS_execve, self.path.as_ptr(), self.args, self.env) };
        outcome(result).err().unwrap_or(libc::EINVAL)
    }
}

/// Takes from the kernel's table whoever has ended; reports the program and notes that
/// it has ended. Fails when nobody is left.
fn reap(program: pid_t, has_ended: &mut bool) -> Result<(), c_int> {
    loop {
        match take_any() {
            Ok((0, _)) => return Ok(()),
            Ok((pid, status)) if pid == c_long::from(program) => {
                report(ENDED, status);
                *has_ended = true;
            }
            Ok(_) | Err(libc::EINTR) => {}
            Err(errno) => return Err(errno),
        }
    }
}

/// Ends all descendants. One whose parent ends becomes a child, so when the kernel
/// knows of no child there is none.
fn end_all(program: pid_t, mut has_ended: bool) {
    if !has_ended {
        kill_child(c_long::from(program));
    }
    for _ in 0..ROUNDS {
        if reap(program, &mut has_ended).is_err() {
            return;
        }
        // Without the kernel's list, and without the right to signal them, the group is left.
        if !kill_children() {
            break;
        }
        let _ = await_signal([libc::SIGCHLD; 2], Some(ROUND));
    }
    // The keeper leads a group of its own and ends with it.
    let _ = plain(libc::SYS_kill, [0, c_long::from(libc::SIGKILL), 0]);
}

fn fail(step: Step, errno: c_int) -> ! {
    report(step as u32, errno);
    leave()
}

fn report(what: u32, value: c_int) {
    let report = (u64::from(what) << 32) | u64::from(value.cast_unsigned());
    let bytes: [u8; REPORT_SIZE] = report.to_ne_bytes();
    // SAFETY: the pointer and the length describe one live array; the kernel only reads it.
    unsafe { libc::syscall(libc::SYS_write, REPORT, bytes.as_ptr(), bytes.len()) };
}

/// Ends this process without any of the host's handlers.
fn leave() -> ! {
    loop {
        let _ = plain(libc::SYS_exit_group, [127, 0, 0]);
    }
}

#[cfg(test)]
mod tests;
