//! Asking a program of the system, as root and with nothing of this process's environment.
//!
//! systemctl is not to be asked from a process namespace of its own, as HTCondor's commands are:
//! systemd does not answer whom it can not find. So timeout(1) is the bound here.

use std::process::{Command, Stdio};

const TIMEOUT: &str = "/usr/bin/timeout";
/// How long a program of the system may take, in seconds; nobody waits at a login for it.
const PATIENCE: &str = "5";
/// The exit code of timeout(1) when time was up.
const TIME_IS_UP: i32 = 124;

/// What it prints, or why there is no answer.
pub(super) fn ask(path: &str, args: &[&str]) -> Result<String, String> {
    let said = Command::new(TIMEOUT)
        .args(["--kill-after=1", PATIENCE, path])
        .args(args)
        .env_clear()
        .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .output()
        .map_err(|error| format!("could not run {TIMEOUT}: {error}"))?;
    if said.status.success() {
        return Ok(String::from_utf8_lossy(&said.stdout).into_owned());
    }
    if said.status.code() == Some(TIME_IS_UP) {
        return Err(format!("{path} did not end within {PATIENCE} s"));
    }
    let stderr = String::from_utf8_lossy(&said.stderr);
    let mut lines = stderr.lines().map(str::trim);
    let first = lines.find(|line| !line.is_empty()).unwrap_or("nothing");
    Err(format!(
        "{path} ended with {} and said: {first}",
        said.status
    ))
}

#[cfg(test)]
mod tests {
    use super::ask;

    #[test]
    fn an_answer_is_handed_on_and_so_is_the_reason_for_none() {
        assert_eq!(ask("/bin/echo", &["a b"]).unwrap(), "a b\n");
        let failed = ask("/bin/sh", &["-c", "echo oops >&2; exit 7"]);
        let why = "/bin/sh ended with exit status: 7 and said: oops";
        assert_eq!(failed.unwrap_err(), why);
        assert!(
            ask("/no/such/program", &[])
                .unwrap_err()
                .contains("No such file")
        );
        // Nothing of this process's environment gets through.
        assert_eq!(ask("/usr/bin/env", &[]).unwrap().lines().count(), 2);
    }
}
