//! HTCondor's commands run as a user, with a token that is there for them alone.
//!
//! For an administrator who wants to see that the pool accepts what a login gets. The token is made
//! as for a login and lives for a few minutes; it is in a private store while one command runs, and
//! the store goes with the command, also when this process is told to end. The store has no record:
//! a lock says that it is in use ([`is_under_way`]). What is left by a `kill -9` is a store without
//! either, which a reconcile removes, and a token that expires by itself.
//! Whoever makes tokens leaves a trace: one line in the log, one in the audit.

use std::fs::{File, TryLockError, read_dir, remove_file};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::thread::Builder;
use std::time::Duration;

use idtoken::Lifetime;

use crate::acting::as_user;
use crate::aside::lock;
use crate::audit::{Entry, Event, Pen};
use crate::child::{self, Program, Said};
use crate::config::{Config, Table};
use crate::deadline::Deadline;
use crate::error::{Error, Result};
use crate::host::Host;
use crate::issuer::{Issuer, Request};
use crate::journal::list;
use crate::log::{Line, Log};
use crate::name::{SessionId, TokenName};
use crate::private::{self, TokenFile};
use crate::record::{Login, Minted};
use crate::run_dir;
use crate::state::Sessions;
use crate::sys::endings;
use crate::user::User;

/// More than HTCondor's commands print about a pool of a thousand access points, in bytes.
const LIMIT: usize = 1024 * 1024;
/// How long a private store may take to be emptied.
const TIDY: Duration = Duration::from_secs(3);
/// How often it is tried to lock a new file that a reconcile looks at.
const TRIES: usize = 1000;
/// What the names of the locks begin with.
const LOCK: &str = "trial-";
const REMEDY: &str = "check the file system that run_dir is on";
/// All that HTCondor's commands start is below these.
const PATH: &str = "/usr/bin:/bin";

/// Whose token is tried, and as which login.
pub struct Wanted<'a> {
    /// The user.
    pub user: &'a User,
    /// How they would have come in.
    pub login: &'a Login,
    /// The tables that are for them.
    pub tables: &'a [&'a Table],
    /// How long the tokens live, which is longer than the commands take.
    pub lifetime: Lifetime,
}

/// Tokens that are tried.
pub struct Trial {
    store: Arc<Store>,
    files: Vec<TokenFile>,
    condor_config: Option<PathBuf>,
    /// What is known of the tokens.
    pub tokens: Vec<Minted>,
}

/// Where the tokens are while a command runs.
struct Store {
    run_dir: PathBuf,
    id: SessionId,
    user: User,
    euid: u32,
    /// Locked while the trial is under way.
    _lock: File,
    /// Held by who makes the store, and from then on by who ends this process.
    making: Mutex<()>,
}

impl Trial {
    /// Makes the tokens of the tables, and says so in the log and the audit.
    ///
    /// From here on the signals of [`endings`] end this process only after the store is gone: it
    /// is for programs of our own, and for one trial in each.
    pub fn new(config: &Config, host: &Host, wanted: &Wanted<'_>, log: &dyn Log) -> Result<Self> {
        // Where a session's record would be: without a place for the trace nothing is made.
        Sessions::of(&config.state_dir, wanted.user.uid, host.euid)?;
        let id = SessionId::random()?;
        let base = TokenName::new(host.now_ns, &host.name, id);
        let (mut files, mut tokens) = (Vec::new(), Vec::new());
        for (number, table) in wanted.tables.iter().enumerate() {
            let batch = Issuer::new(&table.token, host.euid)?.issue(Request {
                user: wanted.user,
                euid: host.euid,
                now: host.now(),
                lifetime: wanted.lifetime,
                deadline: Deadline::after(config.timeout),
            })?;
            let name = base.labelled(table.name.as_deref(), number as u64);
            files.push((name, Arc::new(batch.contents)));
            tokens.extend(batch.tokens);
        }
        tell(config, host, wanted, id, &tokens, log);
        let failed = |e| Error::io("lock", lock_file(&config.run_dir, id), e).with_remedy(REMEDY);
        let store = Arc::new(Store {
            _lock: hold(&config.run_dir, id).map_err(failed)?,
            run_dir: config.run_dir.clone(),
            id,
            user: wanted.user.clone(),
            euid: host.euid,
            making: Mutex::new(()),
        });
        Store::end_before_this_process(&store)?;
        let condor_config = config.token.condor_config.clone();
        Ok(Self {
            store,
            files,
            condor_config,
            tokens,
        })
    }

