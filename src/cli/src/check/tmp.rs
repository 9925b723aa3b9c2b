//! Is /tmp the same for users and HTCondor's daemons?
//!
//! HTCondor's FS authentication makes a directory in /tmp and has the other side look at it. Whoever
//! asks the schedd of this host for a token is known by it.

use std::fs;
use std::path::{Path, PathBuf};

use session::config::Config;
use session::issuer::Issuer;

use super::finding::{Finding, Id};
use super::stack::Seen;
use super::units::Units;

const SECURITY: &str = "/etc/security";

/// Looks at pam_namespace in the stack and at the units of sshd and HTCondor.
pub(super) fn look(
    seen: Option<&Seen>,
    units: Option<&Units>,
    config: &Config,
    euid: u32,
) -> Finding {
    let why = apart(Path::new(SECURITY), seen, units);
    judge(why, asks_the_schedd(config, euid))
}

/// Why users have another /tmp than HTCondor's daemons, and the file that says so.
fn apart(
    dir: &Path,
    seen: Option<&Seen>,
    units: Option<&Units>,
) -> Option<(String, Option<PathBuf>)> {
    if let Some(line) = seen.and_then(|seen| seen.other("pam_namespace.so"))
        && let Some(place) = namespaced(dir)
    {
        let file = place.rsplit_once(':').map(|(file, _)| PathBuf::from(file));
        let what = format!(
            "pam_namespace at {} gives users a /tmp of their own, by {place}",
            line.place
        );
        return Some((what, file));
    }
    let service = units?.with_private_tmp().into_iter().next()?;
    Some((format!("{service} has PrivateTmp=yes"), None))
}

/// The line of pam_namespace's configuration about /tmp (namespace.conf(5)).
fn namespaced(dir: &Path) -> Option<String> {
    let more = fs::read_dir(dir.join("namespace.d"))
        .into_iter()
        .flatten()
        .flatten();
    let mut files: Vec<PathBuf> = more.map(|entry| entry.path()).collect();
    files.retain(|path| path.extension().is_some_and(|end| end == "conf"));
    files.sort();
    files.insert(0, dir.join("namespace.conf"));
    for path in files {
        let text = fs::read_to_string(&path).unwrap_or_default();
        let is_tmp = |line: &str| line.split_whitespace().next() == Some("/tmp");
        if let Some(number) = text.lines().position(is_tmp) {
            return Some(format!("{}:{}", path.display(), number + 1));
        }
    }
    None
}

/// The first table whose tokens the schedd of this host signs, by its number.
fn asks_the_schedd(config: &Config, euid: u32) -> Option<usize> {
    let is_local = |token: &session::config::TokenSettings| {
        token.schedd_name.is_none() && token.schedd_pool.is_none()
    };
    config.tables.iter().position(|table| {
        is_local(&table.token) && matches!(Issuer::new(&table.token, euid), Ok(Issuer::Schedd(_)))
    })
}

fn judge(why: Option<(String, Option<PathBuf>)>, table: Option<usize>) -> Finding {
    let Some((why, file)) = why else {
        return Finding::ok(
            Id::TmpDirectory,
            "users and HTCondor share /tmp, as far as can be seen",
        );
    };
    let finding = match table {
        Some(_) => Finding::fail(
            Id::TmpDirectory,
            format!(
                "{why}: the schedd of this host does not know users by FS authentication, and signs \
                 no token for them"
            ),
        )
        .with_remedy(
            "take /tmp out there, or put the signing key on this host (issuer = \"key\")",
        ),
        None => Finding::note(
            Id::TmpDirectory,
            format!(
                "{why}: FS authentication fails, and commands to this host's own schedd use the \
                 session's token"
            ),
        ),
    };
    match file {
        Some(file) => finding.about(&file),
        None => finding,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use crate::check::stack::tests::look_at;

    #[test]
    fn a_tmp_of_the_users_own_matters_where_the_schedd_signs() {
        let why = || Some(("x has PrivateTmp=yes".to_owned(), None));
        assert!(judge(why(), Some(0)).is(Level::Fail, "signs no token"));
        assert!(judge(why(), None).is(Level::Note, "FS authentication fails"));
        assert_eq!(judge(None, Some(0)).level, Level::Ok);
    }

    #[test]
    fn a_tmp_is_found_where_pam_namespace_reads_it() {
        let dir = tempfile::tempdir().unwrap();
        let us = "session optional pam_idtoken.so\n";
        let (with, _) = look_at(&format!("session required pam_namespace.so\n{us}"));
        let (without, _) = look_at(us);
        let found = |seen: &Option<Seen>| apart(dir.path(), seen.as_ref(), None);
        fs::write(
            dir.path().join("namespace.conf"),
            "#/tmp /tmp-inst level\n/var/tmp x level\n",
        )
        .unwrap();
        assert!(found(&with).is_none());
        fs::create_dir(dir.path().join("namespace.d")).unwrap();
        let file = dir.path().join("namespace.d/site.conf");
        fs::write(&file, "\n/tmp /tmp-inst/ level root,adm\n").unwrap();
        let (why, named) = found(&with).unwrap();
        assert!(why.contains("site.conf:2") && named == Some(file), "{why}");
        assert!(found(&without).is_none());
    }

    #[test]
    fn a_schedd_elsewhere_knows_users_otherwise() {
        let number = |text: &str| {
            let text = format!("trust_domain = \"a\"\nuid_domain = \"a\"\n{text}");
            let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
            asks_the_schedd(&config, 0)
        };
        assert_eq!(number("issuer = \"schedd\""), Some(0));
        assert_eq!(number("issuer = \"schedd\"\nschedd_name = \"ap2\""), None);
        assert_eq!(number("issuer = \"key\""), None);
    }
}
