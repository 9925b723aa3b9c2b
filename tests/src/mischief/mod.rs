//! What a user does to the module when they mean it: the program `hostile-user`, which the tests in
//! `tests/hostile` run as that user.
//!
//! What goes on for a while does so until the end of its standard input; it then prints how often it
//! did what it does.

mod crowd;
mod hold;
mod poke;
mod race;
mod react;

use std::ffi::OsString;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

/// The program's main: what to do, and where.
///
/// # Panics
///
/// If it is not told what to do, or can not begin.
pub fn main(mut args: impl Iterator<Item = OsString>) {
    let what = args.next().expect("what to do");
    let paths: Vec<PathBuf> = args.map(PathBuf::from).collect();
    let count = match what.to_str().unwrap() {
        "exchange" => race::exchange(&paths),
        "displace" => race::displace(&paths[0], &paths[1]),
        "react" => react::react(&paths[0], &paths[1]),
        "hold" => hold::hold(&paths),
        "poke" => poke::poke(),
        "crowd" => crowd::crowd(&paths[0], paths[1].to_str().unwrap()),
        "allow" => crowd::allow(&paths[0], paths[1].to_str().unwrap()),
        "whiteout" => crowd::whiteout(&paths[0]),
        other => panic!("{other}: no such mischief"),
    };
    println!("{count}");
}

/// Says that it has begun.
fn begun() {
    say("begun");
}

/// Prints a line at once: that it has begun, or how far it is.
fn say(line: &str) {
    use std::io::Write;
    println!("{line}");
    std::io::stdout().flush().unwrap();
}

/// Whether the standard input has ended; waits for that so many milliseconds.
fn is_over(patience: u8) -> bool {
    let stdin = std::io::stdin();
    let mut fds = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
    matches!(poll(&mut fds, PollTimeout::from(patience)), Ok(n) if n > 0)
}

/// Whether a file is a token of the module's, or one that is being written.
fn is_token(name: &[u8]) -> bool {
    name.strip_prefix(b".")
        .unwrap_or(name)
        .starts_with(b"0-session-")
}