    /// Runs one of HTCondor's commands as the user, by token and by nothing else.
    ///
    /// Fails if the token can not be put there or taken away, or if the command gives no answer by
    /// the deadline.
    pub fn run(&self, tool: &Path, args: &[&str], deadline: Deadline) -> Result<Said> {
        let dir = self.store.make(&self.files, deadline)?;
        let user = &self.store.user;
        let mut env = vec![
            ("HOME", user.home.display().to_string()),
            ("USER", user.name.clone()),
            ("PATH", PATH.to_owned()),
            ("LC_ALL", "C".to_owned()),
        ];
        let dir = dir.display().to_string();
        // Else FS authentication answers on the user's own host, or nobody is asked who they are.
        // A setting for tools alone, TOOL.NAME, has precedence over one of the plain name, also if
        // that is in the environment and the other in a file.
        for (plain, of_tools, value) in [
            (
                "_CONDOR_SEC_TOKEN_DIRECTORY",
                "_CONDOR_TOOL.SEC_TOKEN_DIRECTORY",
                dir.as_str(),
            ),
            (
                "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS",
                "_CONDOR_TOOL.SEC_CLIENT_AUTHENTICATION_METHODS",
                "IDTOKENS",
            ),
            (
                "_CONDOR_SEC_CLIENT_AUTHENTICATION",
                "_CONDOR_TOOL.SEC_CLIENT_AUTHENTICATION",
                "REQUIRED",
            ),
        ] {
            env.extend([plain, of_tools].map(|name| (name, value.to_owned())));
        }
        if let Some(path) = &self.condor_config {
            env.push(("CONDOR_CONFIG", path.display().to_string()));
        }
        let program = Program {
            path: tool,
            args: args.iter().map(|arg| (*arg).to_owned()).collect(),
            env,
            // Who is not root can only be themself, and is refused otherwise.
            user: (self.store.euid != user.uid).then_some(user),
            limit: LIMIT,
        };
        let said = child::run(&program, deadline.from_now());
        self.store.end()?;
        said.map_err(Error::Program)
    }
}

impl Drop for Trial {
    fn drop(&mut self) {
        let _ = remove_file(lock_file(&self.store.run_dir, self.store.id));
    }
}

/// Whether a private store that has no record is in use by a trial: not by one that was killed.
pub fn is_under_way(run_dir: &Path, session: SessionId) -> bool {
    let path = lock_file(run_dir, session);
    let Ok(file) = File::open(&path) else {
        return false;
    };
    if matches!(file.try_lock(), Err(TryLockError::WouldBlock)) {
        return true;
    }
    // Removed meanwhile, and the name may be another file's: that of a trial that begins.
    if file.metadata().is_ok_and(|meta| meta.nlink() > 0) {
        let _ = remove_file(path);
    }
    false
}

/// Removes the locks of trials that were killed between two commands, without a store.
pub(crate) fn tidy(run_dir: &Path) {
    let entries = read_dir(run_dir).into_iter().flatten().flatten();
    for entry in entries {
        let name = entry.file_name();
        let session = name
            .to_str()
            .and_then(|name| name.strip_prefix(LOCK)?.parse().ok());
        if let Some(session) = session {
            is_under_way(run_dir, session);
        }
    }
}

/// In a directory of root's, which users can not write to.
fn lock_file(run_dir: &Path, session: SessionId) -> PathBuf {
    run_dir.join(format!("{LOCK}{session}"))
}

