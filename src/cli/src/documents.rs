//! The manual page and the completions of `idtokenctl`, made from its command line.
//!
//! They are files in `packaging/`, so that whoever installs or packages them runs nothing;
//! `make documents` writes them anew, and a test fails where they are not as the command
//! line is. Nothing of this is part of the program.

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};
use clap_complete::{Shell, generate};
use clap_mangen::Man;

use crate::args::Args;
use crate::check::finding::Id;
use crate::list::State;
use crate::reconcile::INCOMPLETE;
use crate::{NOT_WELL, WELL};

/// Set by `make documents`.
const WRITE: &str = "IDTOKEN_WRITE_DOCUMENTS";
/// The sections that no command line knows.
const END: &str = include_str!("../../../packaging/man/idtokenctl.8.end");
const MODULE_PAGE: &str = include_str!("../../../packaging/man/pam_idtoken.8");

const NOTE: &str = "Made of src/cli/src/args.rs by `make documents`.";

fn packaging() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging")
}

/// Every file with its text.
fn documents() -> Vec<(PathBuf, String)> {
    let completion = |shell| {
        let mut text = Vec::new();
        generate(shell, &mut Args::command(), "idtokenctl", &mut text);
        String::from_utf8(text).unwrap()
    };
    let files = [
        ("man/idtokenctl.8", page()),
        ("completions/idtokenctl.bash", completion(Shell::Bash)),
        ("completions/_idtokenctl", completion(Shell::Zsh)),
        ("completions/idtokenctl.fish", completion(Shell::Fish)),
    ];
    let files = files.into_iter();
    files
        .map(|(name, text)| (packaging().join(name), text))
        .collect()
}

/// The one page: the program, then each command with its own options.
fn page() -> String {
    let date = MODULE_PAGE.split('"').nth(1).unwrap();
    let source = concat!("pam_idtoken ", env!("CARGO_PKG_VERSION"));
    let man = man(Args::command())
        .section("8")
        .title("IDTOKENCTL")
        .date(date)
        .source(source)
        .manual("System Administration");
    let mut page = format!(".\\\" {NOTE}\n");
    page += &part(|to| man.render_title(to));
    page += &part(|to| man.render_name_section(to));
    page += &part(|to| man.render_synopsis_section(to));
    page += &part(|to| man.render_description_section(to));
    page += &part(|to| man.render_options_section(to));
    page += ".SH COMMANDS\n";
    for command in Args::command().get_subcommands() {
        page += &section_of(command);
    }
    page + END
}

/// The program has one page, and options that hold for all commands are told once.
fn man(command: Command) -> Man {
    let usage = usage(&command);
    Man::new(command.override_usage(usage).disable_help_subcommand(true))
}

fn section_of(command: &Command) -> String {
    let full = format!("idtokenctl {}", command.get_name());
    let man = man(command.clone().bin_name(full).disable_help_flag(true));
    let mut text = format!(".SS {}\n", command.get_name().replace('-', "\\-"));
    text += body(&part(|to| man.render_synopsis_section(to)));
    text += ".PP\n";
    text += body(&part(|to| man.render_description_section(to)));
    if command.get_arguments().next().is_some() {
        text += body(&part(|to| man.render_options_section(to)));
    }
    text
}

/// Every option with its value; clap itself says `[OPTIONS]`.
fn usage(command: &Command) -> String {
    let mut command = command
        .clone()
        .disable_help_flag(true)
        .disable_version_flag(true);
    command.build();
    if command.get_groups().any(clap::ArgGroup::is_required_set) {
        let usage = command.render_usage().to_string();
        return usage.trim_start_matches("Usage: ").to_owned();
    }
    let mut words = vec![command.get_bin_name().unwrap_or("idtokenctl").to_owned()];
    for argument in command.get_arguments() {
        words.push(if argument.is_positional() {
            argument.to_string()
        } else {
            format!("[{argument}]")
        });
    }
    if command.has_subcommands() {
        words.push("<COMMAND>".to_owned());
    }
    words.join(" ")
}

