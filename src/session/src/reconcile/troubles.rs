//! What keeps more than one session from being looked after: said once in a while, and
//! never for each session.

use std::sync::OnceLock;

use super::shared::Found;
use super::{Action, Run, What, complaints};
use crate::config::Table;
use crate::log::Line;

impl Run<'_> {
    /// HTCondor that can not be asked is said once in a while.
    pub(super) fn trouble(&self) {
        let (run_dir, now) = (&self.config.run_dir, self.host.now());
        match &self.options.trouble {
            _ if self.options.dry_run => {}
            None => complaints::forget(run_dir, "htcondor"),
            Some(why) => complaints::once(run_dir, "htcondor", now, || {
                let line = Line::new("HTCondor was asked in vain");
                self.log.warning(&line.because(why));
            }),
        }
    }

    /// What concerns more than one session is said once in a while.
    fn failure_of_all(&self, subject: &str, words: &str, why: &str) -> Action {
        let (run_dir, now) = (&self.config.run_dir, self.host.now());
        if !self.options.dry_run {
            complaints::once(run_dir, subject, now, || {
                self.log.error(&Line::new(words).because(why));
            });
        }
        Action {
            what: What::Failed,
            uid: None,
            user: None,
            session: None,
            why: format!("{words}: {why}"),
        }
    }

    /// Without its issuer no token is renewed: said once, and not for each session.
    pub(super) fn issuer_failures(&self) -> Vec<Action> {
        let mut actions: Vec<Action> = Vec::new();
        if let Some(why) = self.held_back.get() {
            actions.push(self.failure_of_all("held-back", "some tokens are left as they are", why));
        }
        for (table, issuer) in self.config.tables.iter().zip(&self.issuers) {
            let Some(why) = failure_of(issuer) else {
                continue;
            };
            let words = match &table.name {
                Some(name) => format!("no token {name} can be renewed"),
                None => "no token can be renewed".to_owned(),
            };
            let action = self.failure_of_all(&subject(table), &words, why);
            if actions.iter().all(|other| other.why != action.why) {
                actions.push(action);
            }
        }
        actions
    }
}

/// Why tokens of a table can not be renewed, if anybody tried.
pub(super) fn failure_of(issuer: &OnceLock<Found>) -> Option<&str> {
    match issuer.get()? {
        Err(why) => Some(why),
        Ok(issuer) => issuer
            .is_given_up()
            .then_some("the schedd gives no tokens; the next run tries again"),
    }
}

/// What the complaints about a table go by.
pub(super) fn subject(table: &Table) -> String {
    match &table.name {
        Some(name) => format!("keys-{name}"),
        None => "keys".to_owned(),
    }
}
