//! A session opens, a session closes.

use std::ffi::CStr;

use pam::constants::{PAM_SILENT, PamFlag, PamResultCode};
use pam::module::PamHandle;
use session::close::{Closed, Session};
use session::config::{Arguments, Config, OnClose, OnFailure};
use session::error::Error;
use session::host::Host;
use session::linger::Trace;
use session::log::{Line, Log, Syslog};
use session::open::{Opened, open as open_session};
use session::policy::{self, Verdict};
use session::record::Opening;
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
    let user = match served(&call, &config) {
        Ok(Some(user)) => user,
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
    let host = match Host::current() {
        Ok(host) => host,
        Err(error) => return failed(pam, &call, &config, flags, &error, None),
    };
    let opening = Opening {
        user,
        service: call.service.clone(),
        rhost: handle::remote_host(pam),
        linger: trace(&call, &config),
    };
    match open_session(&config, &host, opening, &call.log) {
        Opened::Yes(session) => {
            keep(pam, &call, Some(*session));
            PamResultCode::PAM_SUCCESS
        }
        Opened::No(error) => failed(pam, &call, &config, flags, &error, None),
        Opened::Pending(session, error) => {
            failed(pam, &call, &config, flags, &error, Some(*session))
        }
    }
}

/// `pam_sm_close_session`: takes the token away. It never fails: a session
/// ends whether we like it or not, and what could not be done is in the log.
pub(crate) fn close(pam: &mut PamHandle, args: &[&CStr]) -> PamResultCode {
    let call = Call::new(pam, args);
    let result = Host::current().and_then(|host| {
        let session = match handle::known(pam) {
            Known::Open(session) => Some(*session),
            Known::Nothing => None,
            Known::Unknown => find_session(&call, &host)?,
        };
        session
            .map(|session| session.close(&host, &call.log))
            .transpose()
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

/// The user if they are served; none if they pass untouched.
fn served(call: &Call, config: &Config) -> Result<Option<User>, Error> {
    if let Verdict::Pass(reason) = policy::before_lookup(config, &call.service, &call.user) {
        call.debug("not served", reason);
        return Ok(None);
    }
    let user = User::lookup(&call.user)?;
    match policy::verdict(config, &user)? {
        Verdict::Serve => Ok(Some(user)),
        Verdict::Pass(reason) => {
            call.debug("not served", reason);
            Ok(None)
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
    if flags & PAM_SILENT == 0 {
        let message = format!(
            "HTCondor: no token for this session, so condor_q -global and other commands that \
             reach other machines will fail. Please tell {}.",
            config.contact
        );
        handle::tell(pam, &message);
    }
    match config.on_failure {
        OnFailure::Ignore => PamResultCode::PAM_SUCCESS,
        OnFailure::Deny => PamResultCode::PAM_SESSION_ERR,
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
