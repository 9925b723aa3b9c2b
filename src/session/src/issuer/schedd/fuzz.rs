//! The door for fuzzing: what condor_token_fetch printed, without running it.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use idtoken::Kid;
use zeroize::Zeroizing;

use super::Schedd;
use crate::child::{Said, redact::redacted};
use crate::error::Result;
use crate::issuer::Request;
use crate::record::Minted;

/// What a token is taken for that a program printed which ended with `status`, as wait(2) gives it.
pub fn take(
    schedd: &Schedd,
    (stdout, stderr, status): (&[u8], &[u8], i32),
    kid: Option<&Kid>,
    request: Request<'_>,
) -> Result<(Zeroizing<String>, Minted)> {
    let said = Said {
        status: ExitStatus::from_raw(status),
        stdout: Zeroizing::new(stdout.to_vec()),
        stderr: redacted(&String::from_utf8_lossy(stderr)),
    };
    schedd.take(&said, kid, request)
}
