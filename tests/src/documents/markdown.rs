//! Markdown: blocks of code, and code in sentences and tables.

use pulldown_cmark::{Event, Options, Parser, Tag, TagEnd};

use super::Passage;

/// What is in a document.
pub(super) fn read(document: &str, text: &str) -> Vec<Passage> {
    let mut reader = Reader {
        document,
        text,
        ..Reader::default()
    };
    for (event, range) in Parser::new_ext(text, Options::ENABLE_TABLES).into_offset_iter() {
        reader.take(event, range.start);
    }
    reader.passages
}

#[derive(Default)]
struct Reader<'a> {
    document: &'a str,
    text: &'a str,
    passages: Vec<Passage>,
    /// The headings that hold here, each with its level.
    headings: Vec<(usize, String)>,
    in_heading: bool,
    /// The heads of the table's columns, and the cell that is read now.
    heads: Vec<String>,
    in_head: bool,
    in_cell: bool,
    column: usize,
    paragraph: String,
    /// Where the block that is read now begins, and what it has so far.
    block: Option<(usize, String)>,
}

impl Reader<'_> {
    fn take(&mut self, event: Event<'_>, at: usize) {
        match event {
            Event::Start(tag) => self.start(&tag, at),
            Event::End(tag) => self.end(tag),
            Event::Code(code) => {
                self.word(&format!("`{code}`"));
                if code.trim().contains([' ', '\n']) {
                    self.found(at, false, &code.replace('\n', " "));
                }
            }
            Event::Text(text) => match &mut self.block {
                Some((_, block)) => *block += &text,
                None => self.word(&text),
            },
            Event::SoftBreak => self.word(" "),
            _ => {}
        }
    }

    fn start(&mut self, tag: &Tag<'_>, at: usize) {
        match tag {
            Tag::Heading { level, .. } => {
                let level = *level as usize;
                self.headings.retain(|(above, _)| *above < level);
                self.headings.push((level, String::new()));
                self.in_heading = true;
            }
            Tag::CodeBlock(_) => self.block = Some((at, String::new())),
            Tag::Paragraph | Tag::Item => self.paragraph.clear(),
            Tag::Table(_) => self.heads.clear(),
            Tag::TableHead => self.in_head = true,
            Tag::TableRow => self.column = 0,
            Tag::TableCell => {
                self.in_cell = true;
                if self.in_head {
                    self.heads.push(String::new());
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => self.in_heading = false,
            TagEnd::CodeBlock => {
                if let Some((at, block)) = self.block.take() {
                    self.found(at, true, block.trim_end());
                }
            }
            TagEnd::TableHead => self.in_head = false,
            TagEnd::TableCell => {
                self.in_cell = false;
                self.column += 1;
            }
            _ => {}
        }
    }

    /// Something that is read as prose.
    fn word(&mut self, word: &str) {
        let heading = self.headings.last_mut().filter(|_| self.in_heading);
        let head = self.heads.last_mut().filter(|_| self.in_head);
        if let Some((_, heading)) = heading {
            *heading += word;
        } else if let Some(head) = head {
            *head += word;
        } else {
            self.paragraph += word;
        }
    }

    fn found(&mut self, at: usize, is_block: bool, text: &str) {
        let headings = self.headings.iter().map(|(_, heading)| heading.clone());
        let column = self.heads.get(self.column).filter(|_| self.in_cell);
        self.passages.push(Passage {
            document: self.document.to_owned(),
            line: self.text[..at].matches('\n').count() + 1,
            headings: headings.collect(),
            column: column.cloned(),
            before: self.paragraph.clone(),
            is_block,
            text: text.to_owned(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "# Top\n\n## Below\n\nAt the end of `/etc/x`, or\n`two\nwords`:\n\n    one\n\
                        \n        two\n\n- in a list\n\n      three\n\n| head | `message` |\n| --- | --- |\n\
                        | a | `b c` |\n\n## Next\n\n```sh\nfour\n```\n";

    fn found() -> Vec<Passage> {
        read("x.md", TEXT)
    }

    #[test]
    fn blocks_are_found_wherever_they_are() {
        let blocks = found().into_iter().filter(|found| found.is_block);
        let blocks: Vec<(usize, String)> = blocks.map(|found| (found.line, found.text)).collect();
        let texts: Vec<&str> = blocks.iter().map(|(_, text)| text.as_str()).collect();
        assert_eq!(texts, ["one\n\n    two", "three", "four"]);
        assert_eq!(blocks[0].0, 9);
    }

    #[test]
    fn a_block_knows_its_headings_and_the_paragraph_in_front_of_it() {
        let found = found();
        let one = found.iter().find(|found| found.is_block).unwrap();
        assert_eq!(one.headings, ["Top", "Below"]);
        assert_eq!(one.before, "At the end of `/etc/x`, or `two words`:");
        assert_eq!(found.last().unwrap().headings, ["Top", "Next"]);
    }

    #[test]
    fn code_of_several_words_is_found_with_its_column() {
        let in_prose = found().into_iter().filter(|found| !found.is_block);
        let in_prose: Vec<_> = in_prose.map(|found| (found.text, found.column)).collect();
        let column = Some("`message`".to_owned());
        assert_eq!(
            in_prose,
            [("two words".to_owned(), None), ("b c".to_owned(), column)]
        );
    }
}
