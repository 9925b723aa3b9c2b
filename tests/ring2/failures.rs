//! Whatever is wrong, the login goes on and somebody is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use pam_idtoken_tests::host::Step::{Close, End, Env, Open, Sh};
use pam_idtoken_tests::host::lab::is_root;
use pam_idtoken_tests::host::{Lab, Outcome, Who};

use crate::Test::{self, Both, Root};
use crate::{PAM_SESSION_ERR, PAM_SILENT, PAM_SUCCESS, PAM_TEXT_INFO, line, nothing_is_left};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "a failure is told once on the terminal and once in the log",
        told_once,
    ),
    Both("a silent host is told nothing", silent),
    Both(
        "on_failure = deny refuses the session, by file and by argument",
        deny,
    ),
    Both(
        "a configuration that is named and not there is an error",
        config_missing,
    ),
    Both(
        "a broken configuration leaves only the arguments in force",
        config_broken,
    ),
    Both("a wrong argument is named", argument_wrong),
    Both("arguments change single keys", arguments),
    Both("the host's environment has no say", environment),
    Both("the contact is named to the user", contact),
    Root("names that no user has are refused without harm", odd_names),
    Root(
        "users with @ and \\ in their names get their own token",
        directory_names,
    ),
    Root("debug says why a user passes untouched", debug),
    Root(
        "neither log nor record nor message holds key or token",
        no_secrets,
    ),
];

const END: pam_idtoken_tests::host::Step = End { silent: false };

