//! Records, session ids and directories that are guessed, or known.

use crate::attack::Attack::{self, Host};
use crate::siege::Siege;

pub(crate) const ATTACKS: &[Attack] = &[
    Host(
        "the record of another's session is known by its name",
        records,
    ),
    Host("a token has the session id of another's session", ids),
    Host(
        "directories are made where private stores will be",
        |siege| {
            let said = siege.may_do(
                "n=0; for i in $(seq 0 255); do
                 mkdir /run/pam_idtoken/tokens/$(printf %016x $i) 2>/dev/null && n=$((n+1))
             done; echo $n; ls /run/pam_idtoken/tokens /run/pam_idtoken/tokens/* || true",
            );
            assert!(said.stdout.starts_with("0\n"), "{}", said.all());
            assert!(!said.stdout.contains("0-session-"), "{}", said.all());
        },
    ),
];

/// The name of bob's record, his uid and his session's id.
fn bobs(siege: &Siege) -> (String, String, String) {
    let said = siege
        .host()
        .sh("id -u bob; ls /var/lib/pam_idtoken/sessions/$(id -u bob)");
    let mut lines = said.lines();
    let (uid, record) = (lines.next().unwrap(), lines.next().unwrap());
    let id = record.split('-').next().unwrap();
    (uid.to_owned(), record.to_owned(), id.to_owned())
}

fn records(siege: &Siege) {
    let session = siege.mallory().stay();
    let (uid, record, id) = bobs(siege);
    let dir = format!("/var/lib/pam_idtoken/sessions/{uid}");
    let stem = record.trim_end_matches(".json");
    for script in [
        format!("cat {dir}/{record}"),
        format!("ls {dir}"),
        "ls /var/lib/pam_idtoken/sessions/3000".to_owned(),
        "cat /var/lib/pam_idtoken/audit.jsonl".to_owned(),
        format!("touch {dir}/{stem}.ended"),
        format!("touch {dir}/{stem}.strayed"),
        format!("rm -f {dir}/{record}"),
        format!("ln -s {dir}/{record} /var/lib/pam_idtoken/sessions/3000/{record}"),
        format!("echo '{{}}' >/var/lib/pam_idtoken/sessions/3000/.{stem}.json.new"),
        "mkdir /var/lib/pam_idtoken/sessions/0".to_owned(),
        "mv /var/lib/pam_idtoken/sessions/3000 kept".to_owned(),
        format!("mkdir /run/pam_idtoken/tokens/{id}"),
        "touch -d 2100-01-01 /run/pam_idtoken/reconciled".to_owned(),
        "cat /etc/condor/passwords.d/POOL".to_owned(),
        format!("flock -n {dir}/{record} true"),
        "ls /run/pam_idtoken/tokens/*/0-session-*".to_owned(),
    ] {
        let said = siege.may_do(&script);
        assert!(!said.ok, "{script} worked: {}", said.all());
    }
    session.end();
    siege.nothing_is_left();
}

/// Whatever ends it ends it in this home, and no session of anybody else's.
fn ids(siege: &Siege) {
    let (_, _, id) = bobs(siege);
    siege.does("mkdir -p .condor/tokens.d");
    let names = [
        format!("0-session-fffffffffffffff0-ap1-{id}"),
        format!("0-session-0000000000000000-ap1-{id}"),
        format!(".0-session-0000000000000001-ap1-{id}"),
        format!("0-session-0000000000000002-ap2-{id}"),
    ];
    for name in &names {
        siege.does(&format!("echo no token >.condor/tokens.d/{name}"));
    }
    siege.sessions();
    let ended = siege.mallory().stay();
    siege.host().sh("idtokenctl end --user mallory");
    let own = siege.pool().tokens("mallory");
    assert!(own.iter().all(|token| token.ends_with(&id)), "{own:?}");
    ended.end();
    siege.reconcile();
    let session = siege.mallory().stay();
    // The same with a token of one's own that works.
    siege.does(&format!(
        "cd .condor/tokens.d; cp 0-session-*-ap1-* {} 2>/dev/null || true",
        names[0]
    ));
    siege.renew();
    session.end();
}
