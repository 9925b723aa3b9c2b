//! What the documents tell an administrator to write into files.

use std::path::Path;

use pam_idtoken_tests::documents::kind::{Kind, Piece, pieces};
use pam_idtoken_tests::documents::passages;
use pam_idtoken_tests::host::Step::{Close, End, Open, Sh};
use pam_idtoken_tests::host::{Lab, Who};
use session::config::Config;

use crate::Test::{self, Files, Root};
use crate::{PAM_SUCCESS, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Files(
        "every configuration and every key in the documents can be used",
        configurations,
    ),
    Root(
        "every line for pam.d in the documents is loaded by libpam and understood",
        lines_for_pam,
    ),
];

fn found(kind: Kind) -> Vec<Piece> {
    let pieces = passages().iter().flat_map(pieces).collect::<Vec<_>>();
    let found = pieces.into_iter().filter(|piece| piece.kind == Some(kind));
    found.collect()
}

fn configurations() {
    let found = found(Kind::Toml);
    assert!(found.len() > 40, "{}", found.len());
    for piece in found {
        let read = Config::parse(&piece.text, Path::new(&piece.passage.document));
        if let Err(error) = read {
            panic!("{}: {error}: {}", piece.passage.place(), piece.text);
        }
    }
}

fn lines_for_pam() {
    let found = found(Kind::Pam);
    assert!(found.len() >= 6, "{}", found.len());
    let lab = Lab::new(Who::Root);
    for piece in found {
        let place = format!("{}: {}", piece.passage.place(), piece.text);
        lab.service("test", &(service_line(&lab, &piece.text) + "\n"));
        let look = Sh(format!("ls {}", lab.tokens_d().display()));
        let seen = lab.run(&[Open(0), look, Close, End { silent: false }]);
        assert_eq!(seen.codes("open"), [PAM_SUCCESS], "{place}");
        assert_eq!(seen.codes("close"), [PAM_SUCCESS], "{place}");
        assert!(seen.answers.shell[0].starts_with("0-session-"), "{place}");
        let words = ["token opened", "token closed"];
        assert!(
            seen.log.len() == 2 && (0..2).all(|n| seen.log[n].contains(words[n])),
            "{place}: {:#?}",
            seen.log
        );
        nothing_is_left(&lab);
    }
}

/// The line with the lab's module in place of the host's, and the lab's file in place of another;
/// arguments alone become a line.
fn service_line(lab: &Lab, text: &str) -> String {
    const MODULE: &str = "pam_idtoken.so";
    let (control, arguments) = text.split_once(MODULE).unwrap_or(("", text));
    let control = if control.is_empty() {
        "session required "
    } else {
        control
    };
    let arguments = arguments.split(' ');
    let arguments: Vec<&str> = arguments
        .filter(|word| !word.starts_with("config=/"))
        .collect();
    format!("{control}{}", lab.module(&arguments.join(" ")))
}