/// Opening succeeds without a token; the log says why.
#[track_caller]
fn fails(lab: &Lab, why: &str) -> Outcome {
    let seen = lab.run(&[Open(0), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.codes("close"), [PAM_SUCCESS]);
    assert_eq!(
        seen.answers.messages.len(),
        1,
        "{:?}",
        seen.answers.messages
    );
    if is_root() {
        let line = line(&seen.log, "no token for user=alice: ");
        assert!(line.starts_with("<83> ") && line.contains(why), "{line}");
    }
    nothing_is_left(lab);
    seen
}

fn told_once(who: Who) {
    let lab = Lab::new(who);
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    let seen = fails(&lab, "keys/POOL is not there");
    assert_eq!(
        seen.answers.messages,
        [(
            PAM_TEXT_INFO,
            "HTCondor: no token for this session, so condor_q -global and other commands that \
             reach other machines will fail. Please tell your administrator."
                .to_owned()
        )]
    );
    if who == Who::Root {
        assert_eq!(seen.log.len(), 1, "{:#?}", seen.log);
    }
}

fn silent(who: Who) {
    let lab = Lab::new(who);
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    let seen = lab.run(&[Open(PAM_SILENT), Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert!(seen.answers.messages.is_empty());
}

fn deny(who: Who) {
    let lab = Lab::new(who);
    lab.configure("on_failure = \"deny\"\n");
    assert_eq!(lab.run(&[Open(0), Close, END]).codes("open"), [PAM_SUCCESS]);
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    let seen = lab.run(&[Open(0), END]);
    assert_eq!(seen.codes("open"), [PAM_SESSION_ERR]);
    let told = &seen.answers.messages[0].1;
    assert!(told.contains("the login is refused"), "{told}");
    lab.configure("");
    lab.line("on_failure=deny");
    let seen = lab.run(&[Open(0), END]);
    assert_eq!(seen.codes("open"), [PAM_SESSION_ERR]);
    nothing_is_left(&lab);
}

fn config_missing(who: Who) {
    let lab = Lab::new(who);
    fs::remove_file(lab.path("etc/config.toml")).unwrap();
    // Without the file the argument alone says who is served.
    lab.line("services=test min_uid=1");
    fails(&lab, "etc/config.toml is not there, though config=");
}

fn config_broken(who: Who) {
    let lab = Lab::new(who);
    lab.line("services=test min_uid=1");
    for (more, why) in [
        (
            "lifetme = 3\n",
            "config.toml line 8, key lifetme: unknown field",
        ),
        ("timeout = \"1y\"\n", "config.toml line 8, key timeout: "),
        (
            "scope = [\"EVERYTHING\"]\n",
            "\"EVERYTHING\" is not an authorization",
        ),
        ("[[[\n", "config.toml line 8"),
    ] {
        lab.configure(more);
        fails(&lab, why);
    }
    lab.configure("");
    fs::set_permissions(
        lab.path("etc/config.toml"),
        fs::Permissions::from_mode(0o664),
    )
    .unwrap();
    fails(&lab, "has mode 0664, which lets others in; run `chmod 0644");
}

fn argument_wrong(who: Who) {
    let lab = Lab::new(who);
    lab.line("services=test min_uid=1 lifetime=forever");
    fails(&lab, "the argument lifetime=forever can not be used");
}

fn arguments(who: Who) {
    let lab = Lab::new(who);
    lab.line("lifetime_unrenewed=60s scope=READ bogus kid=POOL");
    let show = format!(
        "cut -d. -f2 {}/* | base64 -d 2>/dev/null",
        lab.tokens_d().display()
    );
    let seen = lab.run(&[Open(0), Sh(show), Close, END]);
    let claims = &seen.answers.shell[0];
    assert!(claims.contains("\"scope\":\"condor:/READ\""), "{claims}");
    if who == Who::Root {
        line(&seen.log, "unknown argument ignored argument=bogus");
    }
}

fn environment(who: Who) {
    let lab = Lab::new(who);
    let set = |key: &str, value: String| Env(key.to_owned(), value);
    let elsewhere = lab.path("home/bob").display().to_string();
    let seen = lab.run(&[
        set("HOME", elsewhere.clone()),
        set("CONDOR_CONFIG", "/dev/null".into()),
        set("_CONDOR_SEC_TOKEN_DIRECTORY", elsewhere.clone()),
        set("_CONDOR_SEC_PASSWORD_DIRECTORY", elsewhere.clone()),
        set("_CONDOR_UID_DOMAIN", "evil.test".into()),
        set("XDG_CONFIG_HOME", elsewhere),
        Open(0),
        Sh(format!("ls {}", lab.tokens_d().display())),
        Close,
        END,
    ]);
    assert!(seen.answers.shell[0].starts_with("0-session-"));
    assert_eq!(fs::read_dir(lab.path("home/bob")).unwrap().count(), 0);
    nothing_is_left(&lab);
}

fn contact(who: Who) {
    let lab = Lab::new(who);
    lab.configure("contact = \"the help desk, 3rd floor\"\n");
    fs::remove_file(lab.path("keys/POOL")).unwrap();
    let seen = fails(&lab, "POOL");
    assert!(
        seen.answers.messages[0]
            .1
            .ends_with("Please tell the help desk, 3rd floor.")
    );
}

fn odd_names() {
    let lab = Lab::new(Who::Root);
    let long = "x".repeat(256);
    for name in [
        "nobody-here",
        "",
        "..",
        "a/b",
        "a\nb",
        "alice ",
        "\u{1b}[2J",
        &long,
    ] {
        let seen = lab.run_as(name, "test", &[Open(0), Close, END]);
        assert_eq!(seen.codes("open"), [PAM_SUCCESS], "{name:?}");
        let line = line(&seen.log, "no token for user=");
        assert!(!line.contains(['\n', '\u{1b}']), "{line:?}");
    }
    nothing_is_left(&lab);
}

fn directory_names() {
    let lab = Lab::new(Who::Root);
    fs::create_dir(lab.path("home/carol")).unwrap();
    lab.give("home/carol", 54_324);
    let tokens = lab.path("home/carol/.condor/tokens.d");
    for (name, sub) in [
        ("carol@ad.test", "carol@ad.test@lab.test"),
        ("AD\\carol", "AD\\\\carol@lab.test"),
    ] {
        let show = format!("cut -d. -f2 {}/* | base64 -d 2>/dev/null", tokens.display());
        let seen = lab.run_as(name, "test", &[Open(0), Sh(show), Close, END]);
        let claims = &seen.answers.shell[0];
        assert!(claims.contains(&format!("\"sub\":\"{sub}\"")), "{claims}");
    }
}

fn debug() {
    let lab = Lab::new(Who::Root);
    lab.configure("deny_groups = [\"pool\"]\n");
    assert!(lab.run(&[Open(0), END]).log.is_empty());
    lab.line("debug");
    let seen = lab.run(&[Open(0), END]);
    let line = line(&seen.log, "not served user=alice");
    assert!(line.ends_with("the group pool is in deny_groups"), "{line}");
}

fn no_secrets() {
    let lab = Lab::new(Who::Root);
    lab.line("debug");
    let token = format!("cat {}/*", lab.tokens_d().display());
    let records = format!("cat {}/sessions/*/*", lab.path("state").display());
    let seen = lab.run(&[Open(0), Sh(token), Sh(records), Close, END]);
    let [token, record] = &seen.answers.shell[..] else {
        panic!("{seen:?}")
    };
    let signature = token.trim().rsplit('.').next().unwrap();
    assert!(signature.len() > 40 && record.contains("\"jti\""));
    for text in [
        record,
        &seen.log.join("\n"),
        &format!("{:?}", seen.answers.messages),
    ] {
        assert!(
            !text.contains(signature) && !text.contains("a scratch key"),
            "{text}"
        );
    }
}
