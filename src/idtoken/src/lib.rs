//! HTCondor's IDTOKENs: signing key files, claims, mint and verify.
//!
//! What HTCondor's own tools mint and accept, this crate mints and accepts. An
//! IDTOKEN is a JSON Web Token (RFC 7519) signed with HMAC-SHA256; the key is
//! derived from a file that every daemon of the pool has, see [`SigningKey`].
//!
//! No PAM, no session and no unsafe code is in here. A [`SigningKey`] and a
//! [`Token`] are never printable and are wiped when dropped. What the libraries
//! below copy while signing is freed unwiped; a program that minds installs an
//! allocator that wipes.
#![forbid(unsafe_code)]

mod claims;
mod crypto;
mod domain;
mod error;
mod key;
mod keyfile;
mod kid;
mod lifetime;
mod scope;
mod stack;
mod token;
mod verify;

pub use claims::{Claims, Jti};
pub use domain::{Subject, TrustDomain, UidDomain};
pub use error::{ClaimError, KeyError, KeyFault, MintError};
pub use key::{KeyForm, SigningKey};
pub use kid::Kid;
pub use lifetime::Lifetime;
pub use scope::{Authorization, Scope};
pub use token::Token;
pub use verify::{Decoded, Refusal, TOKEN_FILE_LIMIT, decode, lines, verify};
