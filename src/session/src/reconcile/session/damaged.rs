//! Damaged records: set aside, kept for an administrator, their tokens removed
//! when their session has ended.
//!
//! All that is known of such a session is in the name of its file: its id and its
//! holder; its user is the one whose directory it is in.

use super::super::{Action, Run, What, failure};
use super::{Home, One};
use crate::acting::as_user;
use crate::audit::Event;
use crate::error::{Error, Result};
use crate::home;
use crate::log::Line;
use crate::private;
use crate::record::RecordName;
use crate::user::User;

impl One<'_> {
    /// A record that can not be read is kept for an administrator.
    pub(super) fn set_aside(&mut self, name: &RecordName, why: &str) -> Result<()> {
        let mut words = format!("its record is damaged: {why}");
        if !self.run.options.dry_run {
            let Some(locked) = self.sessions.lock(name, self.deadline)? else {
                return Ok(());
            };
            // Somebody may have replaced it by now.
            if locked.read().is_ok() {
                return Ok(());
            }
            let path = self.sessions.set_aside(name)?;
            words = format!("{words}; it is kept as {}", path.display());
            let line = Line::new("a damaged record was set aside")
                .field("uid", self.uid)
                .field("session", name.session)
                .because(format!(
                    "{words}; its token is not renewed and is removed when the session ends"
                ));
            self.run.log.error(&line);
        }
        self.actions.push(Action {
            what: What::SetAside,
            uid: Some(self.uid),
            user: None,
            session: Some(name.session),
            why: words,
        });
        // Its session may have ended already.
        self.damaged(name);
        Ok(())
    }

    /// Ends a session of which only the id and the holder are known, once its holder has ended.
    pub(super) fn damaged(&mut self, name: &RecordName) -> Home {
        let ended = match self.is_held(&name.holder) {
            Ok(true) => return Home::Answers,
            Ok(false) if self.run.options.dry_run => return Home::Answers,
            // No lock keeps this from being tried by each run, with a thread in a hung home each
            // time: once in a while is enough.
            Ok(false) if self.is_troubled => Err(Error::Config(
                "its home is in trouble; a later run ends it".to_owned(),
            )),
            Ok(false) => self.end_damaged(name),
            Err(error) => Err(error),
        };
        let Err(error) = ended else {
            return Home::Answers;
        };
        let action = failure(Some(self.uid), None, Some(name.session), &error);
        self.actions.push(action);
        Home::after(&error)
    }

    fn end_damaged(&mut self, name: &RecordName) -> Result<()> {
        let Run { config, host, .. } = self.run;
        let session = name.session;
        let user = match User::of_uid(self.uid) {
            Ok(user) => Some(user),
            // Without the user there is no home.
            Err(Error::NoUser(_)) => None,
            Err(error) => return Err(error),
        };
        if let Some(user) = &user {
            let run_dir = &config.run_dir;
            let was_private = private::end(run_dir, session, user, host.euid, self.deadline, &())?;
            let home = user.home.clone();
            let removed = as_user(user, host.euid, self.deadline, move || {
                home::remove_session(&home, None, session)
            });
            // Its tokens were where they have been found.
            if !(was_private && matches!(removed, Err(Error::Away { .. }))) {
                removed?;
            }
        }
        let user = user.map(|user| user.name);
        let kept = self.sessions.retire(name, &config.state_dir, host.euid)?;
        let line = Line::new(Event::Ended.words())
            .field_if("user", user.as_ref())
            .field("uid", self.uid)
            .field("session", session)
            .field("record", kept.display());
        self.run.log.notice(&line);
        self.actions.push(Action {
            what: What::Ended,
            uid: Some(self.uid),
            user,
            session: Some(session),
            why: format!("its damaged record is kept as {}", kept.display()),
        });
        Ok(())
    }
}
