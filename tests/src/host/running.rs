//! A host that goes on while a test looks at what it did.

use std::fs;
use std::path::PathBuf;
use std::process::Child;

use super::lab::{Lab, Outcome};

/// A host whose session is open.
pub struct Running<'a> {
    pub(super) lab: &'a Lab,
    pub(super) child: Option<Child>,
    pub(super) output: PathBuf,
    pub(super) door: PathBuf,
}

impl Running<'_> {
    /// The id of the host.
    pub fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().id()
    }

    /// Closes the session and ends the host.
    pub fn end(mut self) -> Outcome {
        fs::remove_file(&self.door).unwrap();
        self.lab.finish(self.child.take().unwrap(), &self.output)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}
