//! Every command of the documents, in their order, by whom they speak to.

use std::cell::RefCell;
use std::collections::HashSet;
use std::time::{Duration, Instant};

use pam_idtoken_tests::command::{Answer, must};
use pam_idtoken_tests::documents::kind::{Kind, Piece, pieces};
use pam_idtoken_tests::documents::ways::{self, Way};
use pam_idtoken_tests::documents::{passages, path};
use pam_idtoken_tests::pool::{DOMAIN, Plan, Pool, Stay};
use pam_idtoken_tests::programs_dir;
use serde_json::Value;

use super::meant;
use super::newcomer::{self, By};
use crate::condor::submit;

pub(super) fn every_command() {
    let pool = Plan::of(DOMAIN).boot();
    let ap1 = pool.host("ap1");
    newcomer::prepare(ap1, By::Source);
    newcomer::install(ap1, By::Source);
    let walk = Walk::begin(&pool);
    let pieces: Vec<Piece> = passages().iter().flat_map(pieces).collect();
    if pieces.iter().any(|piece| is_of_packages(&piece.text)) {
        newcomer::prepare(pool.host("ap2"), By::Package);
    }
    for piece in &pieces {
        walk.take(piece);
    }
    let failed = walk.failed.take();
    assert!(
        failed.is_empty(),
        "{} fail:\n{}",
        failed.len(),
        failed.join("\n")
    );
    // The guide ends with the removal; what systemctl edit wrote is the administrator's own.
    let left = ap1.sh(
        "find / -xdev -ignore_readdir_race -iname '*idtoken*' -print | \
                       grep -vE '^/(root|var/cache/man|etc/systemd/system/[^/]*[.]d)' || true",
    );
    assert_eq!(left, "", "the guide does not say how to remove it");
    let (done, sessions) = (walk.done.borrow().len(), walk.sessions.borrow());
    assert!(done > 50, "{done}");
    println!("{done} commands of the documents, {sessions} sessions");
}

struct Walk<'a> {
    pool: &'a Pool,
    /// A job of alice's on the other access point.
    job: String,
    /// Her session, which some commands end.
    session: RefCell<Option<Stay>>,
    sessions: RefCell<usize>,
    /// What a sentence says was done already, with who did it.
    done: RefCell<HashSet<(bool, String)>>,
    failed: RefCell<Vec<String>>,
}

impl<'a> Walk<'a> {
    fn begin(pool: &'a Pool) -> Self {
        let id = submit(pool, "alice", "ap2", "");
        let walk = Self {
            pool,
            job: id.split('.').next().unwrap().to_owned(),
            session: RefCell::new(None),
            sessions: RefCell::new(0),
            done: RefCell::default(),
            failed: RefCell::default(),
        };
        walk.wait_for_the_job();
        walk
    }

    /// The collector hears of the schedd's first job with its next update.
    fn wait_for_the_job(&self) {
        let end = Instant::now() + Duration::from_secs(30);
        let look = || self.as_alice("condor_q -global -nobatch").stdout;
        while !look().contains("alice") {
            assert!(Instant::now() < end, "the job is not seen");
        }
    }

    fn take(&self, piece: &Piece) {
        let text = &piece.text;
        match piece.kind {
            Some(Kind::Shell) => self.shell(piece),
            Some(Kind::Cron) => {
                let command = text.splitn(7, ' ').nth(6).unwrap();
                self.check(piece, &self.as_root(command), 0);
            }
            Some(Kind::Sshd) => {
                let command = format!("/usr/sbin/sshd -t -o '{text}'");
                self.check(piece, &self.as_root(&command), 0);
            }
            Some(Kind::Condor) => {
                self.check(piece, &self.as_root(&meant::told_to_condor(text)), 0);
            }
            Some(Kind::Unit) => {
                self.check(piece, &self.as_root(&meant::put_beside_the_unit(text)), 0);
            }
            Some(Kind::Log) => meant::is_like_a_line(piece, &self.as_root(meant::A_LINE)),
            Some(Kind::Json) => {
                let command = meant::an_object_like(piece);
                meant::is_like_an_object(piece, &self.as_root(command));
            }
            // Rings 1 and 2 have read the rest.
            Some(Kind::Toml | Kind::Pam | Kind::Words | Kind::Excepted) | None => {}
        }
    }

