//! HTCondor's commands run as a user, with a token that is there for them alone.
//!
//! For an administrator who wants to see that the pool accepts what a login gets. The token is made
//! as for a login and lives for a minute or two; it is in a private store while one command runs, and
//! the store goes with the command, also when this process is told to end. What is left by a `kill
//! -9` is a store without a record, which a reconcile removes, and a token that expires by itself.
//! Whoever makes tokens leaves a trace: one line in the log, one in the audit.

use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::Builder;
use std::time::Duration;

use idtoken::Lifetime;
use nix::sys::signal::{SigSet, Signal};

use crate::acting::as_user;
use crate::audit::{self, Entry, Event};
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
use crate::user::User;

/// More than HTCondor's commands print about a pool of a thousand access points, in bytes.
const LIMIT: usize = 1024 * 1024;
/// How long a private store may take to be emptied.
const TIDY: Duration = Duration::from_secs(3);
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
    /// Held by who makes the store, and from then on by who ends this process.
    making: Mutex<()>,
}

impl Trial {
    /// Makes the tokens of the tables, and says so in the log and the audit.
    ///
    /// From here on SIGHUP, SIGINT and SIGTERM end this process only after the store is gone: it
    /// is for programs of our own, and for one trial in each.
    pub fn new(config: &Config, host: &Host, wanted: &Wanted<'_>, log: &dyn Log) -> Result<Self> {
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
        let store = Arc::new(Store {
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
            ("_CONDOR_SEC_TOKEN_DIRECTORY", dir.display().to_string()),
            // Else FS authentication answers on the user's own host, or nobody is asked who they are.
            (
                "_CONDOR_SEC_CLIENT_AUTHENTICATION_METHODS",
                "IDTOKENS".to_owned(),
            ),
            ("_CONDOR_SEC_CLIENT_AUTHENTICATION", "REQUIRED".to_owned()),
        ];
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

impl Store {
    fn lock(&self) -> MutexGuard<'_, ()> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn make(&self, files: &[TokenFile], deadline: Deadline) -> Result<PathBuf> {
        let _making = self.lock();
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
        let mut signals = SigSet::empty();
        for signal in [Signal::SIGHUP, Signal::SIGINT, Signal::SIGTERM] {
            signals.add(signal);
        }
        let blocked = signals.thread_block();
        blocked.map_err(|errno| failed("block signals")(errno.into()))?;
        let store = Arc::clone(store);
        let watch = move || {
            if let Ok(signal) = signals.wait() {
                let _making = store.lock();
                let _ = store.end();
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
    audit::note(&config.state_dir, host.euid, &entry, log);
}
