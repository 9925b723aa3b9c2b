//! Words that must not get into a log.

/// A JSON Web Token of ours is longer than this.
const SHORTEST: usize = 60;
/// How every such token begins: `{"`, in base64url.
const BEGINNING: &str = "eyJ";
/// So much of a token that was cut off says enough.
const CUT_OFF: usize = 16;

/// The text with `[token]` in place of whatever looks like a JSON Web Token
/// (RFC 7519): three words of base64url with dots between them, or the
/// beginning of such.
pub fn redacted(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        result.push_str(if is_token(word) { "[token]" } else { word });
        let between = after.find(is_of_token).unwrap_or(after.len());
        let (between, after) = after.split_at(between);
        result.push_str(between);
        rest = after;
    }
    result
}

fn is_of_token(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}

fn is_token(word: &str) -> bool {
    let has_three_parts = word.matches('.').count() >= 2;
    let begins = word
        .find(BEGINNING)
        .is_some_and(|start| word.len() - start > CUT_OFF);
    begins || (has_three_parts && word.len() > SHORTEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_token_is_left_out_wherever_it_stands() {
        let token = format!(
            "eyJhbGciOiJIUzI1NiJ9.{}.{}",
            "a".repeat(90),
            "-_".repeat(20)
        );
        for (text, wanted) in [
            (token.clone(), "[token]"),
            (format!("got {token}\n"), "got [token]\n"),
            (format!("{{\"t\":\"{token}\"}}"), "{\"t\":\"[token]\"}"),
            (format!("t={token},{token}"), "t=[token],[token]"),
            (format!("cut off: {}", &token[..40]), "cut off: [token]"),
            (token.replace("eyJ", "abc"), "[token]"),
            (format!("é{token}é"), "é[token]é"),
        ] {
            assert_eq!(redacted(&text), wanted);
        }
    }

    #[test]
    fn other_words_stay() {
        let text = "Not defined: X\n\u{1}cm.lab.test:9618 /etc/condor/config.d/00-a.b eyJ";
        assert_eq!(redacted(text), text);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_no_token_survives(
            before in "\\PC{0,20}", after in "\\PC{0,20}", claims in "[A-Za-z0-9_-]{60,99}",
        ) {
            let token = format!("eyJhbGciOiJIUzI1NiJ9.{claims}.sig");
            let result = redacted(&format!("{before}{token}{after}"));
            prop_assert!(!result.contains(&claims), "{}", result);
        }
    }
}
