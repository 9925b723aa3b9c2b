//! `make demo`: one session through the real libpam, with nothing else there.
//!
//! No HTCondor and no root: the module is loaded as an ordinary user, who has a
//! scratch home, a scratch key and a scratch configuration. Run by root it
//! plays a user called alice, since root never gets a token.

use std::process::ExitCode;

use pam_idtoken_tests::host::Step::{Close, End, Open, Sh};
use pam_idtoken_tests::host::lab::tool;
use pam_idtoken_tests::host::{Lab, Outcome, Who};

fn main() -> ExitCode {
    let lab = Lab::new(Who::Alice);
    let dir = lab.tokens_d().display().to_string();
    let list = format!("ls -l {dir}");
    let verify = format!(
        "{} --config {} verify {dir}/0-session-*",
        tool().display(),
        lab.path("etc/config.toml").display()
    );
    let seen = lab.run(&[
        Open(0),
        Sh(list.clone()),
        Sh(verify),
        Close,
        Sh(list),
        End { silent: false },
    ]);
    show(&lab, &seen);
    if is_as_it_should_be(&lab, &seen) {
        println!("\nThe session had its token while it lived, and nothing is left of it.");
        ExitCode::SUCCESS
    } else {
        println!("\nThat is not as it should be: {:?}", seen.answers);
        ExitCode::FAILURE
    }
}

fn show(lab: &Lab, seen: &Outcome) {
    let [during, claims, after] = &seen.answers.shell[..] else {
        return;
    };
    let service = std::fs::read_to_string(lab.path("pam.d/test")).unwrap_or_default();
    let line = service
        .lines()
        .find(|line| line.starts_with("session"))
        .unwrap_or_default();
    println!("A PAM service with this line, and no HTCondor anywhere:\n");
    println!("    {line}\n");
    println!(
        "alice's session opens: pam_open_session says {}.",
        word(seen, "open")
    );
    println!("\n$ ls -l ~/.condor/tokens.d\n{}", during.trim_end());
    println!(
        "\n$ idtokenctl verify ~/.condor/tokens.d/0-session-*\n{}",
        claims.trim_end()
    );
    println!(
        "\nalice's session closes: pam_close_session says {}.",
        word(seen, "close")
    );
    println!("\n$ ls -l ~/.condor/tokens.d\n{}", after.trim_end());
}

fn word(seen: &Outcome, call: &str) -> String {
    match seen.codes(call).as_slice() {
        [0] => "PAM_SUCCESS".to_owned(),
        other => format!("{other:?}"),
    }
}

fn is_as_it_should_be(lab: &Lab, seen: &Outcome) -> bool {
    let [during, claims, after] = &seen.answers.shell[..] else {
        return false;
    };
    seen.codes("open") == [0]
        && seen.codes("close") == [0]
        && during.contains("-rw-------")
        && during.contains("0-session-")
        && claims.contains("line 1: valid")
        && claims.contains("sub   alice@lab.test")
        && !after.contains("0-session-")
        && lab.tokens().is_empty()
        && lab.records().is_empty()
}
