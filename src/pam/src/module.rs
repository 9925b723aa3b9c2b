//! A session opens, a session closes.

use std::ffi::CStr;

use pam::constants::{PAM_SILENT, PamFlag, PamResultCode};
use pam::module::PamHandle;
use session::close::{Closed, Session};
use session::config::{Arguments, Config, OnClose, OnFailure};
use session::deadline::Deadline;
use session::error::Error;
use session::host::Host;
use session::linger::Trace;
use session::log::{Line, Log, Syslog};
use session::open::{Opened, Wanted, open as open_session};
use session::policy::{self, Reason, Verdict};
use session::record::{Login, Opening};
use session::user::User;

use crate::handle::{self, Known};

/// What a call is about, copied out of the handle: libpam may free its items any time.
struct Call {
    service: String,
    user: String,
    arguments: Arguments,
    log: Syslog,
    euid: u32,
}

impl Call {
    fn new(pam: &PamHandle, args: &[&CStr]) -> Self {
        let service = handle::service(pam);
        let arguments = Arguments::parse(args.iter().map(|arg| arg.to_string_lossy()));
        let log = Syslog::new(&format!("pam_idtoken({service}:session)"), arguments.debug);
        let euid = session::host::euid();
        Self {
            service,
            user: handle::user(pam).unwrap_or_default(),
            arguments,
            log,
            euid,
        }
    }

    /// The configuration, or what holds without it together with what is wrong with it.
    fn config(&self) -> (Config, Option<Error>) {
        match Config::load(&self.arguments, self.euid) {
            Ok(config) => (config, None),
            Err(error) => (Config::fallback(&self.arguments), Some(error)),
        }
    }

    fn debug(&self, words: &str, why: impl std::fmt::Display) {
        self.log
            .debug(&Line::new(words).field("user", &self.user).because(why));
    }

    fn complain(&self, words: &str, error: &Error) {
        self.log
            .error(&Line::new(words).field("user", &self.user).because(error));
    }
}

/// `pam_sm_open_session`: gives the session its token.
pub(crate) fn open(pam: &mut PamHandle, args: &[&CStr], flags: PamFlag) -> PamResultCode {
    let call = Call::new(pam, args);
    for argument in &call.arguments.unknown {
        call.log
            .warning(&Line::new("unknown argument ignored").field("argument", argument));
    }
    if let Known::Open(session) = handle::known(pam) {
        call.debug(
            "nothing to do",
            format!("session {} is open", session.record().session),
        );
        return PamResultCode::PAM_SUCCESS;
    }
    let (config, broken) = call.config();
    let login = Login {
        service: call.service.clone(),
        rhost: handle::remote_host(pam),
        auth: handle::auth_methods(pam),
    };
    let (user, tables) = match served(&call, &config, &login) {
        Ok(Some(served)) => served,
        Ok(None) => {
            if let Some(error) = broken {
                call.complain("the configuration was not used for", &error);
            }
            keep(pam, &call, None);
            return PamResultCode::PAM_SUCCESS;
        }
        Err(error) => return failed(pam, &call, &config, flags, &broken.unwrap_or(error), None),
    };
    if let Some(error) = broken {
        return failed(pam, &call, &config, flags, &error, None);
    }
    // From here on: how long the name service takes is the host's own affair.
    let deadline = Deadline::after(config.timeout);
    let host = match Host::current() {
        Ok(host) => host,
        Err(error) => return failed(pam, &call, &config, flags, &error, None),
    };
    let (config, found) = config.discover(host.euid, deadline, host.now());
    // Without its domains the session has no token, which is said with the reason.
    if let Some(why) = config.trouble_with(&found).filter(|_| config.has_domains()) {
        let line = Line::new("HTCondor was asked in vain").field("user", &call.user);
        call.log.warning(&line.because(why));
    }
    let wanted = Wanted {
        opening: Opening {
            user,
            login,
            linger: trace(&call, &config),
        },
        tables,
        deadline,
    };
    match open_session(&config, &host, wanted, &call.log) {
        Opened::Yes(session) => announced(pam, &call, &config, flags, (*session, None), &host),
        Opened::Partly(session, error) => {
            announced(pam, &call, &config, flags, (*session, Some(error)), &host)
        }
        Opened::No(error) => failed(pam, &call, &config, flags, &error, None),
        Opened::Pending(session, error) => {
            failed(pam, &call, &config, flags, &error, Some(*session))
        }
    }
}

/// The session has its tokens, or some of them: it has to find them.
fn announced(
    pam: &mut PamHandle,
    call: &Call,
    config: &Config,
    flags: PamFlag,
    (session, missing): (Session, Option<Error>),
    host: &Host,
) -> PamResultCode {
    if let Some((name, path)) = session.environment() {
        let path = path.display().to_string();
        if !handle::set_variable(pam, name, Some(&path)) {
            // Nothing would ever read them.
            let closed = session.close(host, &call.log);
            let error = Error::Environment { name };
            let left = closed.is_err().then_some(session);
            return failed(pam, call, config, flags, &error, left);
        }
    }
    keep(pam, call, Some(session));
    if let Some(error) = missing {
        call.complain("one of the tokens is missing for", &error);
        let message = format!(
            "HTCondor: one of the tokens for this session is missing, so some commands that \
             reach other machines will fail. Please tell {}.",
            config.contact
        );
        tell(pam, flags, &message);
    }
    PamResultCode::PAM_SUCCESS
}

