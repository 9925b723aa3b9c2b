//! The stack below a function that had a key in its hands.
//!
//! Libraries have what they compute with in locals, and move it from one to the next; a local that is
//! no more stays in memory until another one is put there, in a core, too. So what touches a key runs
//! below [`wiped`], and keys themselves are in boxes, which are moved without their bytes.

use std::hint::black_box;

/// Far more than deriving, signing and verifying take, in bytes.
const DEPTH: usize = 16 * 1024;

/// Does the work, and wipes the stack that it has used.
pub(crate) fn wiped<T>(work: impl FnOnce() -> T) -> T {
    let result = below(work);
    wipe();
    result
}

/// A frame of its own, at the place that [`wipe`] has next.
#[inline(never)]
fn below<T>(work: impl FnOnce() -> T) -> T {
    work()
}

#[inline(never)]
fn wipe() {
    let mut space = [0_u8; DEPTH];
    black_box(&mut space);
}
