//! The signing keys: can they be read, and are they HTCondor's?

use idtoken::{KeyFault, KeyForm, Kid, SigningKey};
use session::config::{IssuerChoice, Table, TokenSettings};
use session::discovery::HTCondor;
use session::error::Error;
use session::issuer::{Issuer, key};

use super::finding::{Finding, Id};

/// Says of each kid of a table what is to be known of its key, before anything is signed.
///
/// `issuer` is what came of the table's own; `said` what HTCondor says of itself.
pub(super) fn look(
    table: &Table,
    issuer: &Result<Issuer, Error>,
    said: Option<&HTCondor>,
    euid: u32,
    findings: &mut Vec<Finding>,
) {
    let token = &table.token;
    if token.issuer == IssuerChoice::Schedd {
        return;
    }
    for kid in &token.kids {
        let path = token.key_file(kid);
        match key::read_key(token, kid, euid) {
            Ok(read) => {
                let what = format!("the signing key {} can be read: {}", kid, path.display());
                findings.push(Finding::ok(Id::SigningKey, what).about(&path));
                findings.extend(said.and_then(|said| same(token, kid, &read, said, euid)));
            }
            Err(error) => {
                let is_missing = matches!(error.fault, KeyFault::Missing);
                let finding = match issuer {
                    Ok(Issuer::Key(_)) => Finding::warn(
                        Id::SigningKey,
                        &error,
                        "sessions get tokens of the other kids only until this key is here",
                    ),
                    // What `auto` is for.
                    Ok(Issuer::Schedd(_)) if is_missing => Finding::note(Id::SigningKey, &error)
                        .with_remedy("or leave it so: the schedd signs in its place"),
                    Ok(Issuer::Schedd(_)) => Finding::warn(
                        Id::SigningKey,
                        &error,
                        "until then the schedd is asked in its place",
                    ),
                    Err(_) => Finding::fail(Id::SigningKey, &error),
                };
                findings.push(finding.about(&path));
            }
        }
    }
}

/// Whether HTCondor's daemons on this host verify with the same key. Of another pool's table it
/// can not be said.
fn same(
    token: &TokenSettings,
    kid: &Kid,
    ours: &SigningKey,
    said: &HTCondor,
    euid: u32,
) -> Option<Finding> {
    if said.trust_domain.is_none() || token.trust_domain != said.trust_domain {
        return None;
    }
    let theirs = if kid.is_pool() {
        said.pool_signing_key_file.clone()?
    } else {
        said.password_directory.as_ref()?.join(kid.as_str())
    };
    let form = match said.pool_signing_key_is_password {
        Some(true) if kid.is_pool() => KeyForm::Password,
        _ => KeyForm::Plain,
    };
    let path = token.key_file(kid);
    let remedy = "take the setting out of the configuration, so that HTCondor's own is used";
    let finding = match SigningKey::read(&theirs, kid, form, euid) {
        Ok(key) if key.fingerprint() == ours.fingerprint() => Finding::ok(
            Id::SigningKeySame,
            format!("HTCondor on this host has the same key {kid}"),
        ),
        Ok(_) => Finding::fail(
            Id::SigningKeySame,
            format!(
                "the key {kid} that signs, {}, is not the one that HTCondor on this host has, {}: it \
                 refuses our tokens",
                path.display(),
                theirs.display()
            ),
        )
        .with_remedy(remedy),
        Err(error) => Finding::warn(
            Id::SigningKeySame,
            format!("HTCondor on this host can not verify our tokens: {error}"),
            remedy,
        ),
    };
    Some(finding.about(&theirs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::check::finding::Level;
    use session::config::Config;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    struct Keys(tempfile::TempDir);

    impl Keys {
        fn new(keys: &[(&str, &str)]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            for (name, text) in keys {
                let path = dir.path().join(name);
                fs::write(&path, text).unwrap();
                fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
            }
            Self(dir)
        }

        fn looked(&self, text: &str, said: Option<&HTCondor>) -> Vec<Finding> {
            let text = format!(
                "trust_domain = \"lab\"\nuid_domain = \"lab\"\ncondor_token_fetch = \"/bin/sh\"\n\
                 password_directory = {:?}\n{text}",
                self.0.path()
            );
            let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
            let euid = session::host::euid();
            let issuer = Issuer::new(&config.tables[0].token, euid);
            let mut findings = Vec::new();
            look(&config.tables[0], &issuer, said, euid, &mut findings);
            findings
        }

        fn path(&self, name: &str) -> std::path::PathBuf {
            self.0.path().join(name)
        }
    }

    #[test]
    fn a_key_is_judged_by_whether_somebody_else_can_sign() {
        let none = Keys::new(&[]);
        let of = |text: &str| none.looked(text, None);
        assert!(of("")[0].is(Level::Note, "POOL is not there"));
        assert!(of("issuer = \"key\"")[0].is(Level::Fail, "POOL is not there"));
        assert!(of("issuer = \"schedd\"").is_empty());
        let empty = Keys::new(&[("POOL", "")]);
        assert!(empty.looked("", None)[0].is(Level::Fail, "is empty"));
        let open = Keys::new(&[("POOL", "secret")]);
        fs::set_permissions(open.path("POOL"), Permissions::from_mode(0o644)).unwrap();
        assert!(open.looked("", None)[0].is(Level::Warn, "chmod 0600"));
        let two = Keys::new(&[("old", "secret")]).looked("kid = [\"new\", \"old\"]", None);
        assert!(two[0].is(Level::Warn, "new is not there") && two[1].is(Level::Ok, "key old"));
    }

    #[test]
    fn another_key_than_htcondors_is_a_failure_wherever_it_is() {
        let keys = Keys::new(&[("POOL", "secret"), ("copy", "secret"), ("other", "another")]);
        let said = |name: &str| HTCondor {
            trust_domain: Some("lab".parse().unwrap()),
            pool_signing_key_file: Some(keys.path(name)),
            pool_signing_key_is_password: Some(false),
            ..HTCondor::default()
        };
        let of = |said: &HTCondor| keys.looked("", Some(said)).remove(1);
        for same in ["POOL", "copy"] {
            assert!(of(&said(same)).is(Level::Ok, "the same key POOL"), "{same}");
        }
        assert!(of(&said("other")).is(Level::Fail, "is not the one"));
        assert!(of(&said("gone")).is(Level::Warn, "can not verify"));
        let mut elsewhere = said("other");
        elsewhere.trust_domain = Some("elsewhere".parse().unwrap());
        assert_eq!(keys.looked("", Some(&elsewhere)).len(), 1);
    }
}
