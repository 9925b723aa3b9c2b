//! Variables, configurations and programs of the user's that reach where they are not meant.

use pam_idtoken_tests::pool::Ssh;

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host("sshd takes any variable from the client", |siege| {
        traps(siege);
        let variables = VARIABLES.join(" ");
        unmoved(
            siege,
            &siege.mallory().option(&format!("SetEnv={variables}")),
        );
    }),
    Host(
        "pam_env reads ~/.pam_environment, and sshd ~/.ssh/environment",
        |siege| {
            traps(siege);
            for variable in VARIABLES {
                let (name, value) = variable.split_once('=').unwrap();
                siege.does(&format!("echo '{name} DEFAULT={value}' >>.pam_environment"));
            }
            siege.have_pam_env_read();
            siege.does("mkdir .ssh; echo FOO=bar >.ssh/environment");
            let seen = siege.logs_in("env");
            assert!(
                seen.contains("evil.test") && seen.contains("FOO=bar"),
                "not read: {seen}"
            );
            unmoved(siege, &siege.mallory());
        },
    ),
    Host(
        "pam_env says where tokens are, and the home can not take one",
        |siege| {
            siege.have_pam_env_read();
            siege.does("touch .condor; echo '_CONDOR_SEC_TOKEN_DIRECTORY DEFAULT=/home/bob' >.pam_environment");
            let told =
                siege.logs_in("echo $_CONDOR_SEC_TOKEN_DIRECTORY; ls $_CONDOR_SEC_TOKEN_DIRECTORY");
            assert!(
                told.starts_with("/run/pam_idtoken/tokens/") && told.contains("\n0-session-"),
                "{told}"
            );
            siege.nothing_is_left();
        },
    ),
    Host(
        "the user's configuration of HTCondor has other domains, keys and programs",
        |siege| {
            traps(siege);
            // HTCondor has to be asked for its domains.
            let text = siege.host().sh("cat /etc/security/pam_idtoken.toml");
            let without = text.lines().filter(|line| !line.contains("domain ="));
            let without: String = without.map(|line| format!("{line}\n")).collect();
            siege.host().configure_exactly(&without);
            siege.host().sh("rm -f /run/pam_idtoken/htcondor*");
            unmoved(siege, &siege.mallory());
        },
    ),
    Host(
        "the user's configuration of HTCondor is what condor_token_fetch reads",
        |siege| {
            traps(siege);
            siege.configure("issuer = \"schedd\"");
            // Which makes it fail; what it makes is the user's, and nobody else's.
            siege.logs_in("true");
            let lines = [
                "SCHEDD_HOST = 192.0.2.1",
                "include : /bin/sh -c 'sleep 1000 & sleep 1000' |",
                "SEC_CLIENT_AUTHENTICATION_METHODS = ANONYMOUS",
                "SEC_TOKEN_DIRECTORY = /home/bob/.condor/tokens.d",
            ];
            for line in lines {
                siege.does(&format!("cat >.condor/user_config <<'E'\n{line}\nE"));
                siege.logs_in("true");
            }
            siege.may_do("pkill -KILL -u mallory sleep");
            siege.nothing_is_left();
            root_ran_nothing(siege);
        },
    ),
    Host(
        "the user's shell starts with a PATH, a library and a TMPDIR of theirs",
        |siege| {
            traps(siege);
            let variables = VARIABLES.join("\nexport ");
            siege.does(&format!(
                "echo 'export {variables}' | tee .profile .bashrc .bash_profile >.zshenv"
            ));
            unmoved(siege, &siege.mallory());
        },
    ),
    Host("idtokenctl is run by the user", tool),
];

/// What the module must not take from its user.
const VARIABLES: &[&str] = &[
    "PATH=/home/mallory/bin:/usr/bin:/bin",
    "LD_PRELOAD=/home/mallory/evil.so",
    "LD_LIBRARY_PATH=/home/mallory/lib",
    "LD_AUDIT=/home/mallory/evil.so",
    "TMPDIR=/home/mallory/tmp",
    "CONDOR_CONFIG=/home/mallory/.condor/user_config",
    "_CONDOR_TRUST_DOMAIN=evil.test",
    "_CONDOR_UID_DOMAIN=evil.test",
    "_CONDOR_SEC_TOKEN_POOL_SIGNING_KEY_FILE=/home/mallory/key",
    "_CONDOR_SEC_PASSWORD_DIRECTORY=/home/mallory",
    "_CONDOR_SEC_TOKEN_DIRECTORY=/home/bob/.condor/tokens.d",
    "RUST_BACKTRACE=full",
    "RUST_LOG=trace",
    "XDG_RUNTIME_DIR=/home/mallory/tmp",
    "GCONV_PATH=/home/mallory/lib",
    "SSH_AUTH_INFO_0=hostbased",
];

