//! `[[token]]` tables: who gets which tokens.

pub(crate) mod several;

use pam_idtoken_tests::host::Step::{Close, End, Open, PutEnv, Sh};
use pam_idtoken_tests::host::{Lab, Outcome, Step, Who};

use crate::Test::{self, Both, Root};
use crate::tokens::claims;
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Root("a table is for the groups and users it names", by_group),
    Root("a table is for the services it names", by_service),
    Root(
        "a table is for logins from where it says, and check says the same",
        by_remote_host,
    ),
    Root(
        "a table is for logins by the method it says, and check says the same",
        by_method,
    ),
    Both("whom no table fits passes untouched", nobody),
];

const END: Step = End { silent: false };

/// A login of this user; before it this is put into the PAM environment.
#[track_caller]
fn login(lab: &Lab, user: &str, service: &str, before: &[Step]) -> Outcome {
    let home = lab.path("home").join(user);
    let cat = Sh(format!(
        "cat {}/.condor/tokens.d/* 2>/dev/null",
        home.display()
    ));
    let steps = [before, &[Open(0), cat, Close, END]].concat();
    let seen = lab.run_as(user, service, &steps);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert!(seen.answers.messages.is_empty(), "{:#?}", seen.log);
    seen
}

/// What the token of a login may be used for; `-` without a token.
#[track_caller]
fn scope(seen: &Outcome) -> String {
    match &seen.answers.shell[0] {
        none if none.is_empty() => "-".to_owned(),
        token => claims(token).scope.unwrap_or_else(|| "all".to_owned()),
    }
}

/// Three tables that are told apart by what their tokens may be used for.
fn three(first: &str, second: &str) -> String {
    format!(
        "[[token]]\n{first}\nscope = [\"READ\"]\n\
         [[token]]\n{second}\nscope = [\"DAEMON\"]\n\
         [[token]]\n"
    )
}

const FIRST: &str = "condor:/READ";
const SECOND: &str = "condor:/DAEMON";

fn by_group() {
    let lab = Lab::new(Who::Root);
    lab.add_users(1);
    let scopes = |first: &str, second: &str| {
        lab.configure(&three(first, second));
        ["alice", "bob", "user0"].map(|user| scope(&login(&lab, user, "test", &[])))
    };
    assert_eq!(
        scopes("groups = [\"bob\"]", "groups = [\"root\", \"pool\"]"),
        [SECOND, FIRST, "all"]
    );
    // All that a table names has to be so.
    assert_eq!(
        scopes(
            "groups = [\"pool\"]\nusers = [\"alice\", \"user0\"]",
            "users = [\"user0\"]"
        ),
        [FIRST, "all", SECOND]
    );
}

fn by_service() {
    let lab = Lab::new(Who::Root);
    lab.configure(&three("services = [\"other\"]", "services = [\"test\"]"));
    let module = lab.module("services=test,other,third");
    for service in ["test", "other", "third"] {
        lab.service(service, &format!("session required {module}\n"));
    }
    let of = |service: &str| scope(&login(&lab, "alice", service, &[]));
    assert_eq!(["test", "other", "third"].map(of), [SECOND, FIRST, "all"]);
}

/// Which table check says a login has.
#[track_caller]
fn checked(lab: &Lab, more: &[&str]) -> String {
    let args = ["check", "--service", "test", "--user", "alice"];
    let said = lab.tool(&[&args, more].concat()).stdout;
    let tables = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("ok    [[token]] table ")?;
        rest.split_once(": for alice: ")
    });
    let tables: Vec<_> = tables.collect();
    match tables[..] {
        [] if said.contains("FAIL  alice gets no token: no [[token]] table") => "-".to_owned(),
        [(table, _)] => {
            let scope = ["", FIRST, SECOND, "unrestricted"][table.parse::<usize>().unwrap()];
            let signed = format!("scope {scope}, lifetime 1h");
            assert!(said.contains(&signed), "{said}");
            scope.replace("unrestricted", "all")
        }
        _ => panic!("{said}"),
    }
}

fn by_remote_host() {
    let lab = Lab::new(Who::Root);
    for (first, second, expected) in [
        ("192.0.2.0/24", "192.0.2.7", FIRST),
        ("192.0.2.8/29", "192.0.2.7", SECOND),
        ("192.0.2.0/32", ".example.org", "all"),
        ("2001:db8::/32", "192.0.2.6/31", SECOND),
    ] {
        let of = |host: &str| format!("remote_hosts = [{host:?}]");
        lab.configure(&three(&of(first), &of(second)));
        let seen = login(&lab, "alice", "test", &[]);
        assert_eq!(scope(&seen), expected, "{first} {second}");
        assert_eq!(checked(&lab, &["--from", "192.0.2.7"]), expected);
    }
    lab.configure(&three(
        "remote_hosts = [\".example.org\"]",
        "users = [\"bob\"]",
    ));
    assert_eq!(checked(&lab, &["--from", "ap1.Example.org"]), FIRST);
    assert_eq!(checked(&lab, &[]), "all");
    let said = lab.tool(&["check", "--user", "alice", "--service", "test"]);
    assert!(said.stdout.contains("add --from HOST"), "{}", said.all());
}

fn by_method() {
    let lab = Lab::new(Who::Root);
    let key = "publickey ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGVh";
    for (method, told, args, expected) in [
        ("publickey", Some(key.to_owned()), &["publickey"][..], FIRST),
        (
            "publickey",
            Some("password\n".into()),
            &["password"],
            SECOND,
        ),
        (
            "publickey",
            Some(format!("password\n{key}\n")),
            &["password", "publickey"],
            FIRST,
        ),
        (
            "keyboard-interactive",
            Some("keyboard-interactive/pam".into()),
            &["keyboard-interactive/pam"],
            FIRST,
        ),
        // Not by what a key is called, nor by half of a name.
        (
            "publickey",
            Some("password publickey\npublickeys x\n".into()),
            &["password"],
            SECOND,
        ),
        ("password", None, &[], "all"),
    ] {
        lab.configure(&three(
            &format!("ssh_auth_methods = [{method:?}]"),
            "ssh_auth_methods = [\"password\"]",
        ));
        let told = told.map(|told| PutEnv(format!("SSH_AUTH_INFO_0={told}")));
        let told: Vec<Step> = told.into_iter().collect();
        let seen = login(&lab, "alice", "test", &told);
        assert_eq!(scope(&seen), expected, "{told:?}");
        let args: Vec<&str> = args.iter().flat_map(|method| ["--auth", method]).collect();
        assert_eq!(checked(&lab, &args), expected, "{args:?}");
    }
    // The process's own environment says nothing.
    let set = Step::Env("SSH_AUTH_INFO_0".into(), key.into());
    assert_eq!(scope(&login(&lab, "alice", "test", &[set])), "all");
}

fn nobody(who: Who) {
    let lab = Lab::new(who);
    lab.configure("on_failure = \"deny\"\n[[token]]\ngroups = [\"root\"]\n");
    for _ in 0..2 {
        let seen = login(&lab, "alice", "test", &[]);
        assert_eq!(scope(&seen), "-");
        assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
        assert!(!lab.path("home/alice/.condor").exists());
        let is_debug = |line: &String| line.starts_with("<87> ");
        assert!(seen.log.iter().all(is_debug), "{:#?}", seen.log);
        lab.line("debug");
    }
    if who == Who::Root {
        line(
            &login(&lab, "alice", "test", &[]).log,
            "no [[token]] table is for this session",
        );
    }
    assert_eq!(checked(&lab, &["--from", "192.0.2.7"]), "-");
    nothing_is_left(&lab);
}
