//! The real libpam, through a declaration of our own: the module's bindings
//! must not be tested with themselves.

use std::collections::BTreeMap;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::null_mut;

/// pam_end's flag of a forked child.
pub const PAM_DATA_SILENT: c_int = 0x4000_0000;
const PAM_USER: c_int = 2;
const PAM_RHOST: c_int = 4;
const PAM_SUCCESS: c_int = 0;

#[repr(C)]
struct Message {
    style: c_int,
    text: *const c_char,
}

#[repr(C)]
struct Response {
    text: *mut c_char,
    code: c_int,
}

#[repr(C)]
struct Conversation {
    function: extern "C" fn(c_int, *const *const Message, *mut *mut Response, *mut c_void) -> c_int,
    data: *mut c_void,
}

#[link(name = "pam")]
unsafe extern "C" {
    fn pam_start_confdir(
        service: *const c_char,
        user: *const c_char,
        conversation: *const Conversation,
        confdir: *const c_char,
        handle: *mut *mut c_void,
    ) -> c_int;
    fn pam_end(handle: *mut c_void, status: c_int) -> c_int;
    fn pam_set_item(handle: *mut c_void, item: c_int, value: *const c_void) -> c_int;
    fn pam_open_session(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_close_session(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_setcred(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_authenticate(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_acct_mgmt(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_chauthtok(handle: *mut c_void, flags: c_int) -> c_int;
    fn pam_putenv(handle: *mut c_void, setting: *const c_char) -> c_int;
    fn pam_getenvlist(handle: *mut c_void) -> *mut *mut c_char;
}

/// A PAM transaction.
pub struct Transaction {
    handle: *mut c_void,
    // libpam copies the structure, but not what its data points to.
    #[allow(clippy::box_collection)]
    messages: Box<Vec<(c_int, String)>>,
}

macro_rules! call {
    ($(#[$doc:meta])* $name:ident, $function:ident) => {
        $(#[$doc])*
        pub fn $name(&mut self, flags: c_int) -> c_int {
            // SAFETY: the handle is live until `end`.
            unsafe { $function(self.handle, flags) }
        }
    };
}

impl Transaction {
    /// pam_start_confdir; the error is its return code.
    pub fn start(
        confdir: &str,
        service: &str,
        user: &str,
        rhost: Option<&str>,
    ) -> Result<Self, c_int> {
        // In a box of its own: its address is what the conversation knows.
        #[allow(clippy::box_collection)]
        let mut messages: Box<Vec<(c_int, String)>> = Box::default();
        let conversation = Conversation {
            function: converse,
            data: (&raw mut *messages).cast(),
        };
        let text = |text: &str| CString::new(text).unwrap();
        let mut handle = null_mut();
        // SAFETY: all pointers live during the call, and `messages` as long as the handle.
        let code = unsafe {
            pam_start_confdir(
                text(service).as_ptr(),
                text(user).as_ptr(),
                &raw const conversation,
                text(confdir).as_ptr(),
                &raw mut handle,
            )
        };
        if code != PAM_SUCCESS {
            return Err(code);
        }
        if let Some(rhost) = rhost {
            // SAFETY: libpam copies the string.
            unsafe { pam_set_item(handle, PAM_RHOST, text(rhost).as_ptr().cast()) };
        }
        Ok(Self { handle, messages })
    }

    call!(
        /// pam_open_session.
        open, pam_open_session
    );
    call!(
        /// pam_close_session.
        close, pam_close_session
    );
    call!(
        /// pam_setcred.
        set_cred, pam_setcred
    );
    call!(
        /// pam_authenticate.
        authenticate, pam_authenticate
    );
    call!(
        /// pam_acct_mgmt.
        account, pam_acct_mgmt
    );
    call!(
        /// pam_chauthtok.
        password, pam_chauthtok
    );

    /// The PAM environment.
    pub fn environment(&self) -> BTreeMap<String, String> {
        let mut environment = BTreeMap::new();
        // SAFETY: libpam returns a list that ends with a null pointer, or nothing; it and its
        // strings are ours to free.
        unsafe {
            let list = pam_getenvlist(self.handle);
            let mut next = list;
            while !next.is_null() && !(*next).is_null() {
                let entry = CStr::from_ptr(*next).to_string_lossy().into_owned();
                let (key, value) = entry.split_once('=').unwrap();
                environment.insert(key.to_owned(), value.to_owned());
                libc::free((*next).cast());
                next = next.add(1);
            }
            libc::free(list.cast());
        }
        environment
    }

    /// pam_putenv.
    pub fn put_env(&mut self, setting: &str) {
        let setting = CString::new(setting).unwrap();
        // SAFETY: the handle is live, and libpam copies the string.
        let code = unsafe { pam_putenv(self.handle, setting.as_ptr()) };
        assert_eq!(code, PAM_SUCCESS);
    }

    /// Sets PAM_USER.
    pub fn set_user(&mut self, name: &[u8]) {
        let name = CString::new(name).unwrap();
        // SAFETY: the handle is live, and libpam copies the string.
        let code = unsafe { pam_set_item(self.handle, PAM_USER, name.as_ptr().cast()) };
        assert_eq!(code, PAM_SUCCESS);
    }

    /// What the conversation was given so far.
    pub fn messages(&self) -> &[(c_int, String)] {
        &self.messages
    }

    /// pam_end.
    pub fn end(self, status: c_int) -> c_int {
        // SAFETY: the handle is live and not used afterwards.
        unsafe { pam_end(self.handle, status) }
    }
}

extern "C" fn converse(
    count: c_int,
    messages: *const *const Message,
    responses: *mut *mut Response,
    data: *mut c_void,
) -> c_int {
    let count = usize::try_from(count).unwrap();
    // SAFETY: libpam gives `count` messages and frees the responses; `data` is the vector of
    // `Transaction::start`.
    unsafe {
        let kept = &mut *data.cast::<Vec<(c_int, String)>>();
        for i in 0..count {
            let message = &**messages.add(i);
            let text = CStr::from_ptr(message.text).to_string_lossy().into_owned();
            kept.push((message.style, text));
        }
        *responses = libc::calloc(count, size_of::<Response>()).cast();
        for i in 0..count {
            let response = &mut *(*responses).add(i);
            response.text = null_mut();
            response.code = 0;
        }
    }
    PAM_SUCCESS
}
