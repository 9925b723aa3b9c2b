//! A schedd that signs: a program in the place of condor_token_fetch that knows a token for each user.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pam_idtoken_tests::host::Lab;

use crate::tokens::{Asked, now};

/// Has the schedd sign for everybody, with the key of the lab.
pub(crate) fn sign(lab: &Lab) {
    for user in ["alice", "bob"] {
        let token = Asked::default().subject(user).expires(now() + 3600);
        let path = lab.path("tmp").join(format!("answer-{user}"));
        fs::write(&path, token.token(lab) + "\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    }
}

/// Makes the program; its path.
pub(crate) fn program(lab: &Lab) -> String {
    sign(lab);
    let answers = lab.path("tmp/answer").display().to_string();
    let text = format!("read -r token <{answers}-$USER\necho $token");
    lab.script("condor_token_fetch", &text)
        .display()
        .to_string()
}
