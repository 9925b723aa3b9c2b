//! A bare Debian host with HTCondor, and somebody who reads the README and nothing else.

use std::time::{Duration, Instant};

use pam_idtoken_tests::clock::timed;
use pam_idtoken_tests::command::must;
use pam_idtoken_tests::documents::kind::{Kind, pieces};
use pam_idtoken_tests::documents::{Passage, passages, path};
use pam_idtoken_tests::pool::{Build, DOMAIN, Host, Plan, Pool};

/// How long it may take from a bare host to a login that works, without the build.
const PATIENCE: Duration = Duration::from_secs(300);
/// Where the newcomer works, on the host.
pub(super) const DIR: &str = "/root/pam_idtoken";

/// A way to install.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum By {
    /// With Debian's package.
    Package,
    /// From source.
    Source,
}

pub(super) fn follows_the_readme() {
    let pool = Plan::of(DOMAIN).boot();
    let ways = ways();
    assert_eq!(ways, [By::Source, By::Package], "the README has lost one");
    for (way, name, other) in [(By::Source, "ap1", "ap2"), (By::Package, "ap2", "ap1")] {
        if ways.contains(&way) {
            let (host, started) = (pool.host(name), Instant::now());
            is_bare(&pool, host);
            let prepared = timed(|| prepare(host, way)).1;
            install(host, way);
            works(&pool, host, other);
            let all = started.elapsed();
            println!(
                "from a bare host to a login that works, {way:?}: {:.1} s, {:.1} s of them to build \
                 and to copy to the host",
                all.as_secs_f64(),
                prepared.as_secs_f64()
            );
            // What others build on this machine holds up a build, and is no matter of the README's.
            let followed = all.saturating_sub(prepared);
            assert!(followed < PATIENCE, "{way:?} took {followed:?}");
        }
    }
}

/// Nothing of ours is there, and the user can not ask the other access point.
fn is_bare(pool: &Pool, host: &Host) {
    let found =
        host.sh("find / -xdev -ignore_readdir_race -iname '*idtoken*' -not -path '/proc/*' -print");
    assert_eq!(found, "");
    let answer = pool.ssh("alice", host.name()).run("condor_q -global");
    assert!(!answer.ok, "{}", answer.all());
}

/// The ways that the README has.
fn ways() -> Vec<By> {
    let has = |way: &By| {
        steps(*way)
            .iter()
            .any(|(_, step, _)| step.starts_with(way.command()))
    };
    [By::Source, By::Package].into_iter().filter(has).collect()
}

impl By {
    /// The command that installs.
    fn command(self) -> &'static str {
        match self {
            Self::Package => "apt",
            Self::Source => "make install",
        }
    }
}

/// What has to be on the host before the README can be followed there: the package, or the sources
/// as they are after the build; the host has no Rust.
pub(super) fn prepare(host: &Host, way: By) {
    let root = path("");
    let make = |target: &str| must("make", &["-s", "-C", root.to_str().unwrap(), target]);
    host.sh(&format!("mkdir -p {DIR}"));
    let there = format!("/proc/{}/root{DIR}", host.leader());
    let copy = |what: &str| {
        let script = format!("cp -a --parents {what} {there}/");
        must("sh", &["-ec", &format!("cd {}; {script}", root.display())]);
    };
    match way {
        By::Package => {
            make("deb");
            copy("target/packages/*.deb");
            host.sh(&format!("cp {DIR}/target/packages/*.deb {DIR}"));
            // Whoever sits there answers yes.
            host.sh("echo 'APT::Get::Assume-Yes \"true\";' >/etc/apt/apt.conf.d/yes");
        }
        By::Source => {
            make("build");
            copy("Makefile Cargo.toml Cargo.lock README.md docs packaging pam.d src tools");
            // What is tested, which may be of another day than the sources.
            let built = Build::find();
            host.sh(&format!("mkdir -p {DIR}/target/release"));
            for file in [built.module, built.tool] {
                let to = format!("{there}/target/release/");
                must("cp", &[file.to_str().unwrap(), &to]);
            }
        }
    }
}

/// Does the steps of the README.
pub(super) fn install(host: &Host, way: By) {
    for (passage, step, kind) in steps(way) {
        match kind {
            // Where there is Rust; see `prepare`.
            _ if step.starts_with("make ") && !step.starts_with("make install") => {}
            Kind::Shell => {
                let said = host.run(&["bash", "-c", &format!("cd {DIR} && {step}")]);
                assert!(said.ok, "{}: {step}\n{}", passage.place(), said.all());
                let is_ready = said.stdout.ends_with("This host is ready.\n");
                assert!(
                    is_ready || !step.starts_with("idtokenctl check"),
                    "{}",
                    said.all()
                );
            }
            Kind::Pam => {
                let file = "/etc/pam.d/sshd";
                let where_to = format!("at the end of `{file}`");
                assert!(passage.before.contains(&where_to), "{}", passage.before);
                host.sh(&format!("echo '{step}' >>{file}"));
            }
            other => panic!(
                "{}: nobody knows how to do {other:?} {step}",
                passage.place()
            ),
        }
    }
}

/// The steps of a way, from the README's section: a part below a heading of its own that installs
/// in another way is left out.
fn steps(way: By) -> Vec<(Passage, String, Kind)> {
    let readme = passages().into_iter().filter(|passage| {
        let is_in_it = passage.headings.iter().any(|heading| heading == "Install");
        passage.document == "README.md" && passage.is_block && is_in_it
    });
    let steps = readme.flat_map(|passage| {
        pieces(&passage).into_iter().map(move |piece| {
            let kind = piece.kind.unwrap_or_else(|| panic!("{}", piece.text));
            (passage.clone(), piece.text, kind)
        })
    });
    let steps: Vec<(Passage, String, Kind)> = steps.collect();
    let others = [By::Package, By::Source].map(By::command);
    let others = others
        .into_iter()
        .chain(["dnf"])
        .filter(|command| *command != way.command());
    let others: Vec<&str> = others.collect();
    let is_of_another = |headings: &[String]| {
        let mut part = steps
            .iter()
            .filter(|(passage, ..)| passage.headings == headings);
        part.any(|(_, step, _)| others.iter().any(|command| step.starts_with(command)))
    };
    let mine = steps
        .iter()
        .filter(|(passage, ..)| !is_of_another(&passage.headings));
    mine.cloned().collect()
}

/// A login has its token, the other access point takes it, and nothing is left after the logout.
fn works(pool: &Pool, host: &Host, other: &str) {
    let ping = format!("condor_ping -type schedd -name {other}.{DOMAIN} WRITE");
    let said = pool.ssh("alice", host.name()).run(&format!(
        "set -e; ls ~/.condor/tokens.d; condor_q -global; {ping}"
    ));
    let said = said.must().stdout;
    assert!(said.starts_with("0-session-"), "{said}");
    assert!(
        said.contains("IDTOKENS") && said.contains(&format!("alice@{DOMAIN}")),
        "{said}"
    );
    pool.wait_for_tokens("alice", 0);
    let promised = host.run(&["test", "-e", "/run/pam_idtoken/reconciled"]);
    assert!(promised.ok, "no reconciler was seen");
}
