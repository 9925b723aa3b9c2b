//! `idtokenctl end`: takes the token of a session away now.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use session::close::revoke;
use session::config::Config;
use session::host::Host;
use session::log::Syslog;
use session::record::{Place, RecordName};
use session::state::Sessions;

use crate::args::{Args, EndOptions};
use crate::load::load_or_default;
use crate::output::{Output, complain};
use crate::reconcile::uid_of;

/// How many users are worked on at once: homes that do not answer wait side by side.
const SIDE_BY_SIDE: usize = 32;

/// What became of one session; an error if its token may still be there.
type Answer = Result<String, String>;

/// Ends one session, all of a user's or all there are; false when one could not be ended or
/// the one that was named was not there.
pub(crate) fn run(
    args: &Args,
    options: &EndOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let host = Host::current()?;
    let config = load_or_default(&args.as_arguments(), host.euid);
    let log = Syslog::new("pam_idtoken(end)", false);
    // A user whose account is gone already is known by the records.
    let uid = options.user.as_deref().and_then(|name| uid_of(name).ok());
    let end = End {
        config: &config,
        host: &host,
        log: &log,
        options,
        user: options.user.as_deref().filter(|_| uid.is_none()),
    };
    let uids = match uid {
        Some(uid) => vec![uid],
        None => Sessions::uids(&config.state_dir)?,
    };
    let (mut any, mut all) = (false, true);
    end.side_by_side(&uids, |answer| {
        any = true;
        match answer {
            Ok(words) => out.line(words),
            Err(words) => {
                all = false;
                complain(words);
                Ok(())
            }
        }
    })?;
    if !any && !options.all {
        complain("there is no such session; `idtokenctl list` shows those there are");
    }
    Ok(all && (any || options.all))
}

/// Where the token of a session is; a home, if its record can not be read.
fn place_of(sessions: &Sessions, name: &RecordName) -> Place {
    match sessions.read(name) {
        Ok(Some(record)) => record.place,
        _ => Place::Home,
    }
}

/// What all threads of one run share.
struct End<'a> {
    config: &'a Config,
    host: &'a Host,
    log: &'a Syslog,
    options: &'a EndOptions,
    /// A name that only the records know.
    user: Option<&'a str>,
}

impl End<'_> {
    /// Every user's sessions, those in private stores first: no home that does not answer keeps
    /// them. The first answer that could not be written, after all was done.
    fn side_by_side<E>(
        &self,
        uids: &[u32],
        mut say: impl FnMut(Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        let of_uids = |place| uids.iter().map(move |uid| (*uid, place));
        let parts: Vec<(u32, Place)> = of_uids(Place::Private)
            .chain(of_uids(Place::Home))
            .collect();
        let next = AtomicUsize::new(0);
        let (answers, answered) = channel();
        std::thread::scope(|scope| {
            for _ in 0..parts.len().min(SIDE_BY_SIDE) {
                let (answers, next, parts) = (answers.clone(), &next, &parts);
                scope.spawn(move || {
                    while let Some(part) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        self.user(*part, &answers);
                    }
                });
            }
            drop(answers);
            answered.into_iter().try_for_each(&mut say)
        })
    }

    /// One user's sessions in one place, one after the other. That nobody listens any more ends
    /// nothing early.
    fn user(&self, (uid, place): (u32, Place), answers: &Sender<Answer>) {
        let say = |answer| drop(answers.send(answer));
        let say_in_vain = |error| {
            // Once for both places.
            if place == Place::Home {
                say(Err(format!("the sessions of uid {uid}: {error}")));
            }
        };
        match Sessions::existing(&self.config.state_dir, uid, self.host.euid) {
            Ok(None) => {}
            Ok(Some(sessions)) => match sessions.names() {
                Ok(names) => names
                    .iter()
                    .filter(|name| self.is_wanted(&sessions, name))
                    .filter(|name| place_of(&sessions, name) == place)
                    .for_each(|name| say(self.session(&sessions, name))),
                Err(error) => say_in_vain(error),
            },
            Err(error) => say_in_vain(error),
        }
    }

    fn is_wanted(&self, sessions: &Sessions, name: &RecordName) -> bool {
        let is_session = match self.options.session {
            Some(wanted) => wanted.0 == name.session,
            None => true,
        };
        let is_user = || match self.user {
            Some(user) => {
                matches!(sessions.read(name), Ok(Some(record)) if record.user.name == *user)
            }
            None => true,
        };
        is_session && is_user()
    }

    fn session(&self, sessions: &Sessions, name: &RecordName) -> Answer {
        match revoke(sessions, name, self.config, self.host, self.log) {
            Ok(Some(record)) => Ok(format!(
                "session {} of {}: its token is gone. Copies of it work until they expire: \
                 `idtokenctl revoke-expr --session {}`",
                record.session, record.user.name, record.session
            )),
            Ok(None) => Ok(format!("session {}: it has just ended", name.session)),
            Err(error) => Err(format!("session {}: {error}", name.session)),
        }
    }
}
