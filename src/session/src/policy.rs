//! Who is served.

use std::fmt;

use crate::config::{Config, Table, When};
use crate::error::{Error, Result};
use crate::record::Login;
use crate::user::User;

/// Accounts that never get a token: HTCondor gives them administrators' rights.
const NEVER: [&str; 3] = ["root", "condor", "condor_pool"];

/// Whether a user of a service gets a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The session gets a token.
    Serve,
    /// The session passes untouched.
    Pass(Reason),
}

/// Why a session passes untouched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// The PAM service is not among `services`.
    Service(String),
    /// root, condor and condor_pool never get a token, nor does uid 0 under any name.
    Never,
    /// The uid is below `min_uid`.
    Uid(u32),
    /// The user is in `deny_users`.
    DeniedUser,
    /// The user is in this group of `deny_groups`.
    DeniedGroup(String),
    /// `allow_users` or `allow_groups` are set and the user is in none of them.
    NotAllowed,
    /// No `[[token]]` table is for this session.
    NoTable,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Service(name) => write!(f, "the service {name} is not among services"),
            Self::Never => f.write_str("root, condor and condor_pool never get a token"),
            Self::Uid(uid) => write!(f, "uid {uid} is below min_uid"),
            Self::DeniedUser => f.write_str("the user is in deny_users"),
            Self::DeniedGroup(group) => write!(f, "the group {group} is in deny_groups"),
            Self::NotAllowed => f.write_str("the user is in none of allow_users and allow_groups"),
            Self::NoTable => f.write_str("no [[token]] table is for this session"),
        }
    }
}

/// What can be told before the user is looked up: the service, and names that
/// are never served.
pub fn before_lookup(config: &Config, service: &str, name: &str) -> Verdict {
    if !config.services.iter().any(|served| served == service) {
        Verdict::Pass(Reason::Service(service.to_owned()))
    } else if is_never(name) {
        Verdict::Pass(Reason::Never)
    } else {
        Verdict::Serve
    }
}

/// Whether the user is served. Fails when a group can not be looked up: then
/// nobody can say whether a token would be against the administrator's will.
pub fn verdict(config: &Config, user: &User) -> Result<Verdict> {
    if user.uid == 0 || is_never(&user.name) {
        return Ok(Verdict::Pass(Reason::Never));
    }
    if user.uid < config.min_uid {
        return Ok(Verdict::Pass(Reason::Uid(user.uid)));
    }
    if config.deny_users.contains(&user.name) {
        return Ok(Verdict::Pass(Reason::DeniedUser));
    }
    let mut missing = None;
    for group in &config.deny_groups {
        match user.is_in_group(group)? {
            Some(true) => return Ok(Verdict::Pass(Reason::DeniedGroup(group.clone()))),
            Some(false) => {}
            None => missing = Some(group),
        }
    }
    if !is_allowed(config, user)? {
        return Ok(Verdict::Pass(Reason::NotAllowed));
    }
    // Nobody can say that the user is not in it.
    missing.map_or(Ok(Verdict::Serve), |group| Err(unknown(group)))
}