    fn shell(&self, piece: &Piece) {
        let text = &piece.text;
        let way = ways::of(text);
        if text.starts_with("make ") {
            return is_a_target(piece);
        }
        let script = match way {
            Some(Way::As(script)) => script.to_owned(),
            _ => ways::whole(text),
        };
        for variant in variants(&script) {
            let names = meant::names(&variant, self.live_session().as_ref(), &self.job);
            let script = ways::fill(&variant, &names);
            let is_alices = is_a_users(piece, &script);
            let is_new = self.done.borrow_mut().insert((is_alices, script.clone()));
            if !is_new && !piece.passage.is_block {
                continue;
            }
            if let Some(Way::After(first)) = way {
                self.check(piece, &self.as_root(&format!("set -e; {first}")), 0);
            }
            let answer = if is_alices {
                self.as_alice(&script)
            } else {
                self.as_root(&script)
            };
            let code = match way {
                Some(Way::Code(code)) => code,
                _ => 0,
            };
            self.check(piece, &answer, code);
        }
    }

    /// On the first access point; what is about packages on the other, where none of ours was
    /// installed in another way.
    fn as_root(&self, script: &str) -> Answer {
        let (host, dir) = if is_of_packages(script) {
            ("ap2", newcomer::DIR)
        } else {
            ("ap1", "/root")
        };
        let script = format!("cd {dir}; {script}");
        let host = self.pool.host(host);
        host.run(&["bash", "-o", "pipefail", "-c", &script])
    }

    fn as_alice(&self, script: &str) -> Answer {
        self.pool.ssh("alice", "ap1").run(script)
    }

    #[track_caller]
    fn check(&self, piece: &Piece, answer: &Answer, code: i32) {
        if answer.code != Some(code) {
            let failed = format!(
                "{}: {}\nended with {:?} and not {code}: {}",
                piece.passage.place(),
                piece.text,
                answer.code,
                answer.all()
            );
            self.failed.borrow_mut().push(failed);
        }
    }

    /// A session with a token is there, whatever the last command did to the one before; unless
    /// nobody can tell any more.
    fn live_session(&self) -> Option<Value> {
        let rows = self.rows()?;
        let live = rows.into_iter().find(|row| row["state"] == "live");
        if self.session.borrow().is_some() && live.is_some() {
            return live;
        }
        if let Some(session) = self.session.take() {
            session.end();
        }
        *self.session.borrow_mut() = Some(self.pool.ssh("alice", "ap1").stay());
        *self.sessions.borrow_mut() += 1;
        self.rows()?.pop()
    }

    /// What the list has, if idtokenctl is there.
    fn rows(&self) -> Option<Vec<Value>> {
        let list = self.as_root("idtokenctl list --json");
        let lines = list.stdout.lines();
        let rows = lines.map(|line| serde_json::from_str(line).unwrap());
        (list.code != Some(127)).then(|| rows.collect())
    }
}

fn is_of_packages(command: &str) -> bool {
    let first = command.split(' ').next().unwrap_or_default();
    ["apt", "apt-get", "dpkg", "pam-auth-update"].contains(&first)
}

/// What a user types in a session, as the users' pages do and all who ask the pool.
fn is_a_users(piece: &Piece, script: &str) -> bool {
    let asks = [
        "condor_q",
        "condor_status",
        "condor_ping",
        "condor_rm",
        "condor_token_",
    ];
    piece.passage.document.contains("/users.") || asks.iter().any(|name| script.starts_with(name))
}

/// A command without what is in brackets, and with it.
fn variants(command: &str) -> Vec<String> {
    match command.split_once(" [") {
        Some((start, _)) if command.starts_with("idtokenctl ") => {
            vec![start.to_owned(), command.replace(['[', ']'], "")]
        }
        _ => vec![command.to_owned()],
    }
}

/// CI makes what there is to make, and here it is seen that make knows it; but for the
/// demonstration that needs a pool, which nothing else runs.
fn is_a_target(piece: &Piece) {
    let root = path("");
    let mut args = vec!["-n", "-C", root.to_str().unwrap()];
    args.extend(piece.text.split(' ').skip(1));
    must("make", &args);
    if piece.text == "make demo-pool" {
        let demo = programs_dir().join("demo-pool");
        let told = must(demo.to_str().unwrap(), &[]).stdout;
        assert!(told.contains("Nobody typed condor_token_fetch"), "{told}");
    }
}
