//! What the configuration leaves out is asked of condor_config_val, which here is a script.

pub(crate) mod trouble;

use std::fs;

use pam_idtoken_tests::host::Step::{Close, End, Env, Open, Sh, Snapshot, Start, Threads};
use pam_idtoken_tests::host::condor::ANSWERS;
use pam_idtoken_tests::host::{Lab, Outcome, Step, Who};

use crate::Test::{self, Both, Root};
use crate::tokens::{claims, now};
use crate::{PAM_SUCCESS, nothing_is_left, running};

pub(crate) const TESTS: &[Test] = &[
    Both(
        "domains and limits that nobody wrote down are HTCondor's",
        found,
    ),
    Root(
        "HTCondor is asked with nothing of the host's, and leaves nothing running",
        as_root,
    ),
    Both("many logins ask HTCondor once, at once or not", once),
    Both(
        "a changed configuration of HTCondor's is followed by logins and by sessions",
        followed,
    ),
    Root(
        "show-config says what is from HTCondor, and check what contradicts it",
        shown,
    ),
];

const END: Step = End { silent: false };
const VALUES: &str = "CONDOR_VERSION=23.9.6\nTRUST_DOMAIN=pool.found.test\nUID_DOMAIN=found.test\n";
/// The first answer names the files that it was made from; whether one of them changed
/// meanwhile is not known, so it is asked once more.
const FIRST: usize = 2;
/// A lab that knows no domain; HTCondor's configuration says what it is given.
fn lab(who: Who, more: &str) -> Lab {
    let lab = Lab::new(who);
    says(&lab, VALUES);
    tool(&lab, ANSWERS);
    lab.configure_without_domains(&settings(&lab, more));
    lab
}

fn settings(lab: &Lab, more: &str) -> String {
    let tool = lab.path("bin/condor_config_val");
    format!("condor_config_val = {tool:?}\n{more}")
}

fn says(lab: &Lab, values: &str) {
    fs::write(lab.path("tmp/condor_config"), values).unwrap();
}

fn tool(lab: &Lab, script: &str) {
    let tmp = lab.path("tmp");
    let text = format!(
        "source={0}/condor_config\necho asked >>{0}/count\n{script}",
        tmp.display()
    );
    lab.script("condor_config_val", &text);
}

/// How often it was asked.
fn asked(lab: &Lab) -> usize {
    let count = fs::read_to_string(lab.path("tmp/count"));
    count.map_or(0, |text| text.lines().count())
}

/// A login with its token, or with nothing.
#[track_caller]
fn login(lab: &Lab) -> Outcome {
    let cat = Sh(format!("cat {}/* 2>/dev/null", lab.tokens_d().display()));
    let seen = lab.run(&[Start, Snapshot, Open(0), Snapshot, cat, Close, END]);
    assert_eq!(seen.codes("open"), [PAM_SUCCESS]);
    assert_eq!(seen.answers.snapshots[0], seen.answers.snapshots[1]);
    nothing_is_left(lab);
    seen
}

/// `iss` and `sub` of the token of a login.
#[track_caller]
fn domains(seen: &Outcome) -> (String, String) {
    let token = claims(&seen.answers.shell[0]);
    (token.iss.unwrap(), token.sub.unwrap())
}

fn pair(issuer: &str, subject: &str) -> (String, String) {
    (issuer.to_owned(), subject.to_owned())
}

fn found(who: Who) {
    let lab = lab(who, "");
    says(
        &lab,
        &format!("{VALUES}SEC_TOKEN_MAX_AGE='60 * 10'\nSEC_TOKEN_ISSUER_KEY=site\n"),
    );
    fs::rename(lab.path("keys/POOL"), lab.path("keys/site")).unwrap();
    let seen = login(&lab);
    assert_eq!(
        domains(&seen),
        pair("pool.found.test", "alice@found.test"),
        "{:#?}",
        seen.log
    );
    let token = claims(&seen.answers.shell[0]);
    assert_eq!(token.kid.unwrap(), "site");
    let left = token.exp.unwrap() - now();
    assert!((500..=600).contains(&left), "{left}");
    assert!(seen.answers.messages.is_empty());
    // What is written down wins.
    lab.configure(&settings(&lab, ""));
    assert_eq!(
        domains(&login(&lab)),
        pair("pool.lab.test", "alice@lab.test")
    );
}

