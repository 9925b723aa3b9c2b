//! What condor_token_fetch printed, read with suspicion: what is printed is in the hands of
//! the user it ran as.
//!
//! A token that is another's, that lives too long or that may be used for more than was asked
//! is never passed on, and no byte of it is part of the text that says why.

use idtoken::{Decoded, Jti, KeyFault, Kid, Scope};
use zeroize::Zeroizing;

use super::{SKEW, Schedd, identity};
use crate::child::Said;
use crate::issuer::{Request, key};
use crate::record::Minted;
use crate::user::User;

impl Schedd {
    pub(super) fn read(
        &self,
        said: &Said,
        kid: Option<&Kid>,
        request: Request<'_>,
    ) -> std::result::Result<(Zeroizing<String>, Minted), String> {
        let line = only_token(&said.stdout).map_err(|why| {
            if said.status.success() {
                why.to_owned()
            } else {
                format!("{why} and ended with {}", said.status)
            }
        })?;
        let seen = idtoken::decode(&line).map_err(|refusal| refusal.to_string())?;
        let token = self.check(seen, kid, request)?;
        self.verify(&line, &token, request)?;
        Ok((line, token))
    }

    /// Whether the schedd of this host signed it, where its key can be read: what is printed is
    /// in the user's hands, and the audit is to name tokens that are real.
    fn verify(
        &self,
        line: &str,
        token: &Minted,
        request: Request<'_>,
    ) -> std::result::Result<(), String> {
        let settings = &self.settings;
        if settings.schedd_name.is_some() || settings.schedd_pool.is_some() {
            return Ok(());
        }
        let key = match key::read_key(settings, &token.kid, request.euid) {
            Ok(key) => key,
            // HTCondor signs with it all the same, and refuses what it has signed.
            Err(error) if matches!(error.fault, KeyFault::Empty) => return Err(error.to_string()),
            Err(_) => return Ok(()),
        };
        idtoken::verify(line, &[&key], None, request.now)
            .map(drop)
            .map_err(|refusal| format!("its token is not one of this host: {refusal}"))
    }

    /// Says what is wrong with a token, or what is to be known of it.
    fn check(
        &self,
        seen: Decoded,
        kid: Option<&Kid>,
        request: Request<'_>,
    ) -> std::result::Result<Minted, String> {
        let Request {
            user,
            now,
            lifetime,
            ..
        } = request;
        let settings = &self.settings;
        let subject = seen.sub.unwrap_or_default();
        if !self.is_subject(&subject, user) {
            let domain = settings.uid_domain.as_ref();
            let domain = domain.filter(|_| settings.uid_domain_is_given);
            let domain = domain.map_or_else(String::new, |domain| format!("@{domain}"));
            return Err(format!(
                "its token is for {subject:?}, not for {}{domain}",
                user.name
            ));
        }
        let issuer = seen.iss.unwrap_or_default();
        let wanted = settings.trust_domain.as_ref();
        let wanted = wanted.filter(|_| settings.trust_domain_is_given);
        if let Some(wanted) = wanted.filter(|wanted| wanted.as_str() != issuer) {
            return Err(format!(
                "its token is of the trust domain {issuer:?}, and trust_domain is {wanted}"
            ));
        }
        let expires = match seen.exp {
            None => return Err("its token never expires".into()),
            Some(exp) if exp <= now => return Err("its token has expired already".into()),
            Some(exp) if exp > now.saturating_add(lifetime.as_secs() + SKEW) => {
                return Err(format!("its token lives longer than {lifetime}"));
            }
            Some(exp) => exp,
        };
        let signed: Kid = seen
            .kid
            .unwrap_or_default()
            .parse()
            .map_err(|_| "its token names no key".to_owned())?;
        if kid.is_some_and(|kid| *kid != signed) {
            return Err(format!("its token is signed with the key {signed}"));
        }
        let jti: Jti = seen
            .jti
            .unwrap_or_default()
            .parse()
            .map_err(|_| "its token has no id by which it could be revoked".to_owned())?;
        let scope = settings.scope.as_ref().map(Scope::claim);
        if !is_within(seen.scope.as_deref(), scope.as_deref()) {
            return Err("its token may be used for more than scope allows".into());
        }
        Ok(Minted {
            jti,
            key: identity(&settings.key_file(&signed)),
            kid: signed,
            subject,
            issuer,
            scope,
            issued: now,
            expires,
        })
    }

    /// Whether an identity is the user's; of which domain counts if it was written down.
    fn is_subject(&self, subject: &str, user: &User) -> bool {
        let settings = &self.settings;
        let domain = subject
            .strip_prefix(user.name.as_str())
            .and_then(|rest| rest.strip_prefix('@'))
            .and_then(|domain| domain.parse::<idtoken::UidDomain>().ok());
        domain.is_some_and(|domain| {
            let is_ours = settings.uid_domain.as_ref() == Some(&domain);
            // Never an administrator's, whatever the name service calls the user.
            idtoken::Subject::new(&user.name, &domain).is_ok()
                && (is_ours || !settings.uid_domain_is_given)
        })
    }
}

/// The one token that was printed; versions differ in what they print around it.
fn only_token(stdout: &[u8]) -> std::result::Result<Zeroizing<String>, &'static str> {
    let Ok(text) = std::str::from_utf8(stdout) else {
        return Err("what it printed is no text");
    };
    let words = text
        .lines()
        .filter_map(|line| line.split_whitespace().last());
    let mut tokens = words.filter(|word| idtoken::decode(word).is_ok());
    match (tokens.next(), tokens.next()) {
        (Some(token), None) => Ok(Zeroizing::new(token.to_owned())),
        (Some(_), Some(_)) => Err("it printed more than one token"),
        (None, _) => Err("it printed no token"),
    }
}

/// Whether the rights in a scope are among those that were asked for.
///
/// HTCondor takes a scope that names none of its authorizations for no restriction.
fn is_within(given: Option<&str>, asked: Option<&str>) -> bool {
    let Some(asked) = asked else {
        // A schedd may restrict what nobody restricted: that is for its administrator.
        return true;
    };
    let words = |text: &str| -> Vec<String> {
        let words = text
            .split_whitespace()
            .filter(|word| word.starts_with("condor:/"));
        words.map(str::to_owned).collect()
    };
    let (given, asked) = (words(given.unwrap_or_default()), words(asked));
    !given.is_empty() && given.iter().all(|word| asked.contains(word))
}
