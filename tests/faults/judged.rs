//! What has to hold after a run: the login was let in, the host is whole, and after one reconcile no
//! token and no record is left and no live one lost.

use std::fs;
use std::path::Path;

use idtoken::{KeyForm, Kid, SigningKey};
use pam_idtoken_tests::faults::{Fault, Position, Seen};

use crate::cases::{self, Action, DISCOVERED, FALLBACK, FIRST, REPLACED};
use crate::inventory::Inventory;
use crate::stand::Stand;
use crate::tokens::now;

/// What a call of the module may take, in milliseconds: `timeout`, what the log may take, and what a
/// machine takes that has other things to do.
const PATIENCE: u64 = 1000 + 200 + 1500;

impl Stand<'_> {
    /// What is wrong with how the process went on and ended.
    pub(super) fn went_wrong(&self, seen: &Seen, fault: Option<(Position, Fault)>) -> Vec<String> {
        let mut wrong = Vec::new();
        let signal = seen.status & 0x7f;
        let may_die = match fault {
            Some((_, Fault::Kill | Fault::KillHost)) => signal == libc::SIGKILL,
            // A program may give up without memory, which a host must not. The next run is soon.
            Some((Position { number, .. }, _)) if self.case.action == Action::Reconcile => {
                signal == libc::SIGABRT && [libc::SYS_mmap, libc::SYS_mprotect].contains(&number)
            }
            _ => false,
        };
        if seen.has_hung {
            wrong.push("it did not end by itself".to_owned());
        }
        if seen.left > 0 {
            wrong.push(format!("{} processes were left", seen.left));
        }
        if signal != 0 && !may_die {
            wrong.push(format!("it was ended by signal {signal}"));
        }
        if let Action::Hook(_) = self.case.action {
            match seen.returned {
                None if signal == 0 => wrong.push(format!("it exited: {}", seen.status >> 8)),
                Some((code, _)) if code != 0 => wrong.push(format!("it returned {code}")),
                Some((_, took)) if took > PATIENCE => wrong.push(format!("it took {took} ms")),
                _ => {}
            }
            let changed = seen.changed.iter();
            wrong.extend(changed.map(|what| format!("the host was changed: {what}")));
        }
        let printed = self.host.printed().into_iter();
        wrong.extend(printed.map(|line| format!("it printed: {line}")));
        let log = self.lab.read_log();
        wrong.extend(log.into_iter().filter(|line| line.contains("panic")));
        wrong
    }

    /// What one reconcile leaves that was not there before.
    pub(super) fn is_left(&self, fault: Option<Fault>) -> Vec<String> {
        let (mut status, mut said) = self.reconcile();
        // That HTCondor was asked in vain is remembered for a while, in which nothing is renewed.
        if self.case.store == DISCOVERED && status == 3 << 8 {
            self.forget_answers();
            (status, said) = self.reconcile();
        }
        // A home without tokens.d proves nothing: it may not be mounted. The record of who was killed
        // before it was made stays until the next login makes it, or the token would have expired.
        let is_bare = self.case.situation == FIRST && !self.lab.tokens_d().exists();
        if is_bare && status == 3 << 8 {
            self.leave();
            (status, said) = self.reconcile();
        }
        let mut wrong = Vec::new();
        // Who was killed, or could write nothing any more, before it was known which home it is that
        // fails had two misfortunes: the record waits for its home.
        let has_two = matches!(
            fault,
            Some(Fault::Kill | Fault::KillHost | Fault::Lasting(_))
        );
        if self.case.store == FALLBACK && has_two && status == 3 << 8 {
            wrong.extend(self.has_more_than_a_record());
            (status, said) = self.with_mended_home(&mut wrong);
        }
        if status != 0 {
            wrong.push(format!("the reconcile after it: {status:#x}: {said}"));
        }
        let is_renewed = self.case.situation == REPLACED;
        let left = Inventory::of(self.lab).since(&self.before, is_renewed);
        if !left.is_empty() {
            wrong.extend(left);
            wrong.push(format!("the reconcile after it said: {said}"));
        }
        wrong.extend(self.without_token());
        wrong.extend(self.with_bad_token());
        wrong
    }

    /// What is left besides the one record that waits for its home.
    fn has_more_than_a_record(&self) -> Vec<String> {
        let left = Inventory::of(self.lab).since(&self.before, false);
        let (records, others): (Vec<_>, Vec<_>) = left
            .into_iter()
            .partition(|what| what.starts_with("left: state/sessions/54321/"));
        let is_record = |what: &&String| Path::new(what).extension().is_some_and(|it| it == "json");
        let count = records.iter().filter(is_record).count();
        let mut wrong = others;
        if count != 1 {
            wrong.push(format!("{count} records wait for their home: {records:?}"));
        }
        wrong
    }

    /// The home is mended, its user logs in once more, and the home fails again: what the reconcile
    /// before that said. Nothing may be in the home by then.
    fn with_mended_home(&self, wrong: &mut Vec<String>) -> (i32, String) {
        let in_the_way = self.lab.path("home/alice/.condor");
        fs::remove_file(&in_the_way).unwrap();
        self.leave();
        let after = self.reconcile();
        let files = fs::read_dir(self.lab.tokens_d()).unwrap();
        wrong.extend(files.map(|file| format!("left in the home: {:?}", file.unwrap().path())));
        fs::remove_dir_all(&in_the_way).unwrap();
        cases::fail_home(self.lab);
        after
    }

    /// The live sessions that have no token.
    pub(super) fn without_token(&self) -> impl Iterator<Item = String> + use<'_> {
        let lost = self.before.tokens().into_iter().filter(|name| {
            let path = self.lab.path(name);
            let id = name.rsplit('-').next().unwrap();
            let entries = fs::read_dir(path.parent().unwrap()).into_iter().flatten();
            let mut names = entries.map(|entry| entry.unwrap().file_name());
            !names.any(|name| {
                let name = name.to_string_lossy();
                name.starts_with("0-session-") && name.ends_with(id)
            })
        });
        lost.map(|name| format!("a session that lives lost its token: {name}"))
    }

    /// The live sessions whose token is worth nothing.
    fn with_bad_token(&self) -> Vec<String> {
        let raw = fs::read(self.lab.path("keys/POOL")).unwrap();
        let key = SigningKey::from_bytes(&Kid::pool(), &raw, KeyForm::Plain).unwrap();
        let tokens = self.before.tokens().into_iter().filter_map(|name| {
            let text = fs::read_to_string(self.lab.path(name)).ok()?;
            let refused = idtoken::verify(&text, &[&key], None, now()).err()?;
            Some(format!(
                "a session that lives has a bad token: {name}: {refused}"
            ))
        });
        tokens.collect()
    }
}
