//! `pam_idtoken.so`: PAM in, session calls out.
//!
//! The module belongs in session stacks. In others it answers `PAM_IGNORE`: it
//! neither lets anybody in nor keeps anybody out. In a session stack it answers
//! `PAM_SUCCESS` whatever happens, since a stack of nothing but `PAM_IGNORE`
//! refuses the login; the one exception is `on_failure = "deny"`, by the
//! administrator's own wish.
//!
//! A panic ends here. It must neither unwind into C nor take the host down, nor
//! print on the host's stderr, which may be the user's connection.

// What pam_hooks! makes is documented by pam_sm_open_session(3) and its like.
#![allow(missing_docs)]

mod handle;
mod module;

use std::ffi::CStr;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Once;

use pam::constants::{PamFlag, PamResultCode};
use pam::module::{PamHandle, PamHooks};
use pam::pam_hooks;
use session::log::{Line, Log, Syslog};
use session::sys::WipingAllocator;

/// Whatever a library copied of a key or a token is wiped when it is freed. It
/// serves this module alone: the host keeps its own allocator.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator;

struct Module;

pam_hooks!(Module);

impl PamHooks for Module {
    fn sm_open_session(pam: &mut PamHandle, args: Vec<&CStr>, flags: PamFlag) -> PamResultCode {
        guarded(|| module::open(pam, &args, flags))
    }

    fn sm_close_session(pam: &mut PamHandle, args: Vec<&CStr>, _flags: PamFlag) -> PamResultCode {
        guarded(|| module::close(pam, &args))
    }

    // The other four stay as the trait has them: PAM_IGNORE.
}

/// Runs a hook; after a panic the login goes on.
fn guarded(hook: impl FnOnce() -> PamResultCode) -> PamResultCode {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        // The hook of this module's own std; the host's, if it is Rust too, is another.
        std::panic::set_hook(Box::new(|panic| {
            let place = panic
                .location()
                .map(ToString::to_string)
                .unwrap_or_default();
            // Not the message: nobody knows what a message holds.
            let line = Line::new("a defect in pam_idtoken; please report it").field("at", place);
            Syslog::new("pam_idtoken", false).error(&line);
        }));
    });
    catch_unwind(AssertUnwindSafe(hook)).unwrap_or_else(|payload| {
        // Dropping a payload may panic once more.
        std::mem::forget(payload);
        PamResultCode::PAM_SUCCESS
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here_and_the_login_goes_on() {
        let code = guarded(|| panic!("on purpose"));
        assert!(code == PamResultCode::PAM_SUCCESS);
        let code = guarded(|| PamResultCode::PAM_SESSION_ERR);
        assert!(code == PamResultCode::PAM_SESSION_ERR);
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_ends_here_too() {
        struct Trap;
        impl Drop for Trap {
            fn drop(&mut self) {
                panic!("once more");
            }
        }
        let code = guarded(|| std::panic::panic_any(Trap));
        assert!(code == PamResultCode::PAM_SUCCESS);
    }
}
