//! idtokenctl check asks a real pool, and a monitor reads what it says.

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::{DOMAIN, Host, Pool};
use serde_json::Value;

use crate::Test;
use crate::support::PRIVATE;

pub(crate) const TESTS: &[Test] = &[
    (
        "check --online: the whole pool accepts a token that is gone afterwards and has left a trace",
        accepted,
    ),
    (
        "check --online names the host that has another key, and no other",
        another_key,
    ),
    (
        "check --online that is interrupted takes its token away",
        interrupted,
    ),
    (
        "check sees a line that is never reached, and a /tmp that the schedd does not share",
        surroundings,
    ),
];

const KEY: &str = "/etc/condor/passwords.d/POOL";

/// What `check --json` says, which is one document whatever it found.
#[track_caller]
pub(crate) fn report(answer: &Answer) -> Value {
    let report: Value = serde_json::from_str(&answer.stdout)
        .unwrap_or_else(|error| panic!("{error}: {}", answer.all()));
    assert_eq!(report["version"], 1);
    assert_eq!(report["ready"], answer.ok, "{}", answer.all());
    assert_eq!(answer.code, Some(i32::from(!answer.ok)));
    report
}

/// The levels of the findings of this id, each with its host.
pub(crate) fn levels(report: &Value, id: &str) -> Vec<(String, String)> {
    let findings = report["findings"].as_array().unwrap().iter();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    findings
        .filter(|finding| finding["id"] == id)
        .map(|finding| (text(&finding["level"]), text(&finding["host"])))
        .collect()
}

fn asked(host: &Host) -> Answer {
    host.run(&[
        "idtokenctl",
        "check",
        "--user",
        "carol",
        "--online",
        "--json",
    ])
}

fn schedds(pool: &Pool, ap2: &str) -> Vec<(String, String)> {
    let of = |name: &str, level: &str| (level.to_owned(), pool.host(name).full_name());
    vec![of("ap1", "ok"), of("ap2", ap2)]
}

fn nothing_is_left(pool: &Pool) {
    let left = pool.host("ap1").sh(&format!(
        "find {PRIVATE} -mindepth 1; ls -d /tmp/*idtoken* || true"
    ));
    assert_eq!(left, "");
    assert_eq!(pool.tokens("carol"), Vec::<String>::new());
}

fn accepted(pool: &Pool) {
    let ap1 = pool.host("ap1");
    let cursor = ap1.log_cursor();
    let answer = asked(ap1);
    let report = report(&answer);
    assert!(answer.ok, "{}", answer.all());
    assert_eq!(
        levels(&report, "online-schedd"),
        schedds(pool, "ok"),
        "{report}"
    );
    for id in [
        "online-collector",
        "online-clock",
        "online",
        "signing-key-same",
    ] {
        let levels = levels(&report, id);
        assert!(levels.len() == 1 && levels[0].0 == "ok", "{id}: {report}");
    }
    let said = &answer.stdout;
    assert!(said.contains(&format!("WRITE as carol@{DOMAIN}")), "{said}");
    assert!(!said.contains("eyJ"), "a token in {said}");
    nothing_is_left(pool);
    let line = ap1.wait_for_log(
        &cursor,
        "pam_idtoken(check): token made to check the pool user=carol",
    );
    let jti = line
        .split(" jti=")
        .nth(1)
        .unwrap()
        .split(' ')
        .next()
        .unwrap();
    assert!(said.contains(jti), "{jti} in {said}");
    let audit = ap1.sh("grep '\"event\":\"checked\"' /var/lib/pam_idtoken/audit.jsonl | tail -n 1");
    assert!(audit.contains(jti), "{jti} in {audit}");
    let revoked = ap1
        .run(&["idtokenctl", "revoke-expr", "--user", "carol"])
        .must();
    assert!(revoked.stdout.contains(jti), "{}", revoked.all());
    // The same for people.
    let text = ap1
        .run(&["idtokenctl", "check", "--user", "carol", "--online"])
        .must();
    let part = format!("ok    the schedd ap2.{DOMAIN} (HTCondor 23.");
    assert!(text.stdout.contains(&part), "{}", text.stdout);
    assert!(
        text.stdout.ends_with("This host is ready.\n"),
        "{}",
        text.stdout
    );
}

