//! Private stores of trials, which have no record.

use std::fs::File;

use super::*;
use crate::holder::is_running;
use crate::name::SessionId;
use crate::private;
use crate::testing::names;
use crate::trial::hold;
use crate::user::User;

/// Ends a trial as the kernel does it for a process that was killed. A child that another test
/// forked in the meantime has a copy of the file, so closing it would leave it locked for a moment.
fn end(lock: &File) {
    lock.unlock().unwrap();
}

#[test]
fn the_store_of_a_trial_stays_until_the_trial_is_killed() {
    let lab = Lab::in_memory();
    if lab.host.euid != 0 {
        // No store can be made for somebody who runs nothing, and that of who does stays anyway.
        return;
    }
    let user = User::lookup("games").unwrap();
    assert!(!is_running(user.uid).unwrap());
    let (run_dir, id) = (&lab.config.run_dir, SessionId::random().unwrap());
    let lock = hold(run_dir, id).unwrap();
    let store = private::make(run_dir, id, &user, 0).unwrap();
    assert_eq!(done(&lab), []);
    assert!(store.exists());
    end(&lock);
    assert_eq!(done(&lab), [What::Tidied]);
    assert!(!store.exists());
}

#[test]
fn the_lock_of_a_trial_that_was_killed_without_a_store_goes() {
    let lab = Lab::in_memory();
    let run_dir = &lab.config.run_dir;
    let locks = || {
        names(run_dir)
            .iter()
            .filter(|name| name.starts_with("trial-"))
            .count()
    };
    let [live, killed] = [(), ()].map(|()| hold(run_dir, SessionId::random().unwrap()).unwrap());
    end(&killed);
    assert_eq!((locks(), done(&lab)), (2, vec![]));
    assert_eq!(locks(), 1);
    end(&live);
    done(&lab);
    assert_eq!(locks(), 0);
}
