//! What rings 2 and 3, the demonstrations and the benchmark are made of.

pub mod bench;
pub mod clock;
pub mod command;
pub mod documents;
pub mod faults;
pub mod host;
pub mod mischief;
pub mod pool;
pub mod proof;
pub mod secrets;
pub mod signal;
pub mod squash;

use std::path::PathBuf;

/// Where the release build is: `IDTOKEN_BUILD_DIR`, or else `target/release`.
pub fn build_dir() -> PathBuf {
    std::env::var_os("IDTOKEN_BUILD_DIR").map_or_else(|| target().join("release"), PathBuf::from)
}

/// Where the programs of the tests are: `IDTOKEN_PROGRAMS_DIR`, or else where this one is.
pub fn programs_dir() -> PathBuf {
    if let Some(dir) = std::env::var_os("IDTOKEN_PROGRAMS_DIR") {
        return dir.into();
    }
    let mut dir = std::env::current_exe().unwrap();
    dir.pop();
    // Tests are beside what they were linked from.
    if dir.ends_with("deps") {
        dir.pop();
    }
    dir
}

/// Where `make deb` puts its package: `IDTOKEN_PACKAGES`, or else `target/packages`.
pub fn packages_dir() -> PathBuf {
    std::env::var_os("IDTOKEN_PACKAGES").map_or_else(|| target().join("packages"), PathBuf::from)
}

fn target() -> PathBuf {
    let workspace = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..");
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| workspace.join("target"))
}
