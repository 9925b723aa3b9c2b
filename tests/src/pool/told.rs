//! What a host of a pool has told when it goes: its whole journal, records, audit, and whatever idtokenctl
//! said. No key and no token is in it, whatever the tests were about.

use std::fs;
use std::path::PathBuf;

use super::Host;

/// Where HTCondor's daemons have their keys, and the module its records and what it keeps.
const KEYS: &str = "etc/condor/passwords.d";
const KEPT: [&str; 2] = ["var/lib/pam_idtoken", "run/pam_idtoken"];

impl Host {
    /// Notes the keys that the host has now: tests replace them.
    pub(super) fn note_keys(&self) {
        self.said.lock().unwrap().note_keys(&self.inside(KEYS));
    }

    /// Notes what a program said, if idtokenctl had a part in it.
    pub(super) fn note(&self, args: &[&str], said: &str) {
        if args.iter().any(|arg| arg.contains("idtokenctl")) {
            self.note_keys();
            self.said.lock().unwrap().note(said);
        }
    }

    /// Looks through all of it, and says which secrets are there and where.
    pub(super) fn secrets_told(&self) -> Vec<String> {
        self.note_keys();
        let journal = self.run(&["journalctl", "-q", "--no-pager", "-a", "-o", "cat"]);
        let mut said = self.said.lock().unwrap();
        said.note(journal.stdout);
        for directory in KEPT {
            said.note_files(&self.inside(directory));
        }
        said.note(fs::read(self.layer.join("console")).unwrap_or_default());
        let places = said.conclude().into_iter();
        places
            .map(|place| format!("{}: {place}", self.name()))
            .collect()
    }

    /// A path of the host's, seen from outside.
    fn inside(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root", self.leader())).join(path)
    }
}