fn part(render: impl Fn(&mut dyn Write) -> io::Result<()>) -> String {
    let mut text = Vec::new();
    render(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    // An apostrophe for old formatters is not needed.
    let lines = text.lines().filter(|line| !line.contains(".ds Aq"));
    let lines = lines.map(|line| match line {
        // A blank line of a help is a paragraph.
        "" => ".sp\n".to_owned(),
        line => in_bold(&line.trim_end().replace("\\*(Aq", "'")) + "\n",
    });
    lines.collect()
}

/// What stands between back quotes is what somebody types.
fn in_bold(line: &str) -> String {
    let parts = line.split('`').enumerate();
    let parts = parts.map(|(number, part)| match number % 2 {
        0 => part.to_owned(),
        _ => format!("\\fB{part}\\fR"),
    });
    parts.collect()
}

/// A section without its heading.
fn body(section: &str) -> &str {
    section.split_once('\n').unwrap().1
}

/// What a reader sees of a text, as far as these use roff.
fn plain(text: &str) -> String {
    let fonts = ["\\fB", "\\fI", "\\fR"];
    let text = text.replace("\\-", "-");
    fonts.iter().fold(text, |text, font| text.replace(font, ""))
}

/// What a section of [`END`] lists.
fn entries(heading: &str) -> Vec<String> {
    let section = END.split(".SH ").find(|text| text.starts_with(heading));
    let lines: Vec<&str> = section.unwrap().lines().collect();
    let pairs = lines.windows(2).filter(|pair| pair[0] == ".TP");
    pairs.map(|pair| plain(&pair[1][3..])).collect()
}

#[test]
fn the_files_are_as_the_command_line_is() {
    for (path, text) in documents() {
        if std::env::var_os(WRITE).is_some() {
            fs::write(&path, text).unwrap();
        } else {
            let is = fs::read_to_string(&path).unwrap_or_default();
            let path = path.display();
            assert!(is == text, "{path} is not up to date: run `make documents`");
        }
    }
}

#[test]
fn every_command_and_every_option_is_named_everywhere() {
    for (path, text) in documents() {
        let text = plain(&text);
        let names = |name: &str| {
            // fish has options without their dashes.
            let bare = name.trim_start_matches('-');
            let is_there = text.contains(name) || text.contains(&format!("-l {bare} "));
            assert!(is_there, "{} does not name {name}", path.display());
        };
        let root = Args::command();
        for command in root.get_subcommands().chain([&root]) {
            names(command.get_name());
            for long in command.get_arguments().filter_map(|arg| arg.get_long()) {
                names(&format!("--{long}"));
            }
        }
    }
}

#[test]
fn the_page_has_each_option_with_its_command() {
    let page = plain(&page());
    for command in Args::command().get_subcommands() {
        let start = format!("\n.SS {}\n", command.get_name());
        let section = page.split(&start).nth(1).unwrap();
        let section = section.split("\n.S").next().unwrap();
        for argument in command.get_arguments() {
            let name = match argument.get_long() {
                Some(long) => format!("\n.TP\n--{long}"),
                None => argument.get_value_names().unwrap().join(" "),
            };
            assert!(section.contains(&name), "{start}{name} {section}");
            let help = argument.get_help().unwrap().to_string();
            assert!(section.contains(&help.replace('`', "")), "{help}");
        }
    }
}

#[test]
fn every_example_of_the_page_is_understood() {
    let lines = END.lines().map(plain);
    let examples: Vec<String> = lines
        .filter_map(|line| Some(line[line.find("idtokenctl ")?..].to_owned()))
        .collect();
    assert!(examples.len() >= 5, "{examples:?}");
    for example in examples {
        let words = example
            .split_whitespace()
            .take_while(|w| !w.starts_with('>'));
        <Args as clap::Parser>::try_parse_from(words).unwrap();
    }
}

#[test]
fn the_page_lists_every_state_and_every_exit_code() {
    let states = [
        State::Live,
        State::Lingering,
        State::Unrenewed,
        State::Removed,
        State::Pending,
        State::Orphan,
    ];
    assert_eq!(entries("STATES"), states.map(|state| state.to_string()));
    let usage = <Args as clap::Parser>::try_parse_from(["idtokenctl"]).unwrap_err();
    let usage = u8::try_from(usage.exit_code()).unwrap();
    let codes = [WELL, NOT_WELL, usage, INCOMPLETE];
    assert_eq!(entries("EXIT STATUS"), codes.map(|code| code.to_string()));
}

#[test]
fn the_page_lists_every_finding_of_check() {
    let ids: Vec<&str> = Id::ALL.iter().map(|(id, _)| id.as_str()).collect();
    assert_eq!(entries("FINDINGS"), ids);
}
