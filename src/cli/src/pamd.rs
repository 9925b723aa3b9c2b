//! The stacks of `/etc/pam.d`, read as libpam reads them (pam.conf(5)).

use std::fs;
use std::path::{Path, PathBuf};

/// Where the services' stacks are.
pub(crate) const PAM_D: &str = "/etc/pam.d";
/// The module.
pub(crate) const MODULE: &str = "pam_idtoken.so";

/// Deeper than any stack that libpam itself would load.
const DEPTH: usize = 16;

/// A line of the session stack.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Line {
    /// Where it stands, as in `/etc/pam.d/sshd:12`.
    pub(crate) place: String,
    /// `required`, `optional`, `[success=ok default=ignore]`.
    pub(crate) control: String,
    /// The module as it is written.
    pub(crate) module: String,
    /// Its arguments.
    pub(crate) arguments: Vec<String>,
    /// The substacks that it is part of, the outermost first, each by a number of its own.
    pub(crate) within: Vec<usize>,
}

impl Line {
    /// The file that it stands in.
    pub(crate) fn file(&self) -> &Path {
        let (file, _) = self.place.rsplit_once(':').unwrap_or((&self.place, ""));
        Path::new(file)
    }

    /// Whether it is this module, under any path.
    pub(crate) fn is(&self, module: &str) -> bool {
        Path::new(&self.module)
            .file_name()
            .is_some_and(|name| name == module)
    }
}

/// The session stack of a service, with everything that it includes in place; a substack is behind
/// the line that names it, as libpam has it.
///
/// The error says which file could not be read.
pub(crate) fn session_stack(dir: &Path, service: &str) -> Result<Vec<Line>, String> {
    let mut stack = Vec::new();
    read_into(&mut stack, dir, service, &[], DEPTH)?;
    Ok(stack)
}

/// The lines of whatever type that name the module, as they stand in the files of the directory:
/// the place and the type, such as `session`.
pub(crate) fn mentions(dir: &Path) -> Vec<(String, String)> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let mut paths: Vec<PathBuf> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    let mut found = Vec::new();
    for path in paths {
        let Ok(text) = fs::read_to_string(&path) else {
            continue;
        };
        for (number, line) in logical_lines(&text) {
            let words = split(&line);
            let is_module = |word: &String| Path::new(word).ends_with(MODULE);
            if words.len() >= 3 && is_module(&words[2]) {
                let kind = words[0].trim_start_matches('-').to_owned();
                found.push((format!("{}:{number}", path.display()), kind));
            }
        }
    }
    found
}

/// The line of the module in the session stack of a service; the first one counts.
pub(crate) fn module_line(dir: &Path, service: &str) -> Option<Line> {
    let stack = session_stack(dir, service).ok()?;
    stack.into_iter().find(|line| line.is(MODULE))
}

fn read_into(
    stack: &mut Vec<Line>,
    dir: &Path,
    name: &str,
    within: &[usize],
    depth: usize,
) -> Result<(), String> {
    let path = dir.join(name);
    if depth == 0 {
        return Err(format!(
            "{} is included too deeply; look for a loop",
            path.display()
        ));
    }
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("could not read {}: {error}", path.display()))?;
    for (number, line) in logical_lines(&text) {
        let words = split(&line);
        let mut words = words.iter().map(String::as_str);
        let Some(kind) = words.next() else { continue };
        if kind.eq_ignore_ascii_case("@include") {
            if let Some(name) = words.next() {
                read_into(stack, dir, name, within, depth - 1)?;
            }
            continue;
        }
        if !kind.trim_start_matches('-').eq_ignore_ascii_case("session") {
            continue;
        }
        let (Some(control), Some(module)) = (words.next(), words.next()) else {
            continue;
        };
        if control.eq_ignore_ascii_case("include") {
            read_into(stack, dir, module, within, depth - 1)?;
            continue;
        }
        stack.push(Line {
            place: format!("{}:{number}", path.display()),
            control: control.to_owned(),
            module: module.to_owned(),
            arguments: words.map(str::to_owned).collect(),
            within: within.to_vec(),
        });
        if control.eq_ignore_ascii_case("substack") {
            let mut within = within.to_vec();
            within.push(stack.len());
            read_into(stack, dir, module, &within, depth - 1)?;
        }
    }
    Ok(())
}

/// Lines without comments. One that ends in a backslash, blanks behind it or not, goes on in the
/// next; a comment ends it all the same, and so does an empty line, as since libpam 1.6.
fn logical_lines(text: &str) -> Vec<(usize, String)> {
    let mut lines = Vec::new();
    let mut open: Option<(usize, String)> = None;
    for (index, line) in text.lines().enumerate() {
        let (number, mut joined) = open.take().unwrap_or((index + 1, String::new()));
        let goes_on = if line.contains('#') {
            None
        } else {
            line.trim_end().strip_suffix('\\')
        };
        if let Some(start) = goes_on {
            joined.push_str(start);
            joined.push(' ');
            open = Some((number, joined));
        } else {
            joined.push_str(line.split('#').next().unwrap_or_default());
            lines.push((number, joined));
        }
    }
    lines.extend(open);
    lines
}

