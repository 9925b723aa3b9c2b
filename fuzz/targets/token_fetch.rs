//! What condor_token_fetch printed, which is in the hands of the user it ran as. A token that is
//! accepted is this user's, of the domains that were written down, expires in time and allows no more
//! than was asked for; where the signing key is there, it was signed with that. No error has a token.

#![no_main]

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Duration;

use idtoken::{Kid, Lifetime};
use libfuzzer_sys::fuzz_target;
use pam_idtoken_fuzz::{assert_no_token, derived, is_signed, json, words, written_out};
use session::config::{Config, TokenSettings};
use session::deadline::Deadline;
use session::issuer::{Request, Schedd, schedd};
use session::record::Minted;
use session::user::User;

const RAW: &[u8] = b"a scratch key";
const NOW: u64 = 1_000_000;
/// By how much a schedd's clock may be ahead.
const SKEW: u64 = 120;
const PRINTED: usize = 64 * 1024;

/// Keys in memory, for one process.
static KEYS: LazyLock<(PathBuf, u32)> = LazyLock::new(|| {
    let dir = PathBuf::from(format!("/dev/shm/pam_idtoken-fuzz-{}", std::process::id()));
    fs::create_dir_all(&dir).unwrap();
    let key = dir.join("POOL");
    fs::write(&key, RAW).unwrap();
    fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
    let owner = fs::metadata(&key).unwrap().uid();
    (dir, owner)
});

/// What is written down: the domains, a scope, the key, another schedd; and the kid.
struct Asked {
    settings: TokenSettings,
    kid: Option<Kid>,
    has_key: bool,
}

impl Asked {
    fn new(how: u8) -> Self {
        let has = |bit: u8| how & (1 << bit) != 0;
        let keys = if has(3) {
            &*KEYS.0
        } else {
            Path::new("/nonexistent")
        };
        let mut text = format!("issuer = \"schedd\"\npassword_directory = {keys:?}\n");
        for (bit, line) in [
            (0, "trust_domain = \"lab.test\"\n"),
            (1, "uid_domain = \"lab.test\"\n"),
            (2, "scope = [\"WRITE\"]\n"),
            (4, "schedd_name = \"other\"\n"),
        ] {
            if has(bit) {
                text += line;
            }
        }
        let settings = Config::parse(&text, Path::new("/x.toml")).unwrap().token;
        Self {
            settings,
            kid: has(5).then(Kid::pool),
            has_key: has(3) && !has(4),
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[how, status], rest)) = input.split_first_chunk() else {
        return;
    };
    let secret = derived(RAW, true, false).unwrap();
    let asked = Asked::new(how);
    // Behind a NUL is what it complained.
    let mut parts = rest.splitn(2, |byte| *byte == 0);
    let mut next = || written_out(parts.next().unwrap_or_default(), &secret);
    let (mut stdout, mut stderr) = (next(), next());
    stdout.truncate(PRINTED);
    stderr.truncate(4096);
    let user = User {
        name: "alice".into(),
        uid: 1000,
        gid: 1000,
        groups: vec![1000],
        home: "/home/alice".into(),
    };
    let request = Request {
        user: &user,
        euid: KEYS.1,
        now: NOW,
        lifetime: Lifetime::HOUR,
        deadline: Deadline::after(Duration::ZERO),
    };
    let issuer = Schedd::new(&asked.settings, None);
    let status = i32::from(status & 3) << 8;
    let printed = (&*stdout, &*stderr, status);
    match schedd::fuzz::take(&issuer, printed, asked.kid.as_ref(), request) {
        Ok((line, token)) => look(&line, &token, &asked, &stdout, &secret),
        Err(error) => {
            let error = error.to_string();
            for bytes in [&stdout, &stderr] {
                assert_no_token(&error, &String::from_utf8_lossy(bytes), &secret);
            }
        }
    }
});

fn look(line: &str, token: &Minted, asked: &Asked, stdout: &[u8], secret: &[u8; 32]) {
    let settings = &asked.settings;
    let text = std::str::from_utf8(stdout).unwrap();
    assert!(!line.contains(char::is_whitespace) && text.contains(line));
    assert!(words(line).eq([line]), "{line}");
    let (Some(header), Some(claims)) = (json(line, 0), json(line, 1)) else {
        return;
    };
    let text = |name: &str| claims[name].as_str().unwrap_or_default();

    let domain = text("sub").strip_prefix("alice@").unwrap();
    assert!(!domain.is_empty() && !domain.contains(['@', ',', ' ', '\n']));
    assert!(!settings.uid_domain_is_given || domain == "lab.test");
    assert!(!settings.trust_domain_is_given || text("iss") == "lab.test");
    assert_eq!(
        (&*token.subject, &*token.issuer),
        (text("sub"), text("iss"))
    );

    let expires = claims["exp"].as_u64().unwrap();
    assert!(
        (NOW + 1..=NOW + 3600 + SKEW).contains(&expires),
        "{expires}"
    );
    assert_eq!((token.expires, token.issued), (expires, NOW));

    let jti = text("jti");
    assert!(
        jti.len() == 32
            && jti
                .bytes()
                .all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
    );
    assert_eq!(token.jti.as_str(), jti);
    assert_eq!(header["kid"].as_str(), Some(token.kid.as_str()));
    assert!(asked.kid.as_ref().is_none_or(|kid| *kid == token.kid));

    if settings.scope.is_some() {
        let rights: Vec<_> = text("scope")
            .split_whitespace()
            .filter(|word| word.starts_with("condor:/"))
            .collect();
        assert!(!rights.is_empty());
        assert!(
            rights
                .iter()
                .all(|word| ["condor:/READ", "condor:/WRITE"].contains(word)),
            "{rights:?}"
        );
    }
    if asked.has_key && token.kid.is_pool() {
        assert!(is_signed(line, secret), "nobody signed {line}");
    }
    // It goes into the record and the log: not the token.
    let known = format!("{token:?}");
    assert!(!known.contains(line));
}
