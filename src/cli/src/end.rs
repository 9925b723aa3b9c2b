//! `idtokenctl end`: takes the token of a session away now.

use std::error::Error;

use session::close::revoke;
use session::config::Config;
use session::host::Host;
use session::log::Syslog;
use session::record::RecordName;
use session::state::Sessions;

use crate::args::{Args, EndOptions};
use crate::load::load_or_default;
use crate::output::{Output, complain};
use crate::reconcile::uid_of;

/// Ends one session, or all of a user's; false when one could not be ended or
/// there was none.
pub(crate) fn run(
    args: &Args,
    options: &EndOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let host = Host::current()?;
    let config = load_or_default(&args.as_arguments(), host.euid);
    let log = Syslog::new("pam_idtoken(end)", false);
    let wanted = find(&config, &host, options)?;
    if wanted.is_empty() {
        complain("there is no such session; `idtokenctl list` shows those there are");
        return Ok(false);
    }
    let mut all = true;
    for (uid, name) in wanted {
        let ended = match Sessions::existing(&config.state_dir, uid, host.euid)? {
            Some(sessions) => revoke(&sessions, &name, &config, &host, &log),
            None => Ok(None),
        };
        match ended {
            Ok(Some(record)) => out.line(format!(
                "session {} of {}: its token is gone. Copies of it work until they expire: \
                 `idtokenctl revoke-expr --session {}`",
                record.session, record.user.name, record.session
            ))?,
            Ok(None) => out.line(format!("session {}: it has just ended", name.session))?,
            Err(error) => {
                all = false;
                complain(format!("session {}: {error}", name.session));
            }
        }
    }
    Ok(all)
}

fn find(
    config: &Config,
    host: &Host,
    options: &EndOptions,
) -> Result<Vec<(u32, RecordName)>, Box<dyn Error>> {
    // A user whose account is gone already is known by the records.
    let uid = options.user.as_deref().and_then(|name| uid_of(name).ok());
    let uids = match uid {
        Some(uid) => vec![uid],
        None => Sessions::uids(&config.state_dir)?,
    };
    let mut found = Vec::new();
    for owner in uids {
        let Some(sessions) = Sessions::existing(&config.state_dir, owner, host.euid)? else {
            continue;
        };
        for name in sessions.names()? {
            let is_session = options
                .session
                .is_none_or(|wanted| wanted.0 == name.session);
            let is_user = || match &options.user {
                Some(user) if uid.is_none() => {
                    matches!(sessions.read(&name), Ok(Some(record)) if record.user.name == *user)
                }
                _ => true,
            };
            if is_session && is_user() {
                found.push((owner, name));
            }
        }
    }
    Ok(found)
}
