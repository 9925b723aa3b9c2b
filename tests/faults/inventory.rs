//! Everything that is on the scratch host of tokens, records and what lies beside them.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use pam_idtoken_tests::host::Lab;

/// What there is, by path: kind, mode and owner, and what is in it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Inventory(BTreeMap<String, String>);

impl Inventory {
    /// Of a scratch host.
    pub(crate) fn of(lab: &Lab) -> Self {
        let mut all = Self::default();
        for top in ["home", "state", "run"] {
            all.add(&lab.path(""), &lab.path(top));
        }
        all
    }

    fn add(&mut self, root: &Path, path: &Path) {
        let Ok(stat) = fs::symlink_metadata(path) else {
            return;
        };
        let name = path.strip_prefix(root).unwrap().display().to_string();
        if is_kept(&name) {
            return;
        }
        let mut what = format!("{:o} {}", stat.mode(), stat.uid());
        if stat.is_file() {
            what += " ";
            what += &String::from_utf8_lossy(&fs::read(path).unwrap_or_default());
        }
        if !(stat.is_dir() && STAY.contains(&name.as_str())) {
            self.0.insert(name, what);
        }
        if stat.is_dir() {
            for entry in fs::read_dir(path).into_iter().flatten().flatten() {
                self.add(root, &entry.path());
            }
        }
    }

    /// The token files there are.
    pub(crate) fn tokens(&self) -> Vec<&str> {
        let names = self.0.keys().map(String::as_str);
        names.filter(|name| name.contains("/0-session-")).collect()
    }

    /// What is not as it was, in a line each; with `by_name` only what there is counts.
    pub(crate) fn since(&self, before: &Self, by_name: bool) -> Vec<String> {
        let gone = before.0.keys().filter(|name| !self.0.contains_key(*name));
        let gone = gone.map(|name| format!("gone: {name}"));
        let new = self.0.keys().filter(|name| !before.0.contains_key(*name));
        let new = new.map(|name| format!("left: {name}"));
        let changed = self.0.iter().filter(|(name, what)| {
            let then = before.0.get(*name);
            !by_name && then.is_some_and(|then| then != *what)
        });
        let changed = changed.map(|(name, _)| format!("changed: {name}"));
        gone.chain(new).chain(changed).collect()
    }
}

/// Directories that a first session makes, and that stay.
const STAY: [&str; 4] = [
    "run/tokens",
    "home/alice/.condor",
    "home/alice/.condor/tokens.d",
    "state/sessions/54321",
];

/// What outlives sessions: the audit, what HTCondor said, and what was complained of once.
fn is_kept(name: &str) -> bool {
    if name == "run/complaints" {
        return true;
    }
    let (file, kind) = name.rsplit_once('.').unwrap_or_default();
    match kind {
        "jsonl" => file.starts_with("state/audit"),
        "kept" | "lock" => file.starts_with("run/htcondor-"),
        _ => false,
    }
}
