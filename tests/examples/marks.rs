//! A PAM module that says where another one begins and ends, to whoever watches the host's system
//! calls: libpam makes some of its own before and after all modules of a stack.

use std::ffi::{CStr, c_char, c_int, c_void};

use pam_idtoken_tests::faults::mark;

const PAM_SUCCESS: c_int = 0;

/// # Safety
///
/// Called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_open_session(
    _handle: *mut c_void,
    _flags: c_int,
    count: c_int,
    args: *const *const c_char,
) -> c_int {
    // SAFETY: libpam gives as many strings of C as it says.
    let begins = count > 0 && unsafe { CStr::from_ptr(*args) } == c"begin";
    mark(begins);
    PAM_SUCCESS
}

/// # Safety
///
/// Called by libpam.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn pam_sm_close_session(
    handle: *mut c_void,
    flags: c_int,
    count: c_int,
    args: *const *const c_char,
) -> c_int {
    // SAFETY: as libpam called this one.
    unsafe { pam_sm_open_session(handle, flags, count, args) }
}
