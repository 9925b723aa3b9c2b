//! What the documents point at: tests, files, headings.

use std::fs;

use crate::{document, documents, quoted, root, rows, sources};

#[test]
fn every_test_that_the_threat_model_names_is_there() {
    let mut code = String::new();
    for dir in ["src", "tests/ring2", "tests/ring3"] {
        sources(&root(dir), true, &mut code);
    }
    let model = document("docs/THREAT-MODEL.md");
    let rows = rows(&model, "invariant");
    assert_eq!(rows.len(), 8);
    for cells in rows {
        let names: Vec<&str> = quoted(&cells[2]).collect();
        assert!(names.len() >= 3, "{cells:?}");
        for name in names {
            let is_there =
                code.contains(&format!("\"{name}\"")) || code.contains(&format!("fn {name}()"));
            assert!(is_there, "{name}");
        }
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
