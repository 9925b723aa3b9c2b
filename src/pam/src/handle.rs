//! What the module asks of the PAM handle, without the pointers.

#![allow(unsafe_code)]

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::sync::Mutex;

use pam::constants::{PAM_TEXT_INFO, PamResultCode};
use pam::conv::Conv;
use pam::items::{RHost, Service, User};
use pam::module::PamHandle;
use session::close::Session;
use session::name::SessionId;

/// The name of our data in the handle; nobody else stores anything by it.
const DATA: &str = "pam_idtoken_session";

/// What became of the session that was opened with a handle: none if it got no
/// token or has closed, so that its close takes no other session's token away.
///
/// Dropping it frees memory and does nothing else: libpam drops it in forked
/// children too. A token is deleted by `pam_sm_close_session` alone.
type Slot = RefCell<Option<Kept>>;

/// The sessions whose data is in some handle of this process: a close without
/// data ends none of them.
static KEPT: Mutex<Vec<SessionId>> = Mutex::new(Vec::new());

/// A session whose data is in a handle.
struct Kept(Session);

impl Kept {
    fn new(session: Session) -> Self {
        if let Ok(mut kept) = KEPT.lock() {
            kept.push(session.record().session);
        }
        Self(session)
    }
}

impl Drop for Kept {
    fn drop(&mut self) {
        // In a forked child the lock may be held for ever, by a thread that is not there.
        if let Ok(mut kept) = KEPT.try_lock() {
            kept.retain(|kept| *kept != self.0.record().session);
        }
    }
}

/// Whether the data of a session is in some handle of this process.
pub(crate) fn is_kept(session: SessionId) -> bool {
    KEPT.lock().is_ok_and(|kept| kept.contains(&session))
}

/// What a handle knows.
pub(crate) enum Known {
    /// A session that is open.
    Open(Box<Session>),
    /// That nothing is open: the session got no token, or has closed.
    Nothing,
    /// Nothing at all: another process, or another handle, opened the session.
    Unknown,
}

/// `PAM_SERVICE`, or nothing if the host set none.
pub(crate) fn service(pam: &PamHandle) -> String {
    pam.get_item::<Service<'_>>()
        .ok()
        .flatten()
        .map_or_else(String::new, |item| text(item.0))
}

/// `PAM_USER`, as bytes that are text; none if the host set none or it is not UTF-8.
///
/// It is taken as it is: asking for a name is not the business of a session.
pub(crate) fn user(pam: &PamHandle) -> Option<String> {
    let user = pam.get_item::<User<'_>>().ok().flatten()?;
    user.0.to_str().ok().map(str::to_owned)
}

/// `PAM_RHOST`.
pub(crate) fn remote_host(pam: &PamHandle) -> Option<String> {
    let host = pam.get_item::<RHost<'_>>().ok().flatten()?;
    Some(text(host.0)).filter(|host| !host.is_empty())
}

// Of security/pam_modules.h; the bindings have neither.
unsafe extern "C" {
    fn pam_getenv(pamh: *mut c_void, name: *const c_char) -> *const c_char;
    fn pam_putenv(pamh: *mut c_void, name_value: *const c_char) -> c_int;
}

/// So many methods of SSH are looked at, and no longer names.
const METHODS: usize = 16;
const METHOD_LENGTH: usize = 64;

/// The methods of SSH by which the user proved who they are: the first word of each
/// line of `SSH_AUTH_INFO_0`, which sshd puts into the PAM environment (sshd_config(5),
/// ExposeAuthInfo, has the format).
pub(crate) fn auth_methods(pam: &PamHandle) -> Vec<String> {
    // SAFETY: the handle is libpam's own and the name is a C string.
    let value = unsafe { pam_getenv(pointer(pam), c"SSH_AUTH_INFO_0".as_ptr()) };
    if value.is_null() {
        return Vec::new();
    }
    // SAFETY: what pam_getenv(3) gives back is a C string until the environment changes, and
    // nothing changes it here.
    let value = text(unsafe { CStr::from_ptr(value) });
    let words = value
        .lines()
        .filter_map(|line| line.split_whitespace().next());
    let words = words.filter(|word| word.len() <= METHOD_LENGTH);
    words.take(METHODS).map(str::to_owned).collect()
}

/// Sets a variable in the environment of the session, or removes it; false if libpam
/// does not take it.
pub(crate) fn set_variable(pam: &PamHandle, name: &str, value: Option<&str>) -> bool {
    let setting = match value {
        Some(value) => format!("{name}={value}"),
        None => name.to_owned(),
    };
    let Ok(setting) = CString::new(setting) else {
        return false;
    };
    // SAFETY: the handle is libpam's own; pam_putenv(3) copies the string.
    let code = unsafe { pam_putenv(pointer(pam), setting.as_ptr()) };
    code == PamResultCode::PAM_SUCCESS as c_int
}

fn pointer(pam: &PamHandle) -> *mut c_void {
    std::ptr::from_ref(pam).cast_mut().cast()
}

/// Writes one line on the user's terminal, if the host has a way to.
pub(crate) fn tell(pam: &PamHandle, message: &str) {
    if let Ok(Some(conversation)) = pam.get_item::<Conv<'_>>() {
        // A host that shows nothing is no reason to fail.
        let _ = conversation.send(PAM_TEXT_INFO, message);
    }
}

/// What this handle knows of its session.
pub(crate) fn known(pam: &PamHandle) -> Known {
    match slot(pam).map(RefCell::try_borrow) {
        Some(Ok(kept)) => kept
            .as_ref()
            .map_or(Known::Nothing, |kept| Known::Open(Box::new(kept.0.clone()))),
        // Somebody is changing it: not ours to guess.
        Some(Err(_)) => Known::Nothing,
        None => Known::Unknown,
    }
}

/// Keeps the session in the handle, or that there is none; false if libpam has
/// no memory for it.
pub(crate) fn keep(pam: &mut PamHandle, session: Option<Session>) -> bool {
    if let Some(mut kept) = slot(pam).and_then(|slot| slot.try_borrow_mut().ok()) {
        *kept = session.map(Kept::new);
        return true;
    }
    let slot = Slot::new(session.map(Kept::new));
    pam.set_data(DATA, Box::new(slot)).is_ok()
}

fn slot(pam: &PamHandle) -> Option<&Slot> {
    // SAFETY: only `keep` stores anything by this name, and it stores a `Slot`. The module is
    // never unloaded (-z nodelete), so one build of it owns the type for the life of the host.
    unsafe { pam.get_data::<Slot>(DATA) }.ok()
}

fn text(item: &CStr) -> String {
    item.to_string_lossy().into_owned()
}