fn as_root() {
    let lab = lab(Who::Root, "condor_config = \"/etc/hosts\"\n");
    let marker = format!("3602.{}", std::process::id());
    let script = format!(
        "env | grep -v ^PWD= | sort >{tmp}/seen; id -u >>{tmp}/seen; pwd >>{tmp}/seen
         setsid sleep {marker} & sleep 0.05; {ANSWERS}",
        tmp = lab.path("tmp").display()
    );
    tool(&lab, &script);
    let set = |key: &str| Env(key.into(), "/tmp/evil".into());
    lab.run(&[
        set("CONDOR_CONFIG"),
        set("_CONDOR_TRUST_DOMAIN"),
        set("HOME"),
        Open(0),
        Close,
        END,
    ]);
    let seen = fs::read_to_string(lab.path("tmp/seen")).unwrap();
    assert_eq!(seen, "CONDOR_CONFIG=/etc/hosts\nPATH=/usr/bin:/bin\n0\n/\n");
    assert_eq!(running(&marker), Vec::<String>::new());
}

fn once(who: Who) {
    let lab = lab(who, "timeout = \"20s\"\n");
    tool(&lab, &format!("sleep 0.1\n{ANSWERS}"));
    std::thread::scope(|scope| {
        let hosts: Vec<_> = (0..4)
            .map(|_| scope.spawn(|| lab.run(&[Threads(5), END])))
            .collect();
        for host in hosts {
            let seen = host.join().unwrap();
            assert_eq!(seen.codes("open"), [PAM_SUCCESS; 5]);
        }
    });
    let audit = fs::read_dir(lab.path("state")).unwrap();
    let audit = audit.map(|entry| entry.unwrap().path());
    let audit = audit.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
    let audit: String = audit
        .map(|path| fs::read_to_string(path).unwrap())
        .collect();
    assert_eq!(audit.matches("\"event\":\"opened\"").count(), 20);
    assert_eq!(audit.matches("alice@found.test").count(), 40);
    let first = asked(&lab);
    assert!(first <= FIRST, "{first} times for 20 at once");
    for _ in 0..10 {
        let all = pair("pool.found.test", "alice@found.test");
        assert_eq!(domains(&login(&lab)), all);
    }
    assert_eq!(asked(&lab), first, "10 later");
}

fn followed(who: Who) {
    let lab = lab(who, "");
    let session = lab.stay("alice", &[Open(0)]);
    let token = || fs::read_to_string(lab.tokens_d().join(&lab.tokens()[0])).unwrap();
    let (first, times) = (token(), asked(&lab));
    says(
        &lab,
        "CONDOR_VERSION=23.9.6\nTRUST_DOMAIN=new.test\nUID_DOMAIN=uid.test\n",
    );
    let said = lab.tool(&["reconcile"]).must().stdout;
    assert!(said.contains("renewed: alice"), "{said}");
    assert!(
        said.contains("trust domain, user or scope changed"),
        "{said}"
    );
    let (first, second) = (claims(&first), claims(&token()));
    assert_eq!(first.iss.unwrap(), "pool.found.test");
    assert_eq!(second.iss.unwrap(), "new.test");
    assert_eq!(second.sub.unwrap(), "alice@uid.test");
    assert_eq!(asked(&lab), times + 1);
    session.end();
    assert_eq!(domains(&login(&lab)), pair("new.test", "alice@uid.test"));
    assert_eq!(asked(&lab), times + 1);
    says(&lab, VALUES);
    assert_eq!(domains(&login(&lab)).0, "pool.found.test");
    assert_eq!(asked(&lab), times + 2);
}

fn shown() {
    let lab = lab(Who::Root, "");
    says(&lab, &format!("{VALUES}SEC_TOKEN_MAX_AGE=600\n"));
    let said = lab.tool(&["show-config"]).must().stdout;
    let has = |part: &str| assert!(said.contains(part), "{part}: {said}");
    has("trust_domain = \"pool.found.test\"  # from HTCondor\n");
    has("uid_domain = \"found.test\"  # from HTCondor\n");
    has("token_max_age = \"10m\"  # from HTCondor\n");
    has("min_uid = 1  # from the file\n");
    lab.configure(&settings(&lab, ""));
    let said = lab.tool(&["show-config"]).must().stdout;
    assert!(said.contains("trust_domain = \"pool.lab.test\"  # from the file\n"));
    let said = lab.tool(&["check"]).stdout;
    for part in [
        "ok    HTCondor 23.9.6 says trust domain pool.found.test, UID domain found.test",
        "WARN  trust_domain is pool.lab.test, and TRUST_DOMAIN of this host's HTCondor is \
         pool.found.test",
        "WARN  uid_domain is lab.test, and UID_DOMAIN of this host's HTCondor is found.test",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
    says(&lab, "TRUST_DOMAIN='a b'\nUID_DOMAIN='not a domain'\n");
    let said = lab.tool(&["check"]).stdout;
    assert!(
        said.contains("HTCondor's UID_DOMAIN is \"not a domain\""),
        "{said}"
    );
}
