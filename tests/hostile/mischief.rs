//! Something that an attacker's program does beside sessions, and counts.

use std::io::{BufRead, BufReader};
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Something that the attacker does until it is stopped.
pub(crate) struct Mischief {
    child: Child,
    /// The last number that it said.
    count: Arc<AtomicUsize>,
    reader: Option<std::thread::JoinHandle<String>>,
}

impl Mischief {
    /// Waits until it has begun.
    #[track_caller]
    pub(crate) fn of(mut child: Child) -> Self {
        let mut said = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        said.read_line(&mut line).unwrap();
        let count = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&count);
        let reader = std::thread::spawn(move || {
            let mut last = String::new();
            for line in said.lines().map_while(Result::ok) {
                counted.store(line.parse().unwrap_or(0), Ordering::SeqCst);
                last = line;
            }
            last
        });
        let mischief = Self {
            child,
            count,
            reader: Some(reader),
        };
        assert_eq!(line.trim(), "begun");
        mischief
    }

    /// Whether it has not done so much yet; it may not have ended before.
    #[track_caller]
    pub(crate) fn goes_on_below(&mut self, count: usize) -> bool {
        let is_below = self.count.load(Ordering::SeqCst) < count;
        let ended = self.child.try_wait().unwrap();
        assert!(!is_below || ended.is_none(), "it ended early: {ended:?}");
        is_below
    }

    /// Ends it; how often it did what it does.
    #[track_caller]
    pub(crate) fn stop(mut self) -> usize {
        drop(self.child.stdin.take());
        let ended = self.child.wait().unwrap();
        let last = self.reader.take().unwrap().join().unwrap();
        assert!(ended.success(), "it ended early: {ended}, {last:?}");
        last.parse().unwrap()
    }
}

impl Drop for Mischief {
    fn drop(&mut self) {
        drop(self.child.stdin.take());
        let _ = self.child.wait();
    }
}
