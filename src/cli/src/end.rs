//! `idtokenctl end`: takes the token of a session away now.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};

use session::close::revoke;
use session::config::Config;
use session::host::Host;
use session::log::{Log, Syslog};
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

/// Some sessions of one user, which one thread ends, one after the other.
type Part = (u32, Vec<RecordName>);

/// What all threads of one run share.
struct End<'a> {
    config: &'a Config,
    host: &'a Host,
    log: &'a dyn Log,
    options: &'a EndOptions,
    /// A name that only the records know.
    user: Option<&'a str>,
}

impl End<'_> {
    /// Every user's sessions, those in private stores first: no home that does not answer keeps
    /// them. The first answer that could not be written, after all was done: that nobody listens
    /// any more ends nothing early.
    fn side_by_side<E>(
        &self,
        uids: &[u32],
        mut say: impl FnMut(Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        let next = AtomicUsize::new(0);
        let (answers, answered) = channel();
        let parts = self.parts(uids, &answers);
        std::thread::scope(|scope| {
            for _ in 0..parts.len().min(SIDE_BY_SIDE) {
                let (answers, next, parts) = (answers.clone(), &next, &parts);
                scope.spawn(move || {
                    while let Some((uid, names)) = parts.get(next.fetch_add(1, Ordering::Relaxed)) {
                        for name in names {
                            let _ = answers.send(self.session(*uid, name));
                        }
                    }
                });
            }
            drop(answers);
            answered.into_iter().try_for_each(&mut say)
        })
    }

    /// What there is to end, in that order. Each session is looked for once: one whose home
    /// hangs moves to a private store, and who looked a second time could miss it in both. Where
    /// it is when it ends is asked again, under its lock.
    fn parts(&self, uids: &[u32], answers: &Sender<Answer>) -> Vec<Part> {
        let (mut private, mut homes) = (Vec::new(), Vec::new());
        for uid in uids {
            match self.wanted(*uid) {
                Ok((in_private, in_home)) => {
                    private.push((*uid, in_private));
                    homes.push((*uid, in_home));
                }
                Err(error) => {
                    let _ = answers.send(Err(format!("the sessions of uid {uid}: {error}")));
                }
            }
        }
        private.append(&mut homes);
        private.retain(|(_, names)| !names.is_empty());
        private
    }

    /// The sessions of one user that are to end: those in private stores, and those in a home or
    /// with a record that can not be read.
    fn wanted(&self, uid: u32) -> session::Result<(Vec<RecordName>, Vec<RecordName>)> {
        let existing = Sessions::existing(&self.config.state_dir, uid, self.host.euid)?;
        let Some(sessions) = existing else {
            return Ok(<_>::default());
        };
        let (mut private, mut home) = (Vec::new(), Vec::new());
        for name in sessions.names()? {
            let record = sessions.read(&name).ok().flatten();
            let is_of = |user: &str| matches!(&record, Some(record) if record.user.name == *user);
            let is_session = self.options.session.is_none_or(|id| id.0 == name.session);
            if !is_session || !self.user.is_none_or(is_of) {
                continue;
            }
            match record.map(|record| record.place) {
                Some(Place::Private) => private.push(name),
                _ => home.push(name),
            }
        }
        Ok((private, home))
    }

    fn session(&self, uid: u32, name: &RecordName) -> Answer {
        let Self {
            config, host, log, ..
        } = *self;
        let existing = Sessions::existing(&config.state_dir, uid, host.euid);
        let ended = existing.and_then(|sessions| match sessions {
            Some(sessions) => revoke(&sessions, name, config, host, log),
            None => Ok(None),
        });
        match ended {
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::path::Path;
    use std::time::Duration;

    use session::deadline::Deadline;
    use session::log::Kept;
    use session::name::{SessionId, TokenName};
    use session::record::{Login, Opening, Record, TokenFile};
    use session::user::User;

    use super::*;

    /// A session of this process, with one token file that is not there.
    fn record(uid: u32, place: Place, dir: &Path, host: &Host) -> Record {
        let user = User {
            name: format!("user{uid}"),
            uid,
            gid: nix::unistd::getegid().as_raw(),
            groups: Vec::new(),
            home: dir.join("home"),
        };
        let opening = Opening {
            user,
            login: Login::default(),
            linger: None,
        };
        let session = SessionId::random().unwrap();
        let name = TokenName::new(host.now_ns, &host.name, session);
        let files = vec![TokenFile::new(None, name, Vec::new())];
        let holder = host.holder.clone();
        let mut record = Record::new(opening, session, holder, 5, dir.join("run"), files);
        record.place = place;
        record
    }

    #[test]
    fn a_session_that_moves_to_a_private_store_meanwhile_ends_with_the_others() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        std::fs::create_dir_all(dir.join("home/.condor/tokens.d")).unwrap();
        let text = format!("state_dir = {dir:?}\ntimeout = \"20s\"\n");
        let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
        let (host, log) = (Host::current().unwrap(), Kept::default());
        // More users than are worked on at once wait for the lock of a private session.
        let alice = host.euid;
        let others: Vec<u32> = (alice + 1..).take(SIDE_BY_SIDE + 1).collect();
        let of = |uid| Sessions::of(dir, uid, host.euid).unwrap();
        let dirs: Vec<Sessions> = others.iter().map(|uid| of(*uid)).collect();
        let records = others
            .iter()
            .map(|uid| record(*uid, Place::Private, dir, &host));
        let held: Vec<_> = dirs
            .iter()
            .zip(records)
            .map(|(sessions, record)| sessions.create(&record).unwrap())
            .collect();
        let alices = of(alice);
        let mut moving = record(alice, Place::Home, dir, &host);
        let mut locked = alices.create(&moving).unwrap();
        let options = EndOptions {
            session: None,
            user: None,
            all: true,
        };
        let end = End {
            config: &config,
            host: &host,
            log: &log,
            options: &options,
            user: None,
        };
        let uids = [&[alice], others.as_slice()].concat();
        let mut answers = Vec::new();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                std::thread::sleep(Duration::from_millis(300));
                moving.place = Place::Private;
                locked.replace(&moving).unwrap();
                drop((locked, held));
            });
            let said = end.side_by_side(&uids, |answer| {
                answers.push(answer);
                Ok::<_, Infallible>(())
            });
            said.unwrap();
        });
        let hers = |answer: &&Answer| {
            answer
                .as_ref()
                .is_ok_and(|words| words.contains(&moving.user.name))
        };
        assert_eq!(answers.iter().filter(hers).count(), 1, "{answers:?}");
        let left = alices.lock(&moving.name(), Deadline::after(Duration::ZERO));
        assert!(left.unwrap().is_none());
    }
}
