//! What is said on the scratch host and goes to its log, to be looked through for secrets.

use std::fs;
use std::os::unix::net::UnixListener;

use super::{Lab, allow};
use crate::host::log::Daemon;
use crate::secrets::Said;

impl Lab {
    /// Notes what was said, and the keys and the tokens of a schedd that there are now.
    pub(super) fn note<T: AsRef<[u8]>>(&self, texts: impl IntoIterator<Item = T>) {
        let mut said = self.said.lock().unwrap();
        said.note_keys(&self.path("keys"));
        said.note_tokens(&fs::read_to_string(self.path("tmp/answer")).unwrap_or_default());
        texts.into_iter().for_each(|text| said.note(text));
    }

    /// All that was said and written so far, with the log, the records and the audit.
    pub fn said(&self) -> std::sync::MutexGuard<'_, Said> {
        self.read_log();
        self.note([""; 0]);
        let mut said = self.said.lock().unwrap();
        for name in ["state", "run"] {
            said.note_files(&self.path(name));
        }
        said
    }

    /// The module's lines that nobody has read yet; libpam has its own.
    pub fn read_log(&self) -> Vec<String> {
        let lines = self.log.as_ref().map(Daemon::read).unwrap_or_default();
        self.note(&lines);
        let module = |text: &String| {
            let (level, rest) = text.split_at(text.find('>')? + 1);
            let start = rest.find("pam_idtoken(")?;
            assert!(!rest.trim_end().contains('\n'), "{text:?}");
            Some(format!("{level} {}", rest[start..].trim_end()))
        };
        lines.iter().filter_map(module).collect()
    }

    /// A log daemon that listens on a stream and hangs up at once, until the lab goes.
    pub fn with_log_that_hangs_up(&mut self) {
        self.without_log();
        let socket = UnixListener::bind(self.path("dev/log")).unwrap();
        allow(&self.path("dev/log"), 0o666);
        std::thread::spawn(move || socket.incoming().for_each(drop));
    }

    /// Takes /dev/log away.
    pub fn without_log(&mut self) {
        self.log = None;
        let _ = fs::remove_file(self.path("dev/log"));
    }
}

impl Drop for Lab {
    /// No test leaves a secret in what was said or written, whatever it is about.
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let places = self.said().conclude();
        assert!(places.is_empty(), "secrets were told: {places:#?}");
    }
}
