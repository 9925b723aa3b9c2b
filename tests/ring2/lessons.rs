//! Holes that other modules had, tried here: docs/CVES.md says which.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use pam_idtoken_tests::host::Step::{self, Close, End, Groups, Open, Other, PamEnv, Sh, Start};
use pam_idtoken_tests::host::lab::{ALICE, names};
use pam_idtoken_tests::host::{Lab, Who};

use crate::Test::{self, Root};
use crate::stores::Stores;
use crate::tokens::claims;
use crate::{PAM_SUCCESS, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Root(
        "what only groups of the host's may enter is not entered",
        groups_of_the_host,
    ),
    Root(
        "a user who is no longer known when their session closes costs nobody a file",
        unknown_at_close,
    ),
    Root(
        "what a dead token leads to is neither read nor told, with debug either",
        neither_read_nor_told,
    ),
    Root(
        "dead tokens as large as can be cost a login no time",
        immense,
    ),
    Root("the PAM environment has no say", pam_environment),
    Root("a service that is not served reads no key", no_key),
    Root(
        "a user whose name is a path has a token in their own home and nothing elsewhere",
        paths_as_names,
    ),
    Root(
        "a name with one more accent is another user",
        another_accent,
    ),
    Root(
        "who is named after the session has opened is not who it closes for",
        another_name,
    ),
    Root(
        "the uid by which nothing is changed gets nothing",
        minus_one,
    ),
];

const END: Step = End { silent: false };
const DEAD: &str = "0-session-fffffffffffffff0-ap1-0000000000000001";

/// Makes the directory, as the user.
fn with_tokens_d(lab: &Lab) {
    fs::create_dir_all(lab.tokens_d()).unwrap();
    for name in ["home/alice/.condor", "home/alice/.condor/tokens.d"] {
        lab.give(name, ALICE);
    }
}

/// The host's user database from now on: what a sed(1) script makes of it.
fn users(lab: &Lab, script: &str) -> Step {
    // In place and with another time, by which nss_wrapper knows that it has to read it again.
    Sh(format!(
        "cd {} && sed '{script}' passwd >sed && cat sed >passwd && rm sed && \
         touch -d '1 hour' passwd",
        lab.path("etc").display()
    ))
}

/// Adds a user with a home of their own.
fn add(lab: &Lab, name: &str, uid: u32) -> PathBuf {
    let home = lab.path("own/home");
    fs::create_dir_all(&home).unwrap();
    lab.give("own/home", uid);
    lab.add_account(name.as_bytes(), uid, &home);
    home
}

fn show(tokens_d: &Path) -> Step {
    Sh(format!("cat {}/0-* 2>/dev/null", tokens_d.display()))
}

fn groups_of_the_host() {
    const STAFF: u32 = 54_399;
    for (group, why) in [(0, "the primary group"), (STAFF, "a supplementary group")] {
        let lab = Lab::new(Who::Root);
        for name in ["roots", "roots/tokens.d"] {
            fs::create_dir(lab.path(name)).unwrap();
            chown(lab.path(name), Some(0), Some(group)).unwrap();
            fs::set_permissions(lab.path(name), fs::Permissions::from_mode(0o770)).unwrap();
        }
        symlink(lab.path("roots"), lab.path("home/alice/.condor")).unwrap();
        let look = Sh(format!("ls -A {}", lab.path("roots/tokens.d").display()));
        let seen = lab.run(&[Groups(vec![STAFF]), Open(0), look, Close, END]);
        assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
        assert_eq!(seen.answers.shell, [""], "{why} was kept");
        let why_not = line(&seen.log, "no token for user=alice");
        assert!(why_not.contains("Permission denied"), "{why_not}");
    }
}