fn is_allowed(config: &Config, user: &User) -> Result<bool> {
    if config.allow_users.is_empty() && config.allow_groups.is_empty() {
        return Ok(true);
    }
    if config.allow_users.contains(&user.name) {
        return Ok(true);
    }
    for group in &config.allow_groups {
        if user.is_in_group(group)? == Some(true) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn unknown(group: &str) -> Error {
    Error::NoGroup(group.to_owned())
}

/// The tokens of a session, as indices into [`Config::tables`] in their order: of the
/// tables with one name the first that is for the session.
///
/// `is_in_group` says whether the user is in a group, none if there is no such group. When
/// it fails, or the user is in none of a table's groups and one of them is not known, nobody
/// can tell which tokens are the administrator's will.
pub fn tables(
    config: &Config,
    user: &User,
    login: &Login,
    is_in_group: &dyn Fn(&str) -> Result<Option<bool>>,
) -> Result<Vec<usize>> {
    let mut chosen: Vec<usize> = Vec::new();
    for (index, table) in config.tables.iter().enumerate() {
        let is_known = |other: &usize| config.tables[*other].name == table.name;
        if !chosen.iter().any(is_known) && is_for(&table.when, user, login, is_in_group)? {
            chosen.push(index);
        }
    }
    Ok(chosen)
}

/// The table of a session's token file, if there is one of its name for the session.
pub fn table_named<'a>(
    config: &'a Config,
    chosen: &[usize],
    name: Option<&str>,
) -> Option<(usize, &'a Table)> {
    let tables = chosen.iter().map(|index| (*index, &config.tables[*index]));
    tables
        .into_iter()
        .find(|(_, table)| table.name.as_deref() == name)
}

fn is_for(
    when: &When,
    user: &User,
    login: &Login,
    is_in_group: &dyn Fn(&str) -> Result<Option<bool>>,
) -> Result<bool> {
    let holds = |list: &[String], value: &str| list.is_empty() || list.iter().any(|v| v == value);
    if !holds(&when.users, &user.name) || !holds(&when.services, &login.service) {
        return Ok(false);
    }
    let is_from = || {
        let rhost = login.rhost.as_deref().unwrap_or_default();
        when.remote_hosts.iter().any(|host| host.matches(rhost))
    };
    if !when.remote_hosts.is_empty() && !is_from() {
        return Ok(false);
    }
    let is_by = |method: &String| login.auth.iter().any(|used| is_method(used, method));
    if !when.ssh_auth_methods.is_empty() && !when.ssh_auth_methods.iter().any(is_by) {
        return Ok(false);
    }
    // Last, since it may ask a directory service.
    if when.groups.is_empty() {
        return Ok(true);
    }
    let mut missing = None;
    for group in &when.groups {
        match is_in_group(group)? {
            Some(true) => return Ok(true),
            Some(false) => {}
            None => missing = Some(group),
        }
    }
    missing.map_or(Ok(false), |group| Err(unknown(group)))
}

/// sshd says `keyboard-interactive/pam` of the method keyboard-interactive.
fn is_method(used: &str, method: &str) -> bool {
    used == method || used.split('/').next() == Some(method)
}

/// `condor@domain` as a login name would make the subject `condor@domain@domain`,
/// and HTCondor of some versions splits at the first `@`.
fn is_never(name: &str) -> bool {
    let local = name.split('@').next().unwrap_or_default();
    let local = local.rsplit('\\').next().unwrap_or_default();
    NEVER.iter().any(|never| never.eq_ignore_ascii_case(local))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::{Path, PathBuf};

    fn config(text: &str) -> Config {
        Config::parse(text, Path::new("/x.toml")).unwrap()
    }

    fn user(name: &str, uid: u32) -> User {
        // The group root exists on every host and has gid 0.
        User {
            name: name.into(),
            uid,
            gid: uid,
            groups: vec![0, uid],
            home: PathBuf::from("/h"),
        }
    }

    fn verdict_of(text: &str, user: &User) -> Verdict {
        verdict(&config(text), user).unwrap()
    }

    #[test]
    fn a_service_that_is_not_listed_passes() {
        let config = config("services = [\"sshd\"]");
        assert_eq!(before_lookup(&config, "sshd", "alice"), Verdict::Serve);
        assert_eq!(
            before_lookup(&config, "sudo", "alice"),
            Verdict::Pass(Reason::Service("sudo".into()))
        );
    }

    #[test]
    fn root_condor_and_condor_pool_never_get_a_token_under_any_spelling() {
        let config = config("min_uid = 0\nallow_users = [\"root\", \"condor\"]");
        for name in [
            "root",
            "condor",
            "condor_pool",
            "Condor",
            "condor@x",
            "LAB\\condor",
            "ROOT@a",
        ] {
            assert_eq!(
                before_lookup(&config, "sshd", name),
                Verdict::Pass(Reason::Never),
                "{name}"
            );
            assert_eq!(
                verdict(&config, &user(name, 1500)).unwrap(),
                Verdict::Pass(Reason::Never),
                "{name}"
            );
        }
        assert_eq!(
            verdict(&config, &user("toor", 0)).unwrap(),
            Verdict::Pass(Reason::Never)
        );
    }

    #[test]
    fn system_users_pass() {
        assert_eq!(
            verdict_of("", &user("svc", 999)),
            Verdict::Pass(Reason::Uid(999))
        );
        assert_eq!(verdict_of("", &user("alice", 1000)), Verdict::Serve);
        assert_eq!(
            verdict_of("min_uid = 500", &user("svc", 999)),
            Verdict::Serve
        );
    }

    #[test]
    fn a_denial_wins_over_a_permission() {
        let alice = user("alice", 1000);
        assert_eq!(
            verdict_of(
                "allow_users = [\"alice\"]\ndeny_groups = [\"root\"]",
                &alice
            ),
            Verdict::Pass(Reason::DeniedGroup("root".into()))
        );
        assert_eq!(
            verdict_of(
                "allow_groups = [\"root\"]\ndeny_users = [\"alice\"]",
                &alice
            ),
            Verdict::Pass(Reason::DeniedUser)
        );
    }

    #[test]
    fn a_list_of_the_allowed_shuts_out_everybody_else() {
        let alice = user("alice", 1000);
        assert_eq!(
            verdict_of("allow_users = [\"bob\"]", &alice),
            Verdict::Pass(Reason::NotAllowed)
        );
        assert_eq!(
            verdict_of("allow_groups = [\"no-such-group\"]", &alice),
            Verdict::Pass(Reason::NotAllowed)
        );
        assert_eq!(
            verdict_of("allow_groups = [\"root\"]", &alice),
            Verdict::Serve
        );
        assert_eq!(
            verdict_of("allow_users = [\"alice\"]\nallow_groups = [\"x\"]", &alice),
            Verdict::Serve
        );
    }

    fn chosen(text: &str, login: &Login) -> Vec<Option<String>> {
        let (config, alice) = (config(text), user("alice", 1000));
        let chosen = tables(&config, &alice, login, &|group| alice.is_in_group(group));
        let chosen = chosen.unwrap().into_iter();
        chosen.map(|i| config.tables[i].name.clone()).collect()
    }

    #[test]
    fn the_first_table_of_a_name_that_is_for_the_session_counts() {
        let (config, alice) = (
            config(
                "[[token]]\ngroups = [\"daemon\"]\nscope = [\"READ\"]\n\
                 [[token]]\nname = \"two\"\n[[token]]\nusers = [\"alice\"]\n[[token]]\n",
            ),
            user("alice", 1000),
        );
        let login = Login::default();
        let chosen = tables(&config, &alice, &login, &|g| alice.is_in_group(g)).unwrap();
        assert_eq!(chosen, [1, 2]);
        assert_eq!(table_named(&config, &chosen, None).unwrap().0, 2);
        assert_eq!(table_named(&config, &chosen, Some("two")).unwrap().0, 1);
        assert!(table_named(&config, &chosen, Some("three")).is_none());
    }

    #[test]
    fn every_list_of_a_table_has_to_name_the_session() {
        let login = Login {
            service: "sshd".into(),
            rhost: Some("192.0.2.7".into()),
            auth: vec!["publickey".into(), "keyboard-interactive/pam".into()],
        };
        let is = |lists: &str| !chosen(&format!("[[token]]\n{lists}"), &login).is_empty();
        assert!(is("services = [\"login\", \"sshd\"]"));
        assert!(!is("services = [\"login\"]"));
        assert!(is("remote_hosts = [\"192.0.2.0/24\"]"));
        assert!(!is("remote_hosts = [\"192.0.3.0/24\", \".lab\"]"));
        assert!(is("ssh_auth_methods = [\"publickey\"]"));
        assert!(is("ssh_auth_methods = [\"keyboard-interactive\"]"));
        assert!(!is("ssh_auth_methods = [\"password\", \"public\"]"));
        assert!(is(
            "groups = [\"no-such-group\", \"root\"]\nusers = [\"alice\"]"
        ));
        assert!(!is("groups = [\"root\"]\nusers = [\"bob\"]"));
        assert!(!is("services = [\"sshd\"]\nremote_hosts = [\"10.0.0.1\"]"));
        // A console has no remote host, and a host that is not sshd no methods.
        let console = Login::default();
        for lists in [
            "remote_hosts = [\"0.0.0.0/0\"]",
            "ssh_auth_methods = [\"none\"]",
        ] {
            assert!(
                chosen(&format!("[[token]]\n{lists}"), &console).is_empty(),
                "{lists}"
            );
        }
    }

    #[test]
    fn a_group_that_is_not_there_is_no_proof_that_nobody_is_in_it() {
        let alice = user("alice", 1000);
        let is = |text: &str| {
            let login = Login::default();
            tables(&config(text), &alice, &login, &|g| alice.is_in_group(g)).map(|t| t.len())
        };
        let text = "[[token]]\ngroups = [\"no-such-group\"]\nscope = [\"READ\"]\n[[token]]\n";
        let why = is(text).unwrap_err().to_string();
        assert!(why.contains("no-such-group"), "{why}");
        assert_eq!(
            is("[[token]]\ngroups = [\"no-such-group\", \"root\"]").unwrap(),
            1
        );
        let denied = config("deny_groups = [\"no-such-group\"]");
        assert!(verdict(&denied, &alice).is_err());
        // Who would not be served anyway is nobody's concern.
        let others = config("deny_groups = [\"no-such-group\"]\nallow_users = [\"bob\"]");
        assert_eq!(
            verdict(&others, &alice).unwrap(),
            Verdict::Pass(Reason::NotAllowed)
        );
    }

    #[test]
    fn a_group_that_can_not_be_asked_gives_no_token() {
        let config = config("[[token]]\ngroups = [\"a\"]\n[[token]]\n");
        let fails = |_: &str| Err(Error::NoUser("x".into()));
        assert!(tables(&config, &user("a", 1), &Login::default(), &fails).is_err());
    }
}