/// Programs that write down who ran them, a library, a key and a configuration of HTCondor.
fn traps(siege: &Siege) {
    siege.does(
        "mkdir -p bin lib tmp .condor; cp /lib/$(uname -m)-linux-gnu/libm.so.6 evil.so
         cp evil.so lib/libpam.so.0; echo evil >key; chmod 600 key
         for name in condor_config_val condor_token_fetch idtokenctl mkdir run; do
             printf '#!/bin/sh\\n/usr/bin/id -u >>/home/mallory/ran\\necho evil.test\\n' >bin/$name
             chmod 755 bin/$name
         done
         cat >.condor/user_config <<'E'
TRUST_DOMAIN = evil.test
UID_DOMAIN = evil.test
SEC_TOKEN_POOL_SIGNING_KEY_FILE = /home/mallory/key
SEC_PASSWORD_DIRECTORY = /home/mallory
include : /home/mallory/bin/run |
E",
    );
}

/// Sessions have the tokens that are theirs, and root ran and loaded nothing of the user's.
#[track_caller]
fn unmoved(siege: &Siege, client: &Ssh) {
    siege.nothing_is_left();
    let session = client.stay();
    for _ in 0..2 {
        let file = siege
            .host()
            .sh("echo /home/mallory/.condor/tokens.d/0-session-*");
        let verdict = siege.host().run(&["idtokenctl", "verify", file.trim()]);
        let said = &verdict.stdout;
        assert!(
            verdict.ok
                && said.contains("sub   mallory@lab.test")
                && said.contains("iss   lab.test"),
            "{}",
            verdict.all()
        );
        siege.reconcile();
        let loaded = siege.host().sh("for p in /proc/[0-9]*; do
                 [ $(stat -c %u $p 2>/dev/null || echo 1) = 0 ] || continue
                 grep -l /home/mallory $p/maps 2>/dev/null || true
             done");
        assert_eq!(loaded, "");
    }
    session.end();
    siege.nothing_is_left();
    root_ran_nothing(siege);
}

#[track_caller]
fn root_ran_nothing(siege: &Siege) {
    let ran = siege.host().sh("cat /home/mallory/ran 2>/dev/null || true");
    assert!(!ran.lines().any(|uid| uid == "0"), "root ran it: {ran}");
}

fn tool(siege: &Siege) {
    let session = siege.mallory().stay();
    let id = siege
        .host()
        .sh("ls /var/lib/pam_idtoken/sessions/$(id -u bob) | head -n 1 | cut -d - -f 1");
    let id = id.trim();
    siege.does(
        "mkdir -p state; printf 'state_dir = \"/home/mallory/state\"\\nrun_dir = \"/run/pam_idtoken\"\\n\
         trust_domain = \"lab.test\"\\nuid_domain = \"lab.test\"\\n' >mine.toml
         ln -s /var/lib/pam_idtoken/sessions state/sessions",
    );
    let token = siege.host().sh("ls -d /home/bob/.condor/tokens.d/0-*");
    for args in [
        "list",
        "list --json",
        "reconcile",
        "end --all",
        "end --user bob",
        &format!("end {id}"),
        "revoke-expr --user bob",
        &format!("verify {}", token.trim()),
        "check --user bob",
        "check --user bob --online",
        "--config mine.toml reconcile",
        "--config mine.toml end --all",
        "--config mine.toml list",
        "--config /etc/shadow show-config",
        "--config /srv/vault/secret show-config",
    ] {
        let said = siege.may_do(&format!("/usr/sbin/idtokenctl {args} </dev/null"));
        assert!(!said.hung(), "{args}: {}", said.all());
        assert!(
            args.contains(id) || args.contains(token.trim()) || !said.all().contains(id),
            "{args} names another's session: {}",
            said.all()
        );
    }
    session.end();
    siege.nothing_is_left();
}
