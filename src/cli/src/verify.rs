//! `idtokenctl verify`: what each token of a file is worth on this host.

use std::collections::BTreeSet;
use std::error::Error;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use idtoken::{Decoded, Kid, Refusal, SigningKey, TrustDomain};
use session::config::{Config, TokenSettings};
use session::issuer::key;

use crate::args::{Args, VerifyOptions};
use crate::list::utc;
use crate::load::load;
use crate::output::Output;

/// HTCondor itself reads no more of a token file than this.
const LIMIT: u64 = 64 * 1024;

/// Checks every token; true only if there is one and all are valid.
pub(crate) fn run(
    args: &Args,
    options: &VerifyOptions,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let euid = session::host::euid();
    let config = load(&args.as_arguments(), euid)?;
    let mut all = true;
    for file in &options.files {
        if options.files.len() > 1 {
            out.line(format!("{}:", file.display()))?;
        }
        all &= verify_file(&config, file, euid, out)?;
    }
    Ok(all)
}

fn verify_file(
    config: &Config,
    file: &Path,
    euid: u32,
    out: &mut Output,
) -> Result<bool, Box<dyn Error>> {
    let text = read(file)?;
    let pools = pools(config, &text, euid);
    let missing: BTreeSet<&String> = pools.iter().flat_map(|pool| &pool.missing).collect();
    for why in &missing {
        out.line(format!("note: {why}"))?;
    }
    let now = session::host::now();
    let (mut tokens, mut valid) = (0, 0);
    for (number, line) in text.lines().enumerate().filter(|(_, line)| is_token(line)) {
        tokens += 1;
        let verdict = match verify(line.trim(), &pools, now) {
            Ok(_) => {
                valid += 1;
                "valid".to_owned()
            }
            // Somebody may have the key.
            Err(Refusal::UnknownKid(kid)) if !missing.is_empty() => {
                format!("nobody can tell: the key {kid:?} can not be read here")
            }
            Err(refusal) => format!("not valid: {refusal}"),
        };
        out.line(format!("line {}: {verdict}", number + 1))?;
        if let Ok(seen) = idtoken::decode(line.trim()) {
            describe(&seen, out)?;
        }
    }
    if tokens == 0 {
        out.line(format!("{} holds no token", file.display()))?;
    }
    Ok(tokens > 0 && tokens == valid)
}

/// A trust domain with the keys of its tokens, as one table of the configuration has them.
struct Pool {
    issuer: Option<TrustDomain>,
    keys: Vec<SigningKey>,
    missing: Vec<String>,
}

fn pools(config: &Config, text: &str, euid: u32) -> Vec<Pool> {
    let tables = config.tables.iter().map(|table| &table.token);
    tables
        .map(|token| {
            let (mut keys, missing) = match key::read_keys(token, euid) {
                Ok((keys, missing)) => (keys, missing.iter().map(ToString::to_string).collect()),
                Err(error) => (Vec::new(), vec![error.to_string()]),
            };
            keys.extend(other_keys(text, token, &keys, euid));
            Pool {
                issuer: token.trust_domain.clone(),
                keys,
                missing,
            }
        })
        .collect()
}

/// The verdict by the pool whose token it is: two pools may have a key of one name.
fn verify(line: &str, pools: &[Pool], now: u64) -> Result<Decoded, Refusal> {
    let issuer = idtoken::decode(line).ok().and_then(|seen| seen.iss);
    let is_its = |pool: &&Pool| pool.issuer.as_ref().map(TrustDomain::as_str) == issuer.as_deref();
    let any = pools.first();
    let its: Vec<&Pool> = pools.iter().filter(is_its).collect();
    let its = if its.is_empty() {
        any.into_iter().collect()
    } else {
        its
    };
    let keys: Vec<&SigningKey> = its.iter().flat_map(|pool| &pool.keys).collect();
    let wanted = its.first().and_then(|pool| pool.issuer.as_ref());
    idtoken::verify(line, &keys, wanted, now)
}

/// The keys of this host that tokens name and sessions are not given tokens of:
/// HTCondor takes every key of its directory.
fn other_keys(
    text: &str,
    token: &TokenSettings,
    known: &[SigningKey],
    euid: u32,
) -> Vec<SigningKey> {
    let mut kids: Vec<Kid> = idtoken::lines(text)
        .filter_map(|line| idtoken::decode(line).ok()?.kid?.parse().ok())
        .filter(|kid| known.iter().all(|key| key.kid() != kid))
        .collect();
    kids.sort_unstable_by(|a, b| a.as_str().cmp(b.as_str()));
    kids.dedup();
    kids.iter()
        .filter_map(|kid| key::read_key(token, kid, euid).ok())
        .collect()
}

fn is_token(line: &str) -> bool {
    idtoken::lines(line).next().is_some()
}

fn describe(seen: &Decoded, out: &mut Output) -> io::Result<()> {
    let text = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".into());
    let time = |value: Option<u64>| value.map_or_else(|| "none".into(), utc);
    out.line(format!("  sub   {}", text(&seen.sub)))?;
    out.line(format!("  iss   {}", text(&seen.iss)))?;
    out.line(format!("  kid   {}", text(&seen.kid)))?;
    out.line(format!("  jti   {}", text(&seen.jti)))?;
    out.line(format!("  iat   {}", time(seen.iat)))?;
    out.line(format!(
        "  exp   {}",
        seen.exp.map_or_else(|| "never".into(), utc)
    ))?;
    out.line(format!(
        "  scope {}",
        seen.scope.as_deref().unwrap_or("unrestricted")
    ))
}

fn read(path: &Path) -> Result<String, Box<dyn Error>> {
    let failed = |error: io::Error| format!("could not read {}: {error}", path.display());
    let mut text = String::new();
    if path == Path::new("-") {
        io::stdin()
            .lock()
            .take(LIMIT)
            .read_to_string(&mut text)
            .map_err(failed)?;
        return Ok(text);
    }
    // A FIFO must not make an administrator wait.
    let file = File::options()
        .read(true)
        .custom_flags(libc::O_NONBLOCK)
        .open(path)
        .map_err(failed)?;
    if !file.metadata().map_err(failed)?.is_file() {
        return Err(format!("{} is not a regular file", path.display()).into());
    }
    file.take(LIMIT).read_to_string(&mut text).map_err(failed)?;
    Ok(text)
}
