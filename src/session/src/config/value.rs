//! The values of the keys, wherever they are written.

use std::path::PathBuf;
use std::time::Duration;

use idtoken::{Kid, Lifetime, Scope, TrustDomain, UidDomain};

use super::remote::RemoteHost;

/// The shortest `timeout`: below it, no home would answer in time.
pub const TIMEOUT_MIN: Duration = Duration::from_millis(10);
/// The longest `timeout`: nothing else bounds a login, see the design's I1.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(60);

/// How a table, or an argument, says that its token is unrestricted though the file has a scope.
pub(super) const UNRESTRICTED: &str = "unrestricted";

/// Who signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IssuerChoice {
    /// The signing key if it can be read, else the schedd.
    Auto,
    /// The signing key of the pool, read by root.
    Key,
    /// The schedd, asked by condor_token_fetch as the user.
    Schedd,
}

/// Where the token goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Store {
    /// `~/.condor/tokens.d`, or a private one when the home can not take it.
    Home,
    /// A directory of the session's own in `run_dir`.
    Private,
}

/// What becomes of the token when its session closes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnClose {
    /// It is deleted.
    Delete,
    /// It stays while processes of the session live.
    Linger,
}

/// What a login costs that could not have its token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// Nothing: it is logged, the user is told and let in.
    Ignore,
    /// The session is refused with `PAM_SESSION_ERR`.
    Deny,
}

/// What the value of a key is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A list of users, groups, services or methods.
    Names,
    /// A list of addresses, networks, hosts and domains.
    Hosts,
    /// The id of a user.
    Uid,
    /// True or false.
    Flag,
    /// An [`IssuerChoice`].
    Issuer,
    /// A [`Store`].
    Store,
    /// An [`OnClose`].
    OnClose,
    /// An [`OnFailure`].
    OnFailure,
    /// One kid or a list of kids.
    Kids,
    /// A list of authorizations.
    Scope,
    /// How long a token lives, or an audit is kept.
    Lifetime,
    /// How long something may wait.
    Timeout,
    /// A domain of tokens.
    TrustDomain,
    /// A domain of users.
    UidDomain,
    /// A path from `/`.
    Path,
    /// The name of a daemon.
    Address,
    /// Whom a user asks.
    Contact,
    /// The name of a `[[token]]` table.
    TableName,
}

/// A value that can be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Names(Vec<String>),
    Hosts(Vec<RemoteHost>),
    Uid(u32),
    Flag(bool),
    Issuer(IssuerChoice),
    Store(Store),
    OnClose(OnClose),
    OnFailure(OnFailure),
    /// At least one, each once.
    Kids(Vec<Kid>),
    /// None is unrestricted.
    Scope(Option<Scope>),
    Lifetime(Lifetime),
    Timeout(Duration),
    TrustDomain(TrustDomain),
    UidDomain(UidDomain),
    Path(PathBuf),
    Text(String),
}