/// `pam_sm_close_session`: takes the token away. It never fails: a session
/// ends whether we like it or not, and what could not be done is in the log.
pub(crate) fn close(pam: &mut PamHandle, args: &[&CStr]) -> PamResultCode {
    let call = Call::new(pam, args);
    let result = held(pam, &call).and_then(|held| {
        let Some((host, session)) = held else {
            return Ok(None);
        };
        if let Some((name, _)) = session.environment() {
            handle::set_variable(pam, name, None);
        }
        session.close(&host, &call.log).map(Some)
    });
    match result {
        Ok(Some(closed)) => {
            keep(pam, &call, None);
            if closed == Closed::Before {
                call.debug("nothing to do", "the session was ended before");
            }
        }
        Ok(None) => call.debug("nothing to do", "this process holds no session of the user"),
        Err(error) => call.complain("the token was not taken away from", &error),
    }
    PamResultCode::PAM_SUCCESS
}

/// The user and their tokens if they are served; none if they pass untouched.
fn served(
    call: &Call,
    config: &Config,
    login: &Login,
) -> Result<Option<(User, Vec<usize>)>, Error> {
    let pass = |reason: Reason| {
        call.debug("not served", reason);
        Ok(None)
    };
    if let Verdict::Pass(reason) = policy::before_lookup(config, &call.service, &call.user) {
        return pass(reason);
    }
    let user = User::lookup(&call.user)?;
    if let Verdict::Pass(reason) = policy::verdict(config, &user)? {
        return pass(reason);
    }
    let is_in_group = |group: &str| user.is_in_group(group);
    let tables = policy::tables(config, &user, login, &is_in_group)?;
    if tables.is_empty() {
        return pass(Reason::NoTable);
    }
    Ok(Some((user, tables)))
}

/// The session that is to close, if there is one, with what it has to know of its host.
fn held(pam: &PamHandle, call: &Call) -> Result<Option<(Host, Session)>, Error> {
    match handle::known(pam) {
        Known::Open(session) => {
            let host = Host::held_by(session.record().holder.clone());
            Ok(Some((host, *session)))
        }
        Known::Nothing => Ok(None),
        Known::Unknown => {
            let host = Host::current()?;
            let session = find_session(call, &host)?;
            Ok(session.map(|session| (host, session)))
        }
    }
}

/// The session of a host that closes without the data it opened with.
fn find_session(call: &Call, host: &Host) -> Result<Option<Session>, Error> {
    let (config, broken) = call.config();
    match policy::before_lookup(&config, &call.service, &call.user) {
        Verdict::Pass(_) => Ok(None),
        Verdict::Serve => {
            if let Some(error) = broken {
                call.complain("the configuration was not used for", &error);
            }
            let user = User::lookup(&call.user)?;
            Session::held_by(host, &config, &call.service, user.uid, handle::is_kept)
        }
    }
}

/// The session has no token: one line in the log, one on the terminal, and the
/// login goes on unless the administrator wants otherwise.
fn failed(
    pam: &mut PamHandle,
    call: &Call,
    config: &Config,
    flags: PamFlag,
    error: &Error,
    pending: Option<Session>,
) -> PamResultCode {
    keep(pam, call, pending);
    call.complain("no token for", error);
    let contact = &config.contact;
    let message = match config.on_failure {
        OnFailure::Ignore => format!(
            "HTCondor: no token for this session, so condor_q -global and other commands that \
             reach other machines will fail. Please tell {contact}."
        ),
        OnFailure::Deny => format!(
            "HTCondor: no token for this session, so the login is refused. Please tell {contact}."
        ),
    };
    tell(pam, flags, &message);
    match config.on_failure {
        OnFailure::Ignore => PamResultCode::PAM_SUCCESS,
        OnFailure::Deny => PamResultCode::PAM_SESSION_ERR,
    }
}

fn tell(pam: &PamHandle, flags: PamFlag, message: &str) {
    if flags & PAM_SILENT == 0 {
        handle::tell(pam, message);
    }
}

fn keep(pam: &mut PamHandle, call: &Call, session: Option<Session>) {
    if !handle::keep(pam, session) {
        // It is found again by its holder.
        call.log.warning(&Line::new(
            "the session could not be kept in the PAM handle",
        ));
    }
}

/// How the processes of the session will be found, if it may linger.
fn trace(call: &Call, config: &Config) -> Option<Trace> {
    if config.on_close != OnClose::Linger {
        return None;
    }
    Trace::current()
        .inspect_err(|error| {
            let line = Line::new("the session can not linger: its processes would not be found");
            call.log.warning(&line.because(error));
        })
        .ok()
}
