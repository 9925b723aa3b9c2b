//! A signing key file. The key is the one that HTCondor derives, read from a file as from memory,
//! and whatever is refused, no byte of it is in the error.

#![no_main]

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;

use idtoken::{KeyError, KeyForm, Kid, SigningKey};
use libfuzzer_sys::fuzz_target;
use pam_idtoken_fuzz::{derived, fingerprint};

/// A file in memory, one per process, and whose it is.
static FILE: LazyLock<(PathBuf, u32)> = LazyLock::new(|| {
    let path = PathBuf::from(format!("/dev/shm/pam_idtoken-fuzz-{}", std::process::id()));
    fs::write(&path, "").unwrap();
    let owner = fs::metadata(&path).unwrap().uid();
    (path, owner)
});

const MODES: [u32; 8] = [0o600, 0o400, 0o600, 0o700, 0o640, 0o604, 0o4600, 0o601];

fuzz_target!(|input: &[u8]| {
    let Some((&how, raw)) = input.split_first() else {
        return;
    };
    let form = if how & 1 == 0 {
        KeyForm::Plain
    } else {
        KeyForm::Password
    };
    let kid: Kid = if how & 2 == 0 {
        Kid::pool()
    } else {
        "site".parse().unwrap()
    };
    let wanted = derived(raw, kid.is_pool(), form == KeyForm::Password);
    judge(
        SigningKey::from_bytes(&kid, raw, form),
        wanted,
        Path::new(kid.as_str()),
    );

    let (path, owner) = &*FILE;
    let mode = MODES[usize::from(how >> 2 & 7)];
    fs::write(path, raw).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let is_refused = mode & 0o077 != 0 || raw.len() > 64 * 1024;
    let read = SigningKey::read(path, &kid, form, *owner);
    judge(read, wanted.filter(|_| !is_refused), path);
    if how & 0x20 != 0 {
        judge(SigningKey::read(path, &kid, form, owner + 1), None, path);
    }
    fs::set_permissions(path, Permissions::from_mode(0o600)).unwrap();
});

/// The key has to be this one, or the error one that says nothing of it.
fn judge(read: Result<SigningKey, KeyError>, wanted: Option<[u8; 32]>, path: &Path) {
    match (read, wanted) {
        (Ok(key), Some(wanted)) => {
            assert_eq!(key.fingerprint(), fingerprint(&wanted));
            let shown = format!("{key:?}");
            assert_eq!(shown, format!("SigningKey {{ kid: {:?}, .. }}", key.kid()));
        }
        (Err(error), None) => {
            assert_eq!(error.path, path);
            // What is wrong is told in the same words whatever the bytes are.
            let fault = format!("{:?}", error.fault);
            let known = ["Empty", "TooLarge", "Mode(", "Owner {"];
            assert!(known.iter().any(|word| fault.starts_with(word)), "{fault}");
            assert!(fault.len() < 60 && error.to_string().is_ascii());
        }
        (Ok(_), None) => panic!("a key of nothing, or of a file that is not private, was taken"),
        (Err(error), Some(_)) => panic!("{error}"),
    }
}
