//! The built module as a file.

use std::path::PathBuf;

use pam_idtoken_tests::build_dir;
use pam_idtoken_tests::command::must;

use crate::Test::{self, Files};

pub(crate) const TESTS: &[Test] = &[
    Files("nothing is exported but the entry points of PAM", exports),
    Files("the module loads with every symbol resolved", loads),
    Files(
        "the module needs no library but those of the C library, gcc and PAM",
        needs,
    ),
    Files("the module is never unloaded", nodelete),
    Files("the module is at most 1 MiB", size),
    Files("idtokenctl does not link libpam", tool_without_pam),
    Files(
        "no RSA and no elliptic curve is in the module",
        no_other_crypto,
    ),
];

fn module() -> PathBuf {
    build_dir().join("libpam_idtoken.so")
}

fn exports() {
    let symbols = must("nm", &["-D", "--defined-only", module().to_str().unwrap()]).stdout;
    let mut names: Vec<&str> = symbols
        .lines()
        .map(|line| line.split_whitespace().last().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "pam_sm_acct_mgmt",
            "pam_sm_authenticate",
            "pam_sm_chauthtok",
            "pam_sm_close_session",
            "pam_sm_open_session",
            "pam_sm_setcred",
        ]
    );
}

fn loads() {
    let path = std::ffi::CString::new(module().to_str().unwrap()).unwrap();
    // SAFETY: loading runs no code but the module's own, which has no constructors.
    let handle = unsafe { libc::dlopen(path.as_ptr(), libc::RTLD_NOW) };
    assert!(!handle.is_null());
    let name = c"pam_sm_open_session";
    // SAFETY: the handle is live.
    assert!(!unsafe { libc::dlsym(handle, name.as_ptr()) }.is_null());
}

fn dynamic(file: &std::path::Path) -> String {
    must("readelf", &["-dW", file.to_str().unwrap()]).stdout
}

fn needs() {
    let text = dynamic(&module());
    for line in text.lines().filter(|line| line.contains("(NEEDED)")) {
        let known = ["libpam.so.0", "libgcc_s.so.1", "libc.so.6", "ld-linux"];
        assert!(known.iter().any(|name| line.contains(name)), "{line}");
    }
}

fn nodelete() {
    let text = dynamic(&module());
    let flags = text.lines().find(|line| line.contains("FLAGS_1")).unwrap();
    assert!(
        flags.contains("NODELETE") && flags.contains("NOW"),
        "{flags}"
    );
}

fn size() {
    let size = std::fs::metadata(module()).unwrap().len();
    assert!(size <= 1024 * 1024, "{size} bytes");
}

fn tool_without_pam() {
    assert!(!dynamic(&build_dir().join("idtokenctl")).contains("libpam"));
}

fn no_other_crypto() {
    let lock = include_str!("../../Cargo.lock");
    for name in [
        "ring",
        "aws-lc-rs",
        "openssl-sys",
        "rsa",
        "p256",
        "p384",
        "ed25519-dalek",
    ] {
        assert!(!lock.contains(&format!("name = \"{name}\"\n")), "{name}");
    }
}