fn another_key(pool: &Pool) {
    let (ap1, ap2) = (pool.host("ap1"), pool.host("ap2"));
    ap2.sh(&format!("cp -a {KEY} /root/kept; echo another >{KEY}"));
    let answer = asked(ap1);
    ap2.sh(&format!("mv /root/kept {KEY}"));
    let report = report(&answer);
    assert!(!answer.ok);
    assert_eq!(
        levels(&report, "online-schedd"),
        schedds(pool, "fail"),
        "{report}"
    );
    let failed: Vec<&Value> = report["findings"].as_array().unwrap().iter().collect();
    let failed: Vec<&&Value> = failed
        .iter()
        .filter(|finding| finding["level"] == "fail")
        .collect();
    assert!(failed.len() == 1, "{failed:?}");
    let (message, remedy) = (&failed[0]["message"], &failed[0]["remedy"]);
    assert!(
        message.as_str().unwrap().contains("refuses the token"),
        "{message}"
    );
    assert!(remedy.as_str().unwrap().contains("sha256sum"), "{remedy}");
    nothing_is_left(pool);
}

fn interrupted(pool: &Pool) {
    let (ap1, ap2) = (pool.host("ap1"), pool.host("ap2"));
    ap2.stop("condor_schedd");
    // ap2 answers nobody, so the check waits for it with its token in place. A shell has what it
    // starts in the background ignore SIGINT and SIGQUIT. The token is gone when the check has
    // ended; what it ran hears of that and ends after it.
    let said = ["INT", "QUIT", "TERM", "KILL"].map(|signal| {
        let answer = ap1.run(&[
            "sh",
            "-c",
            &format!(
                "nohup env --default-signal=INT,QUIT \
                     idtokenctl check --user carol --online >/dev/null 2>&1 & pid=$!
                 for i in $(seq 400); do
                     pgrep -u carol -f 'condor_ping.*ap2' >/dev/null && break; sleep 0.02; done
                 ls {PRIVATE} | wc -l; find {PRIVATE} -name '0-session-*' | wc -l
                 grep -c 'Max core file size  *1  *1 ' /proc/$pid/limits
                 kill -HUP $pid; sleep 0.2; kill -{signal} $pid; wait $pid; echo $?
                 [ {signal} != KILL ] || for i in $(seq 150); do
                     find {PRIVATE} -mindepth 1 | grep -q . || break; sleep 0.1; done
                 find {PRIVATE} -mindepth 1 | wc -l
                 for i in $(seq 50); do
                     pgrep -u carol -f condor_ping >/dev/null || break; sleep 0.02; done
                 pgrep -u carol -f condor_ping | wc -l
                 find /run/pam_idtoken -name 'trial-*' | wc -l"
            ),
        ]);
        answer
            .stdout
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    });
    ap2.go_on("condor_schedd");
    for (said, code) in said.iter().zip(["130", "131", "143", "137"]) {
        assert_eq!(said[..], ["1", "1", "1", code, "0", "0", "0"]);
    }
    nothing_is_left(pool);
}

fn surroundings(pool: &Pool) {
    let ap1 = pool.host("ap1");
    ap1.sh("cp /etc/pam.d/sshd /root/kept
        sed -i '/pam_idtoken/i session sufficient pam_permit.so' /etc/pam.d/sshd
        sed -i '1i session optional pam_namespace.so' /etc/pam.d/sshd
        mkdir -p /etc/security/namespace.d
        echo '/tmp /tmp-inst/ user root' >/etc/security/namespace.d/site.conf");
    ap1.configure("issuer = \"schedd\"\n");
    let answer = ap1.run(&["idtokenctl", "check", "--user", "carol", "--json"]);
    ap1.configure("");
    ap1.sh("mv /root/kept /etc/pam.d/sshd; rm /etc/security/namespace.d/site.conf");
    let report = report(&answer);
    let level = |id: &str| levels(&report, id).remove(0).0;
    let seen = [
        "stack-line",
        "stack-reached",
        "tmp-directory",
        "token",
        "htcondor-version",
    ]
    .map(level);
    // The schedd shares the /tmp of root, who asks here: only the stack tells of users.
    assert_eq!(seen, ["ok", "fail", "fail", "ok", "ok"], "{report}");
    assert!(
        answer.stdout.contains("namespace.d/site.conf:1"),
        "{report}"
    );
}
