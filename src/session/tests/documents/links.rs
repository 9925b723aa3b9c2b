//! What the documents point at: tests, files, headings.

use std::fs;

use crate::{document, documents, quoted, root, rows, sources};

/// Everything that may have a test in it.
struct Tests {
    code: String,
    /// Of the tests that have a sentence for a name.
    sentences: String,
}

impl Tests {
    fn read() -> Self {
        let (mut code, mut sentences) = (String::new(), String::new());
        sources(&root("src"), true, &mut code);
        for entry in fs::read_dir(root("tests")).unwrap() {
            let path = entry.unwrap().path();
            if !path.is_dir() {
                continue;
            }
            sources(&path, true, &mut code);
            // What they are made of has tests with names of functions only.
            if !path.ends_with("src") {
                sources(&path, true, &mut sentences);
            }
        }
        Self { code, sentences }
    }

    /// Whether a test has this name: a sentence, or that of a function that is a test.
    fn have(&self, name: &str) -> bool {
        if name.contains(' ') {
            return self.sentences.contains(&format!("\"{name}\""));
        }
        let function = format!("fn {name}(");
        self.code.match_indices(&function).any(|(at, _)| {
            let attributes = self.code[..at]
                .rsplit(['}', ';'])
                .next()
                .unwrap_or_default();
            attributes.contains("#[test]")
        })
    }

    /// That each row of a table has tests in its last column, and that they are there.
    #[track_caller]
    fn are_in(&self, rows: &[Vec<String>], at_least: usize) {
        for cells in rows {
            let column = cells.iter().rfind(|cell| !cell.is_empty()).unwrap();
            let names: Vec<&str> = quoted(column).collect();
            assert!(names.len() >= at_least, "{cells:?}");
            for name in names {
                assert!(self.have(name), "no test is called {name:?}: {}", cells[0]);
            }
        }
    }
}

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let tests = Tests::read();
    let model = document("docs/THREAT-MODEL.md");
    let invariants = rows(&model, "invariant");
    assert_eq!(invariants.len(), 8);
    tests.are_in(&invariants, 3);
    let beside = model.split("\n\n").find(|text| text.starts_with("Beside"));
    let beside: Vec<&str> = quoted(beside.unwrap()).collect();
    assert!(beside.len() >= 3, "{beside:?}");
    assert!(beside.iter().all(|name| tests.have(name)), "{beside:?}");
}

#[test]
fn every_hole_of_another_module_is_named_once_and_has_its_tests() {
    let all = rows(&document("docs/CVES.md"), "CVE");
    assert!(all.len() >= 30, "{}", all.len());
    Tests::read().are_in(&all, 1);
    let mut ids: Vec<&str> = all
        .iter()
        .filter_map(|cells| cells[0].split(',').next())
        .collect();
    let is_id = |id: &&str| {
        let number = id.strip_prefix("CVE-").and_then(|id| id.split_once('-'));
        number.is_some_and(|(year, number)| {
            let digits = |text: &str| text.bytes().all(|b| b.is_ascii_digit());
            year.len() == 4 && digits(year) && number.len() >= 4 && digits(number)
        })
    };
    assert!(ids.iter().all(is_id), "{ids:?}");
    ids.sort_unstable();
    assert!(ids.windows(2).all(|two| two[0] != two[1]), "{ids:?}");
}

#[test]
fn a_test_that_is_not_there_is_found_out() {
    let tests = Tests::read();
    assert!(tests.have("a_test_that_is_not_there_is_found_out"));
    assert!(tests.have("root gets no token even if everything fails and failures deny"));
    // Neither a function that is no test nor a part of a name is one.
    for name in [
        "anchor",
        "whole",
        "root gets no token",
        "no test of this name",
    ] {
        assert!(!tests.have(name), "{name}");
    }
}

/// The anchor of a heading, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let heading = heading.trim_start_matches('#').trim().to_lowercase();
    let kept = heading
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().replace(' ', "-")
}

#[test]
fn every_link_in_the_documents_leads_somewhere() {
    let mut found = 0;
    for (path, text) in documents() {
        for part in text.split("](").skip(1) {
            let target = part.split(')').next().unwrap();
            if target.contains("://") {
                continue;
            }
            found += 1;
            let (file, wanted) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => path.clone(),
                file => path.parent().unwrap().join(file),
            };
            let there = fs::read_to_string(&file)
                .unwrap_or_else(|error| panic!("{}: {target}: {error}", path.display()));
            let mut headings = there.lines().filter(|line| line.starts_with('#'));
            let is_there = wanted.is_empty() || headings.any(|line| anchor(line) == wanted);
            assert!(is_there, "{}: {target}", path.display());
        }
    }
    assert!(found >= 20, "{found}");
}
