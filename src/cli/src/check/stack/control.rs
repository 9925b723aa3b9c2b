//! The word in front of a module, as libpam reads it (pam.conf(5), and `_pam_parse_control` of
//! libpam/pam_handlers.c).

/// The results that libpam knows by name (`_pam_token_returns`).
const RESULTS: [&str; 33] = [
    "success",
    "open_err",
    "symbol_err",
    "service_err",
    "system_err",
    "buf_err",
    "perm_denied",
    "auth_err",
    "cred_insufficient",
    "authinfo_unavail",
    "user_unknown",
    "maxtries",
    "new_authtok_reqd",
    "acct_expired",
    "session_err",
    "cred_unavail",
    "cred_expired",
    "cred_err",
    "no_module_data",
    "conv_err",
    "authtok_err",
    "authtok_recover_err",
    "authtok_lock_busy",
    "authtok_disable_aging",
    "try_again",
    "ignore",
    "abort",
    "authtok_expired",
    "module_unknown",
    "bad_item",
    "conv_again",
    "incomplete",
    "default",
];

/// What follows on a result of a module.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// The next line.
    GoOn,
    /// The next line, and the session will be refused.
    Bad,
    Done,
    /// The session is refused at once.
    Die,
    Jump(usize),
}

/// What follows if the module of a line says `result`, such as `success` or `auth_err`.
pub(super) fn action(control: &str, result: &str) -> Action {
    if let Some(pairs) = control.strip_prefix('[') {
        let said = pairs
            .strip_suffix(']')
            .and_then(|pairs| in_brackets(pairs, result));
        // A result that nothing is said of is bad, and so is each if a word is not understood.
        return said.unwrap_or(Action::Bad);
    }
    let (control, succeeds) = (control.to_ascii_lowercase(), result == "success");
    match (control.as_str(), succeeds) {
        ("sufficient", true) => Action::Done,
        ("requisite", false) => Action::Die,
        ("required", false) => Action::Bad,
        _ => Action::GoOn,
    }
}

fn in_brackets(pairs: &str, wanted: &str) -> Option<Action> {
    let (mut of_it, mut of_others) = (None, None);
    // Blanks may stand on either side of the sign.
    let pairs = pairs.replace('=', " = ");
    let mut words = pairs.split_whitespace();
    while let Some(result) = words.next() {
        if !RESULTS.contains(&result) {
            return None;
        }
        let ("=", action) = (words.next()?, words.next()?) else {
            return None;
        };
        let action = match action {
            "ignore" | "ok" | "reset" => Action::GoOn,
            "bad" => Action::Bad,
            "die" => Action::Die,
            "done" => Action::Done,
            jump => Action::Jump(jump.parse().ok().filter(|count| *count > 0)?),
        };
        if result == wanted {
            of_it = Some(action);
        } else if result == "default" {
            of_others.get_or_insert(action);
        }
    }
    of_it.or(of_others)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_read_whatever_their_case_and_brackets_whatever_their_blanks() {
        for (control, result, expected) in [
            ("Sufficient", "success", Action::Done),
            ("REQUISITE", "auth_err", Action::Die),
            ("required", "auth_err", Action::Bad),
            ("optional", "auth_err", Action::GoOn),
            (
                "[ success = 1 default = ignore ]",
                "success",
                Action::Jump(1),
            ),
            ("[ success = 1 default = ignore ]", "auth_err", Action::GoOn),
            ("[success=ok default=done]", "perm_denied", Action::Done),
            ("[default=1 success=ok]", "success", Action::GoOn),
            ("[success=ok]", "auth_err", Action::Bad),
            ("[success=0]", "success", Action::Bad),
            ("[success=1 odd=1]", "success", Action::Bad),
            ("[success 1]", "success", Action::Bad),
        ] {
            assert_eq!(action(control, result), expected, "{control}");
        }
    }
}