/// Words between blanks; `[...]` is one word, without its brackets if it is an argument.
fn split(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while !rest.is_empty() {
        let end = if rest.starts_with('[') {
            rest.find(']').map_or(rest.len(), |end| end + 1)
        } else {
            rest.find(char::is_whitespace).unwrap_or(rest.len())
        };
        let (word, after) = rest.split_at(end);
        let is_argument = words.len() >= 3;
        let inner = word
            .strip_prefix('[')
            .and_then(|word| word.strip_suffix(']'));
        words.push(inner.filter(|_| is_argument).unwrap_or(word).to_owned());
        rest = after.trim_start();
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dir(files: &[(&str, &str)]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in files {
            fs::write(dir.path().join(name), text).unwrap();
        }
        dir
    }

    #[test]
    fn includes_stand_where_they_are_included() {
        let dir = dir(&[
            (
                "sshd",
                "# comment\nauth required pam_unix.so\n@include common\nsession include more\n\
                 -session optional pam_idtoken.so config=/x [contact=the help desk] # end\n",
            ),
            (
                "common",
                "session [default=1] pam_permit.so\nsession \\\n required pam_unix.so\n",
            ),
            ("more", "session optional pam_systemd.so\n"),
        ]);
        let stack = session_stack(dir.path(), "sshd").unwrap();
        let modules: Vec<&str> = stack.iter().map(|line| line.module.as_str()).collect();
        assert_eq!(
            modules,
            [
                "pam_permit.so",
                "pam_unix.so",
                "pam_systemd.so",
                "pam_idtoken.so"
            ]
        );
        assert_eq!(stack[0].control, "[default=1]");
        assert_eq!(stack[3].arguments, ["config=/x", "contact=the help desk"]);
        assert!(stack[3].place.ends_with("sshd:5") && stack[1].place.ends_with("common:2"));
        assert!(stack[3].is("pam_idtoken.so"));
    }

    #[test]
    fn the_ready_lines_put_the_module_into_a_session_stack() {
        for text in [
            include_str!("../../../pam.d/debian-sshd"),
            include_str!("../../../pam.d/redhat-sshd"),
        ] {
            let dir = dir(&[("sshd", text)]);
            let stack = session_stack(dir.path(), "sshd").unwrap();
            assert_eq!(stack.len(), 1);
            assert!(stack[0].is("pam_idtoken.so") && stack[0].control == "optional");
        }
    }

    #[test]
    fn a_substack_is_one_and_an_include_is_none() {
        let dir = dir(&[
            (
                "sshd",
                "session substack sub\nsession substack sub\nsession include sub\n",
            ),
            ("sub", "session optional a.so\n"),
        ]);
        let stack = session_stack(dir.path(), "sshd").unwrap();
        let within: Vec<&[usize]> = stack.iter().map(|line| &line.within[..]).collect();
        assert_eq!(within, [&[][..], &[1], &[], &[3], &[]]);
    }

    #[test]
    fn lines_are_found_wherever_they_stand() {
        let dir = dir(&[
            (
                "login",
                "# session optional pam_idtoken.so\n-session optional pam_idtoken.so\n",
            ),
            (
                "sshd",
                "auth optional /x/pam_idtoken.so\nsession optional pam_unix.so\n",
            ),
        ]);
        let found = mentions(dir.path());
        let found: Vec<(&str, &str)> = found
            .iter()
            .map(|(place, kind)| (place.rsplit('/').next().unwrap(), kind.as_str()))
            .collect();
        assert_eq!(found, [("login:2", "session"), ("sshd:1", "auth")]);
    }

    #[test]
    fn lines_go_on_where_libpam_lets_them() {
        let joined = |text: &str| -> Vec<(usize, String)> {
            let lines = logical_lines(text).into_iter();
            let lines = lines.map(|(number, line)| (number, split(&line).join(" ")));
            lines.filter(|(_, line)| !line.is_empty()).collect()
        };
        for (text, expected) in [
            ("a \\\nb", &[(1, "a b")][..]),
            ("a \\ \t\nb\n", &[(1, "a b")]),
            ("a \\\n\\\n b\n", &[(1, "a b")]),
            ("#a \\\nb\n", &[(2, "b")]),
            ("a # \\\nb\n", &[(1, "a"), (2, "b")]),
            ("a \\\n# b\nc\n", &[(1, "a"), (3, "c")]),
            ("a \\\n\nc\n", &[(1, "a"), (3, "c")]),
            ("a \\", &[(1, "a")]),
        ] {
            let expected: Vec<(usize, String)> = expected
                .iter()
                .map(|(number, line)| (*number, (*line).to_owned()))
                .collect();
            assert_eq!(joined(text), expected, "{text:?}");
        }
    }

    #[test]
    fn a_missing_file_and_a_loop_are_named() {
        let dir = dir(&[
            ("a", "@include b\n"),
            ("b", "session include a\n"),
            ("c", "@include d\n"),
        ]);
        assert!(session_stack(dir.path(), "a").unwrap_err().contains("loop"));
        assert!(session_stack(dir.path(), "c").unwrap_err().contains("/d"));
    }
}
