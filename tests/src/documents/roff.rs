//! Manual pages: examples, and what is in bold.

use super::Passage;

/// What is in a page.
pub(super) fn read(document: &str, text: &str) -> Vec<Passage> {
    let mut passages = Vec::new();
    let mut headings = Vec::new();
    let mut block: Option<Passage> = None;
    for (number, line) in text.lines().enumerate() {
        let passage = |is_block, text| Passage {
            document: document.to_owned(),
            line: number + 1,
            headings: Vec::clone(&headings),
            is_block,
            text,
            ..Passage::default()
        };
        match line.split_once(' ').unwrap_or((line, "")) {
            (".EX" | ".nf", _) => block = Some(passage(true, String::new())),
            (".EE" | ".fi", _) => passages.extend(block.take()),
            _ if block.is_some() => {
                if let Some(block) = &mut block {
                    block.text += &(plain(line) + "\n");
                }
            }
            (".SH", heading) => headings = vec![plain(heading)],
            (".SS", heading) => {
                headings.truncate(1);
                headings.push(plain(heading));
            }
            (".B", bold) if bold.contains(' ') => passages.push(passage(false, plain(bold))),
            _ => {}
        }
    }
    assert!(block.is_none(), "{document}: an example has no end");
    passages
}

/// What a reader sees.
fn plain(line: &str) -> String {
    let seen = [
        ("\\(dq", "\""),
        ("\\-", "-"),
        ("\\~", " "),
        ("\\fB", ""),
        ("\\fI", ""),
        ("\\fR", ""),
        ("\\fP", ""),
        ("\\e", "\\"),
    ];
    let text = line.to_owned();
    seen.iter()
        .fold(text, |text, (roff, seen)| text.replace(roff, seen))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_and_what_is_in_bold_are_found() {
        let page =
            ".SH EXAMPLES\n.B one word\\-two\nand\n.B alone\n.PP\n.EX\na \\-\\-b\n[c]\n.EE\n";
        let found = read("x.8", page);
        let texts: Vec<&str> = found.iter().map(|found| found.text.as_str()).collect();
        assert_eq!(texts, ["one word-two", "a --b\n[c]\n"]);
        assert_eq!((found[1].line, found[1].is_block), (6, true));
        assert_eq!(found[1].headings, ["EXAMPLES"]);
    }
}
