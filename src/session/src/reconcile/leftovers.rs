//! Private stores whose session has no record.

use super::{Action, Report, Run, What, failure};
use crate::aside::lock;
use crate::deadline::Deadline;
use crate::error::Error;
use crate::holder::is_running;
use crate::name::SessionId;
use crate::private;
use crate::state::{Listing, Sessions};
use crate::trial::{is_under_way, tidy};
use crate::user::User;

impl Run<'_> {
    /// Private stores whose session has no record any more: a login was killed before it
    /// had one, or somebody removed the state directory.
    pub(super) fn leftovers(&self, report: &mut Report) {
        let (config, euid) = (self.config, self.host.euid);
        let failed = |uid, session, error: &Error| failure(uid, None, session, error);
        let sessions = match private::list(&config.run_dir, euid) {
            Ok(sessions) => sessions,
            Err(error) => return report.actions.push(failed(None, None, &error)),
        };
        tidy(&config.run_dir);
        let known = lock(&self.known);
        for session in sessions {
            if known.contains(&session) || is_under_way(&config.run_dir, session) {
                continue;
            }
            match self.leftover(session) {
                Ok(None) => {}
                Ok(Some(uid)) => report.actions.push(Action {
                    what: What::Tidied,
                    uid: Some(uid),
                    user: None,
                    session: Some(session),
                    why: "a private store had no session".into(),
                }),
                Err((uid, error)) => {
                    report.actions.push(failed(uid, Some(session), &error));
                }
            }
        }
    }

    pub(super) fn remember(&self, listing: &Listing) {
        let mut known = lock(&self.known);
        let records = listing.records.iter().chain(&listing.damaged);
        known.extend(records.map(|name| name.session));
    }

    /// Removes the private store of a session that has no record; whose it was.
    fn leftover(
        &self,
        session: SessionId,
    ) -> std::result::Result<Option<u32>, (Option<u32>, Error)> {
        let (config, euid) = (self.config, self.host.euid);
        let unowned = |error| (None, error);
        let Some(uid) = private::owner(&config.run_dir, session, euid).map_err(unowned)? else {
            return Ok(None);
        };
        let owned = |error| (Some(uid), error);
        if self.options.uid.is_some_and(|wanted| wanted != uid) {
            return Ok(None);
        }
        // Its record is older than the directory: if there is none now, there never will be.
        let records = Sessions::existing(&config.state_dir, uid, euid).map_err(owned)?;
        if let Some(records) = records
            && records.list().map_err(owned)?.knows(session)
        {
            return Ok(None);
        }
        // Records may be where another configuration has them: nothing is taken from anybody
        // who is here.
        if is_running(uid).map_err(|e| owned(Error::io("list the processes under", "/proc", e)))? {
            return Ok(None);
        }
        let user = User::of_uid(uid).map_err(owned)?;
        let deadline = Deadline::after(config.timeout);
        private::end(&config.run_dir, session, &user, euid, deadline, &()).map_err(owned)?;
        Ok(Some(uid))
    }
}
