//! What words and examples in the documents mean on the host of the walk.

use std::collections::BTreeSet;

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::documents::kind::Piece;
use pam_idtoken_tests::pool::DOMAIN;
use serde_json::Value;

/// What a command of a document calls things, and what that is here: alice's session, as
/// `idtokenctl list` shows it, and her job.
///
/// Without a session, once idtokenctl was removed, nothing has a name.
pub(super) fn names(
    command: &str,
    session: Option<&Value>,
    job: &str,
) -> Vec<(&'static str, String)> {
    let Some(session) = session else {
        return Vec::new();
    };
    let of_session = |key: &str| match &session[key] {
        Value::Array(list) => list[0].as_str().unwrap().to_owned(),
        value => value.as_str().unwrap().to_owned(),
    };
    let asks_the_pool = command.starts_with("condor_");
    let (id, host) = if asks_the_pool {
        (job.to_owned(), format!("ap2.{DOMAIN}"))
    } else {
        (of_session("session"), "192.0.2.7".to_owned())
    };
    vec![
        ("NAME", "alice".to_owned()),
        ("HOST", host),
        ("METHOD", "publickey".to_owned()),
        ("WHEN", "2h".to_owned()),
        ("ID", id),
        ("SESSION", of_session("session")),
        ("8c41f2a90b6d37e5", of_session("session")),
        ("5f0d6a3c9be14782a1c0d4e7f3b29866", of_session("jti")),
        ("FILE", of_session("token")),
        ("PATH", "/root/other.toml".to_owned()),
        ("41579", job.to_owned()),
        ("wn02.example.org", format!("cm.{DOMAIN}")),
    ]
}

/// Tells HTCondor a setting, sees that it has it, and takes it back.
pub(super) fn told_to_condor(setting: &str) -> String {
    let file = "/etc/condor/config.d/99-document";
    let name = setting.split(' ').next().unwrap();
    format!(
        "echo '{setting}' >{file}; said=$(condor_config_val -v {name} 2>&1)
         rm {file}; echo \"$said\" | grep {file}"
    )
}

/// Makes a drop-in for our unit that has this section, sees that systemd has nothing to say of it,
/// and takes it back.
pub(super) fn put_beside_the_unit(drop_in: &str) -> String {
    let unit = match drop_in.lines().next() {
        Some("[Service]") => "pam_idtoken-reconcile.service",
        Some("[Path]") => "pam_idtoken-reconcile.path",
        Some("[Timer]") => "pam_idtoken-reconcile.timer",
        _ => "run-pam_idtoken-tokens.mount",
    };
    format!(
        "dir=/etc/systemd/system/{unit}.d; mkdir -p $dir; cat >$dir/document.conf <<'E'
{drop_in}
E
         said=$(systemd-analyze verify {unit} 2>&1); rm $dir/document.conf; rmdir $dir
         echo \"$said\"; ! echo \"$said\" | grep -q document.conf"
    )
}

/// Prints the last line of a login.
pub(super) const A_LINE: &str =
    "journalctl -q -o cat SYSLOG_FACILITY=10 | grep 'token opened user=' | tail -1";

/// The example has the beginning and the fields of a real line.
#[track_caller]
pub(super) fn is_like_a_line(example: &Piece, real: &Answer) {
    let parts = |line: &str| -> Vec<String> {
        let words = line.trim().split(' ');
        words
            .map(|word| word.split('=').next().unwrap().to_owned())
            .collect()
    };
    let place = example.passage.place();
    assert_eq!(parts(&example.text), parts(&real.stdout), "{place}");
}

/// Prints an object like the example: what check found, of the list, or else of the audit.
pub(super) fn an_object_like(example: &Piece) -> &'static str {
    if example.text.contains("\"findings\"") {
        "idtokenctl check --json"
    } else if example.text.contains("\"state\"") {
        "idtokenctl list --json | tail -1"
    } else {
        "grep '\"event\":\"opened\"' /var/lib/pam_idtoken/audit.jsonl | tail -1"
    }
}

/// The example has the keys of a real object, and so have the objects in it.
#[track_caller]
pub(super) fn is_like_an_object(example: &Piece, real: &Answer) {
    let keys = |text: &str| {
        let mut all = BTreeSet::new();
        collect("", &serde_json::from_str(text).unwrap(), &mut all);
        all
    };
    let place = example.passage.place();
    assert_eq!(keys(&example.text), keys(&real.stdout), "{place}");
}

/// The keys of an object and of those in it, each with its way; of a list its first one counts.
fn collect(way: &str, value: &Value, all: &mut BTreeSet<String>) {
    match value {
        Value::Object(object) => {
            for (key, value) in object {
                let way = format!("{way}.{key}");
                collect(&way, value, all);
                all.insert(way);
            }
        }
        Value::Array(list) => list
            .iter()
            .take(1)
            .for_each(|value| collect(way, value, all)),
        _ => {}
    }
}
