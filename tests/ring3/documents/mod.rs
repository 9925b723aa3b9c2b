//! The documents, done as they say, on pools of their own.
//!
//! What is in them is found by [`pam_idtoken_tests::documents`], so a command that is new in a
//! document is run here without another word.

mod meant;
mod newcomer;
mod walk;

use crate::OwnTest;

pub(crate) const TESTS: &[OwnTest] = &[
    (
        "who does what the README says has tokens on a bare host in less than five minutes",
        newcomer::follows_the_readme,
    ),
    (
        "every command in the documents works on a host that was installed as the README says",
        walk::every_command,
    ),
];