fn unknown_at_close() {
    let gone = "/^alice:/d";
    let lab = Lab::new(Who::Root);
    let seen = lab.run(&[Open(0), users(&lab, gone), Close, END]);
    line(&seen.log, "token closed");
    nothing_is_left(&lab);

    let roots = lab.path("roots");
    fs::create_dir(&roots).unwrap();
    let swap = Sh(format!(
        "cd {}; echo precious >{1}/$(ls); cd ..; mv tokens.d kept; ln -s {1} tokens.d",
        lab.tokens_d().display(),
        roots.display()
    ));
    let seen = lab.run(&[Open(0), users(&lab, gone), swap, Close, END]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert_eq!(names(&roots).len(), 1, "root's file was taken");
    line(&seen.log, "was not taken away from user=alice");
}

fn neither_read_nor_told() {
    const CANARY: &str = "canary-of-roots";
    let lab = Lab::new(Who::Root);
    lab.line("debug");
    with_tokens_d(&lab);
    let secret = lab.path("etc/secret");
    fs::write(&secret, format!("{CANARY}\n{CANARY}.{CANARY}.{CANARY}\n")).unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    for name in [DEAD, "own"] {
        symlink(&secret, lab.tokens_d().join(name)).unwrap();
    }
    let seen = lab.run(&[Open(0), Close, END]);
    let told = format!("{:?} {:?}", seen.log, seen.answers);
    assert!(!told.contains(CANARY), "{told}");
    line(&seen.log, "token opened");
    let checked = lab.tool(&["check", "--user", "alice"]).all();
    assert!(!checked.contains(CANARY), "{checked}");
    assert_eq!(lab.tokens(), ["own"]);
    assert!(fs::read_to_string(&secret).unwrap().contains(CANARY));
}

fn immense() {
    let lab = Lab::new(Who::Root);
    with_tokens_d(&lab);
    let blanks = vec![b' '; 1 << 20];
    let dots = vec![b'.'; 1 << 20];
    for (number, text) in (0_u64..).zip([&blanks, &dots]) {
        for (part, end) in [(0, ""), (1, "\n")] {
            let name = format!(
                "0-session-fffffffffffffff{number}-ap1-{:016x}",
                number + part
            );
            let all = [text, end.as_bytes()].concat();
            fs::write(lab.tokens_d().join(&name), all).unwrap();
        }
    }
    let holes = "0-session-ffffffffffffffff-ap1-00000000000000ff";
    let file = fs::File::create(lab.tokens_d().join(holes)).unwrap();
    file.set_len(1 << 40).unwrap();
    for name in lab.tokens() {
        lab.give(&format!("home/alice/.condor/tokens.d/{name}"), ALICE);
    }
    // More than it may take here, so that nobody gives up.
    lab.configure("timeout = \"20s\"\n");
    let start = Instant::now();
    let seen = lab.run(&[Open(0), Close, END]);
    assert!(start.elapsed() < Duration::from_secs(10));
    line(&seen.log, "token opened");
    nothing_is_left(&lab);
}

fn pam_environment() {
    let stores = Stores::private();
    let lab = &stores.lab;
    lab.configure("");
    let evil = lab.path("home/bob").display().to_string();
    let variables = [
        "HOME",
        "PATH",
        "TMPDIR",
        "LD_PRELOAD",
        "CONDOR_CONFIG",
        "_CONDOR_SEC_TOKEN_DIRECTORY",
        "_CONDOR_SEC_PASSWORD_DIRECTORY",
        "_CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE",
        "_CONDOR_UID_DOMAIN",
        "_CONDOR_TRUST_DOMAIN",
        "XDG_SEAT",
        "USER",
    ];
    let text: String = variables
        .iter()
        .map(|name| format!("{name}={evil}\n"))
        .collect();
    fs::write(lab.path("etc/environment"), text).unwrap();
    let text = format!(
        "session required pam_env.so readenv=1 envfile={}\nsession required {}\n",
        lab.path("etc/environment").display(),
        lab.module("")
    );
    lab.service("test", &text);
    let told = "_CONDOR_SEC_TOKEN_DIRECTORY";
    let seen = lab.run(&[Open(0), show(&lab.tokens_d()), PamEnv, Close, END]);
    let token = claims(&seen.answers.shell[0]);
    assert_eq!(token.sub.unwrap(), "alice@lab.test");
    assert_eq!(token.iss.unwrap(), "pool.lab.test");
    // Which shows that pam_env was there; that variable is the session's own affair.
    assert_eq!(seen.answers.environment[0][told], evil);
    assert_eq!(names(&lab.path("home/bob")), Vec::<String>::new());
    nothing_is_left(lab);

    let script = format!("env >{}", lab.path("tmp/seen").display());
    let fetch = lab.script("condor_token_fetch", &script);
    lab.configure(&format!(
        "issuer = \"schedd\"\ncondor_token_fetch = {fetch:?}\n"
    ));
    lab.run(&[Open(0), Close, END]);
    let given = fs::read_to_string(lab.path("tmp/seen")).unwrap();
    assert!(
        given.contains("USER=alice") && !given.contains(&evil),
        "{given}"
    );

    lab.configure("store = \"private\"\n");
    let seen = lab.run(&[Open(0), PamEnv, Close, END]);
    let private = lab.path("run/tokens").display().to_string();
    assert!(seen.answers.environment[0][told].starts_with(&private));
    assert_eq!(names(&lab.path("home/bob")), Vec::<String>::new());
}

fn no_key() {
    let lab = Lab::new(Who::Root);
    fs::copy(lab.path("pam.d/test"), lab.path("pam.d/su")).unwrap();
    // Whoever reads it finds fault with it.
    fs::set_permissions(lab.path("keys/POOL"), fs::Permissions::from_mode(0o666)).unwrap();
    let seen = lab.run(&[Open(0), Close, END]);
    assert!(line(&seen.log, "no token for").contains("keys/POOL has mode 0666"));
    let seen = lab.run_as("alice", "su", &[Open(0), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.log, Vec::<String>::new());
    assert_eq!(seen.answers.messages, []);
}

/// Everything there is, but for what belongs to the module and to its host.
fn everything(lab: &Lab) -> String {
    let find = "find . -path ./state -prune -o -path ./run -prune -o -path ./tmp -prune \
                -o -path ./own -prune -o -printf '%p %m %U %s\\n' | sort";
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", find]).current_dir(lab.path(""));
    String::from_utf8(shell.output().unwrap().stdout).unwrap()
}

fn paths_as_names() {
    for name in ["../bob", "..", ".", "/", "a/b", "../../../../etc/x"] {
        let lab = Lab::new(Who::Root);
        let tokens = add(&lab, name, 55_001).join(".condor/tokens.d");
        lab.run(&[Open(0), Close, END]);
        let before = everything(&lab);
        let seen = lab.run_as(name, "test", &[Open(0), show(&tokens), Close, END]);
        let sub = claims(&seen.answers.shell[0]).sub.unwrap();
        assert_eq!(sub, format!("{name}@lab.test"));
        assert_eq!(everything(&lab), before, "{name}");
        assert_eq!(names(&tokens), Vec::<String>::new());
        assert_eq!(names(&lab.path("state/sessions")), ["54321", "55001"]);
    }
}

fn another_accent() {
    for other in ["alic\u{e9}", "\u{e1}lice"] {
        let lab = Lab::new(Who::Root);
        lab.configure(&format!("allow_users = [{other:?}]\n"));
        let tokens = add(&lab, other, 55_001).join(".condor/tokens.d");
        let login = |name: &str, tokens: &Path| {
            let mut seen = lab.run_as(name, "test", &[Open(0), show(tokens), Close, END]);
            seen.answers.shell.remove(0)
        };
        assert_eq!(login("alice", &lab.tokens_d()), "", "alice is not {other}");
        let sub = claims(&login(other, &tokens)).sub.unwrap();
        assert_eq!(sub, format!("{other}@lab.test"));
    }
}

fn another_name() {
    let lab = Lab::new(Who::Root);
    let bob = || Step::User(b"bob".to_vec());
    let bobs = lab.path("home/bob/.condor/tokens.d");
    let seen = lab.run(&[
        Open(0),
        Other(vec![Start, bob(), Open(0)]),
        bob(),
        Close,
        show(&bobs),
        END,
    ]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert!(line(&seen.log, "token closed").contains("user=alice "));
    let sub = claims(&seen.answers.shell[0]).sub.unwrap();
    assert_eq!(sub, "bob@lab.test");
    nothing_is_left(&lab);
}

/// setfsuid(-1), setresuid(-1, -1, -1) and their like change nothing and fail in nothing.
fn minus_one() {
    let lab = Lab::new(Who::Root);
    let ran = lab.path("tmp/ran");
    let fetch = lab.script("condor_token_fetch", &format!("id -u >{}", ran.display()));
    let home = lab.path("own/home");
    fs::create_dir_all(&home).unwrap();
    let line_of = format!("$ a minus:x:{}:54400::{}:/bin/sh", u32::MAX, home.display());
    for issuer in ["key", "schedd"] {
        lab.configure(&format!(
            "issuer = {issuer:?}\ncondor_token_fetch = {fetch:?}\n"
        ));
        let known = Sh("getent passwd minus".to_owned());
        let steps = [users(&lab, &line_of), known, Open(0), Close, END];
        let seen = lab.run_as("minus", "test", &steps);
        assert!(seen.answers.shell[1].contains("4294967295"), "{seen:?}");
        assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
        line(&seen.log, "no token for user=minus");
        assert!(!ran.exists(), "it ran as {:?}", fs::read_to_string(&ran));
        assert_eq!(names(&home), Vec::<String>::new());
    }
}