/// Says that a trial is under way, until it is dropped.
pub(crate) fn hold(run_dir: &Path, session: SessionId) -> io::Result<File> {
    run_dir::make(run_dir)?;
    let path = lock_file(run_dir, session);
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    for _ in 0..TRIES {
        match options.open(&path) {
            Ok(file) if file.try_lock().is_ok() && file.metadata()?.nlink() > 0 => {
                return Ok(file);
            }
            // A reconcile looked at it in between, and is about to remove it.
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err(io::Error::from(io::ErrorKind::WouldBlock))
}

impl Store {
    fn make(&self, files: &[TokenFile], deadline: Deadline) -> Result<PathBuf> {
        let _making = lock(&self.making);
        let dir = private::make(&self.run_dir, self.id, &self.user, self.euid)?;
        let (to, files) = (dir.clone(), files.to_vec());
        let written = as_user(&self.user, self.euid, deadline, move || {
            private::write(&to, &files, &AtomicBool::new(false))
        });
        if let Err(error) = written {
            let _ = self.end();
            return Err(error);
        }
        Ok(dir)
    }

    fn end(&self) -> Result<bool> {
        let deadline = Deadline::after(TIDY);
        private::end(&self.run_dir, self.id, &self.user, self.euid, deadline, &())
    }

    /// A thread of its own takes the signals by which people end a program.
    fn end_before_this_process(store: &Arc<Self>) -> Result<()> {
        let failed = |doing| move |source| Error::Acting { doing, source };
        let signals = endings();
        let blocked = signals.thread_block();
        blocked.map_err(|errno| failed("block signals")(errno.into()))?;
        let store = Arc::clone(store);
        let watch = move || {
            if let Ok(signal) = signals.wait() {
                let _making = lock(&store.making);
                let _ = store.end();
                let _ = remove_file(lock_file(&store.run_dir, store.id));
                std::process::exit(128 + signal as i32);
            }
        };
        let thread = Builder::new().spawn(watch);
        thread.map(drop).map_err(failed("make a thread"))
    }
}

/// The trace of the tokens.
fn tell(
    config: &Config,
    host: &Host,
    wanted: &Wanted<'_>,
    id: SessionId,
    tokens: &[Minted],
    log: &dyn Log,
) {
    let Wanted { user, login, .. } = wanted;
    let line = Line::new(Event::Checked.words())
        .field("user", &user.name)
        .field("uid", user.uid)
        .field("session", id)
        .field("jti", list(tokens.iter().map(|token| &token.jti)))
        .field("kid", list(tokens.iter().map(|token| &token.kid)))
        .field("exp", list(tokens.iter().map(|token| token.expires)));
    log.notice(&line);
    let entry = Entry {
        time: host.now(),
        event: Event::Checked,
        session: id,
        user: user.name.clone(),
        uid: user.uid,
        service: login.service.clone(),
        rhost: login.rhost.clone(),
        auth: login.auth.clone(),
        opened: host.now(),
        tokens: tokens.to_vec(),
    };
    Pen::new(&config.state_dir, host.euid).note(&entry, log);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit;
    use crate::log::Kept;
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    fn me() -> User {
        let uid = nix::unistd::geteuid().as_raw();
        User::of_uid(uid).unwrap()
    }

    /// Runs a script as a command of HTCondor; what it prints, what the log has, and the place.
    fn tried(script: &str, patience: Duration) -> (Result<Said>, Vec<String>, tempfile::TempDir) {
        let dir = tempfile::tempdir_in("/dev/shm").unwrap();
        fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
        let key = dir.path().join("POOL");
        fs::write(&key, "a key").unwrap();
        fs::set_permissions(&key, Permissions::from_mode(0o600)).unwrap();
        let state = dir.path().join("state");
        let text = format!(
            "trust_domain = \"lab\"\nuid_domain = \"lab\"\nissuer = \"key\"\n\
             pool_signing_key_file = {key:?}\nrun_dir = {:?}\nstate_dir = {state:?}\n",
            dir.path().join("run"),
        );
        let config = Config::parse(&text, Path::new("/x.toml")).unwrap();
        let user = User {
            name: "alice".into(),
            ..me()
        };
        let wanted = Wanted {
            user: &user,
            login: &Login::default(),
            tables: &[&config.tables[0]],
            lifetime: Lifetime::from_secs(60).unwrap(),
        };
        let log = Kept::default();
        let host = Host::current().unwrap();
        let trial = Trial::new(&config, &host, &wanted, &log).unwrap();
        let deadline = Deadline::after(patience);
        let said = trial.run(Path::new("/bin/sh"), &["-c", script], deadline);
        (said, log.lines(), dir)
    }

    fn is_swept(dir: &tempfile::TempDir) {
        for (place, count) in [("run/tokens", 0), ("run", 1)] {
            let left = fs::read_dir(dir.path().join(place)).unwrap();
            assert_eq!(left.count(), count, "{place}");
        }
    }

    #[test]
    fn a_command_has_a_token_and_nothing_of_it_is_left_but_a_trace() {
        // A shell drops variables whose names have dots.
        let script = "cd $_CONDOR_SEC_TOKEN_DIRECTORY && stat -c %a . * && cat * && \
                      tr '\\0' '\\n' </proc/self/environ";
        let (said, log, dir) = tried(script, Duration::from_secs(10));
        let said = said.unwrap();
        let text = String::from_utf8_lossy(&said.stdout);
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[..2], ["700", "600"], "{text}");
        let token = idtoken::decode(lines[2]).unwrap();
        assert_eq!(token.sub.as_deref(), Some("alice@lab"));
        assert_eq!(token.exp.unwrap() - token.iat.unwrap(), 60);
        let store = lines
            .iter()
            .find_map(|line| line.strip_prefix("_CONDOR_SEC_TOKEN_DIRECTORY="));
        let store = format!("SEC_TOKEN_DIRECTORY={}", store.unwrap());
        let methods = "SEC_CLIENT_AUTHENTICATION_METHODS=IDTOKENS";
        for setting in [&store, methods, "SEC_CLIENT_AUTHENTICATION=REQUIRED"] {
            for prefix in ["_CONDOR_", "_CONDOR_TOOL."] {
                assert!(
                    lines.contains(&format!("{prefix}{setting}").as_str()),
                    "{text}"
                );
            }
        }
        assert!(lines.contains(&"USER=alice"), "{text}");
        is_swept(&dir);
        let jti = token.jti.unwrap();
        assert!(log.len() == 1 && log[0].contains(&jti), "{log:?}");
        let read = audit::read(&dir.path().join("state")).unwrap();
        assert_eq!(read.entries.len(), 1);
        assert_eq!(read.entries[0].event, Event::Checked);
        assert_eq!(read.entries[0].tokens[0].jti.to_string(), jti);
    }

    #[test]
    fn a_command_that_hangs_or_litters_keeps_no_token() {
        let script = "touch $_CONDOR_SEC_TOKEN_DIRECTORY/x; exec sleep 60";
        let (said, _, dir) = tried(script, Duration::from_millis(500));
        assert!(said.unwrap_err().to_string().contains("did not end within"));
        is_swept(&dir);
    }

    #[test]
    fn a_trial_is_under_way_until_it_ends_or_is_killed() {
        let dir = tempfile::tempdir().unwrap();
        let id = SessionId::random().unwrap();
        assert!(!is_under_way(dir.path(), id));
        let path = lock_file(dir.path(), id);
        let lock = hold(dir.path(), id).unwrap();
        assert!(is_under_way(dir.path(), id));
        // As the kernel does it for a process that was killed; a child that another test forked
        // in the meantime has a copy.
        lock.unlock().unwrap();
        assert!(path.exists() && !is_under_way(dir.path(), id) && !path.exists());
    }
}
