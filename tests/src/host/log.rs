//! The log daemon of a scratch host.

use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, channel};

/// A log daemon: it reads all the time, since the queue of a socket is short.
pub(super) struct Daemon {
    path: PathBuf,
    lines: Mutex<Receiver<String>>,
}

/// What the tests send themselves to know that everything before it was read.
const MARK: &str = "the tests have seen all";

impl Daemon {
    pub(super) fn start(path: PathBuf) -> Self {
        let socket = UnixDatagram::bind(&path).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 65536];
            // Ends when the lab does, with its next line or with the tests.
            while let Ok(size) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..size]).into_owned();
                if sender.send(text).is_err() {
                    break;
                }
            }
        });
        Self {
            path,
            lines: Mutex::new(lines),
        }
    }

    pub(super) fn read(&self) -> Vec<String> {
        // One reader at a time: the mark is for whoever sent it.
        let lines = self.lines.lock().unwrap();
        UnixDatagram::unbound()
            .unwrap()
            .send_to(MARK.as_bytes(), &self.path)
            .unwrap();
        std::iter::from_fn(|| lines.recv().ok())
            .take_while(|line| line != MARK)
            .collect()
    }
}
