//! What there is outside of a user's reach, to be compared before and after an attack.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Files beyond this are known by their size and times alone.
const READ_LIMIT: u64 = 4 << 20;

/// How a file looked. The time of its last change of any kind can not be set back by anybody.
#[derive(Clone, PartialEq, Eq)]
struct Seen {
    mode: u32,
    owner: (u32, u32),
    size: u64,
    inode: u64,
    modified: (i64, i64),
    changed: (i64, i64),
    contents: u64,
}

impl fmt::Debug for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (uid, gid) = self.owner;
        write!(
            f,
            "{:o} {uid}:{gid} {} bytes, inode {}, modified {:?}, changed {:?}, contents {:x}",
            self.mode, self.size, self.inode, self.modified, self.changed, self.contents
        )
    }
}

impl Seen {
    fn of(path: &Path, stat: &Metadata, depth: Depth) -> Self {
        let mut hasher = DefaultHasher::new();
        if stat.is_symlink() {
            fs::read_link(path).ok().hash(&mut hasher);
        } else if stat.is_file() && depth == Depth::Contents && stat.size() <= READ_LIMIT {
            fs::read(path).ok().hash(&mut hasher);
        }
        let is_dir = stat.is_dir();
        // Of a name that another user has for it this file says nothing else.
        let changed = if stat.nlink() > 1 && !is_dir {
            (0, 0)
        } else {
            (stat.ctime(), stat.ctime_nsec())
        };
        Self {
            mode: stat.mode(),
            owner: (stat.uid(), stat.gid()),
            // That of a directory is up to its file system.
            size: if is_dir { 0 } else { stat.size() },
            inode: stat.ino(),
            modified: (stat.mtime(), stat.mtime_nsec()),
            changed,
            contents: hasher.finish(),
        }
    }

    /// What is replaced and put back is the same if its bytes are.
    fn by_contents(mut self) -> Self {
        self.size = 0;
        self.inode = 0;
        self.modified = (0, 0);
        self.changed = (0, 0);
        self
    }
}

/// How closely a tree is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    /// The bytes of files are compared, too.
    Contents,
    /// Owners, modes, sizes and times.
    Times,
}

/// What is to be looked at, and what not.
#[derive(Clone, Default)]
pub(crate) struct Trees {
    /// What all paths are below.
    pub(crate) root: PathBuf,
    pub(crate) roots: Vec<(&'static str, Depth)>,
    /// Paths that the attacker may change, with what is below them; a `*` at the end is any end.
    pub(crate) theirs: Vec<String>,
    /// Files that a test changes and puts back.
    pub(crate) put_back: Vec<&'static str>,
}

/// A look at some trees.
pub(crate) struct Manifest(BTreeMap<String, Seen>);

impl Manifest {
    pub(crate) fn take(trees: &Trees) -> Self {
        let mut seen = BTreeMap::new();
        for (root, depth) in &trees.roots {
            look(trees, root, *depth, &mut seen);
        }
        Self(seen)
    }

    /// What is different now, a line for each path.
    pub(crate) fn changes(&self, later: &Self) -> Vec<String> {
        let paths = self.0.keys().chain(later.0.keys());
        let mut paths: Vec<&String> = paths.collect();
        paths.sort();
        paths.dedup();
        let changes =
            paths
                .into_iter()
                .filter_map(|path| match (self.0.get(path), later.0.get(path)) {
                    (before, after) if before == after => None,
                    (before, after) => Some(format!("{path}: {before:?} became {after:?}")),
                });
        changes.collect()
    }
}

fn look(trees: &Trees, path: &str, depth: Depth, seen: &mut BTreeMap<String, Seen>) {
    if trees.is_theirs(path) {
        return;
    }
    let real = trees.root.join(path.trim_start_matches('/'));
    let Ok(stat) = fs::symlink_metadata(&real) else {
        return;
    };
    // A name that came and went beside them is not told from one that stayed away.
    let mut entry = Seen::of(&real, &stat, depth);
    if trees.put_back.contains(&path) {
        entry = entry.by_contents();
    }
    if stat.is_dir() && trees.is_beside_theirs(path) {
        entry.modified = (0, 0);
        entry.changed = (0, 0);
    }
    seen.insert(path.to_owned(), entry);
    if !stat.is_dir() || stat.file_type().is_char_device() {
        return;
    }
    let names = fs::read_dir(&real).into_iter().flatten().flatten();
    for name in names {
        let name = name.file_name().to_string_lossy().into_owned();
        look(trees, &format!("{path}/{name}"), depth, seen);
    }
}

impl Trees {
    fn is_theirs(&self, path: &str) -> bool {
        self.theirs
            .iter()
            .any(|theirs| match theirs.strip_suffix('*') {
                Some(start) => path.starts_with(start),
                None => theirs == path,
            })
    }

    /// Whether names in this directory come and go rightly.
    fn is_beside_theirs(&self, dir: &str) -> bool {
        let is_in = |path: &str| Path::new(path).parent() == Some(Path::new(dir));
        self.theirs.iter().any(|path| is_in(path)) || self.put_back.iter().any(|path| is_in(path))
    }
}
