//! The Debian package on booted hosts: `apt install` is all there is to do, and `apt purge`
//! leaves nothing.

mod removed;
mod upgraded;

use pam_idtoken_tests::pool::{Package, Plan, Pool, Suite};

use crate::OwnTest;
use crate::support::{both_accept, only_claims, pings};

pub(crate) const TESTS: &[OwnTest] = &[
    (
        "apt install of the package, and no other step, gives the next login its token",
        installed,
    ),
    (
        "the package gives logins their tokens on Debian's sid",
        on_sid,
    ),
    (
        "the package gives logins their tokens on Debian 11, and leaves it clean",
        on_bullseye,
    ),
    (
        "a line that an administrator wrote before stays the only one",
        by_hand,
    ),
    (
        "an upgrade keeps open sessions, their tokens and the administrator's changes",
        upgraded::keeps,
    ),
    (
        "removing the package ends all tokens, and purging it leaves nothing",
        removed::leaves_nothing,
    ),
    (
        "removing the package locks nobody out and ends in time, whatever is broken",
        removed::locks_nobody_out,
    ),
];

/// The domain of the pools of these tests.
const DOMAIN: &str = "deb.test";
/// The session lines of sshd's stack that the package has to do with, in their order.
const LINES: &str = "sed -n 's/ *$//; s/.*\\(pam_[a-z]*.so.*\\)/\\1/p' \
                     /etc/pam.d/common-session | grep -e idtoken -e systemd -e mkhomedir";

/// A pool of one host with the package installed.
fn pool_with(package: &Package) -> Pool {
    let pool = Plan::of(DOMAIN).hosts(Plan::ONE).boot();
    pool.host("ap1").apt_install(package).must();
    pool
}

/// The next login has a token that both daemons take.
#[track_caller]
fn accepted(pool: &Pool) {
    let user = format!("alice@{DOMAIN}");
    assert_eq!(only_claims(pool, "alice")["sub"], user);
    let said = pool.ssh("alice", "ap1").run(&pings(pool)).must().stdout;
    both_accept(&said, &user);
    pool.wait_for_tokens("alice", 0);
}

fn installed() {
    let pool = Plan::of(DOMAIN).hosts(Plan::ONE).boot();
    let ap1 = pool.host("ap1");
    assert!(!pool.ssh("alice", "ap1").run(&pings(&pool)).ok);
    let said = ap1.apt_install(&Package::find()).must();
    let check = ap1.run(&["idtokenctl", "check", "--user", "alice"]);
    assert!(
        check.ok && check.stdout.ends_with("This host is ready.\n"),
        "{}{}",
        said.all(),
        check.all()
    );
    accepted(&pool);
    for (script, expected) in [
        (
            "stat -c '%a %U' /usr/lib/*/security/pam_idtoken.so /var/lib/pam_idtoken \
             /etc/security/pam_idtoken.toml",
            "644 root\n700 root\n644 root\n",
        ),
        (
            "cd /usr/lib/systemd/system; systemctl is-enabled *pam_idtoken*",
            "enabled\nenabled\nenabled\nenabled\n",
        ),
        (
            "systemctl is-active pam_idtoken-reconcile.timer pam_idtoken-reconcile.path \
             run-pam_idtoken-tokens.mount",
            "active\nactive\nactive\n",
        ),
        ("dpkg --verify pam-idtoken", ""),
        (
            "grep -l idtoken /etc/pam.d/*",
            "/etc/pam.d/common-session\n",
        ),
        // However many others are switched on, later or before.
        (
            &format!("pam-auth-update --enable mkhomedir; {LINES}"),
            "pam_systemd.so\npam_mkhomedir.so\npam_idtoken.so\n",
        ),
    ] {
        assert_eq!(ap1.sh(script), expected, "{script}");
    }
    accepted(&pool);
}

fn on_sid() {
    let plan = Plan::of(DOMAIN).suite(Suite::Sid).hosts(Plan::ONE);
    let pool = plan.boot();
    let ap1 = pool.host("ap1");
    ap1.apt_install(&Package::find()).must();
    accepted(&pool);
    ap1.apt_remove("purge").must();
    removed::is_clean(ap1);
}

/// Where there is no HTCondor to ask, the domains are written down.
fn on_bullseye() {
    let plan = Plan::of(DOMAIN).suite(Suite::Bullseye).hosts(Plan::ONE);
    let pool = plan.boot();
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    // A machine has one boot id; systemd-nspawn gives its hosts one of their own, which units of
    // systemd 247 that protect /proc/sys do not see. docs/admin.md says what to do in a container.
    ap1.sh("while umount /proc/sys/kernel/random/boot_id 2>/dev/null; do :; done");
    let libc = ap1.sh("getconf GNU_LIBC_VERSION; sshd -V 2>&1 || true");
    assert!(libc.contains("glibc 2.31") && libc.contains("OpenSSH_8.4"));
    ap1.apt_install(&Package::find()).must();
    ap1.sh(
        "sed -i 's/^#\\(trust\\|uid\\)_domain = .*#/\\1_domain = \"deb.test\" #/' \
            /etc/security/pam_idtoken.toml",
    );
    let check = ap1.run(&["idtokenctl", "check", "--user", "alice"]);
    assert!(
        check.stdout.ends_with("This host is ready.\n"),
        "{}",
        check.all()
    );
    let session = alice.stay();
    let token = pool.tokens("alice").pop().expect("alice has no token");
    let verified = ap1.sh(&format!(
        "idtokenctl verify /home/alice/.condor/tokens.d/{token}"
    ));
    assert!(verified.contains("valid") && verified.contains("alice@deb.test"));
    // It is renewed there, too.
    let before = ap1.sh("cat /home/alice/.condor/tokens.d/*");
    ap1.write("/etc/condor/passwords.d/POOL", [7; 64], 0o600);
    upgraded::wait_for_another(ap1, &before);
    session.end();
    pool.wait_for_tokens("alice", 0);
    ap1.apt_remove("purge").must();
    removed::is_clean(ap1);
    alice.run("true").must();
}

fn by_hand() {
    let pool = Plan::of(DOMAIN).hosts(Plan::ONE).boot();
    let (ap1, alice) = (pool.host("ap1"), pool.ssh("alice", "ap1"));
    let line = "session optional pam_idtoken.so scope=READ lifetime=10m";
    // Where libpam finds it: in a file that sshd's includes, on two lines.
    ap1.sh(&format!(
        "mkdir /etc/pam-site; echo '{line}' | sed 's/optional/& \\\\ \\n/' >/etc/pam-site/idtoken
         echo 'session include /etc/pam-site/idtoken' >>/etc/pam.d/sshd"
    ));
    let said = ap1.apt_install(&Package::find()).must();
    assert!(said.all().contains(line), "{}", said.all());
    let one = |when: &str| {
        let lines = ap1.sh("grep -h '^[^#]*idtoken[.]so' /etc/pam.d/* || true");
        assert_eq!(lines, "", "{when}");
        assert_eq!(only_claims(&pool, "alice")["scope"], "condor:/READ");
        pool.wait_for_tokens("alice", 0);
    };
    one("after the installation");
    // Other packages run it.
    ap1.sh("pam-auth-update --package");
    one("after pam-auth-update");
    // A removal that failed switches nothing on.
    ap1.sh(
        "prerm=/var/lib/dpkg/info/pam-idtoken.prerm; cp $prerm /root/prerm
         sed -i 's/^    end_tokens$/    exit 1/' $prerm
         ! dpkg --remove pam-idtoken; mv /root/prerm $prerm",
    );
    one("after a removal that failed");
    // And if somebody wants both all the same, a session has one token.
    ap1.sh("pam-auth-update --enable idtoken; grep -q idtoken /etc/pam.d/common-session");
    let session = alice.stay();
    let both = pool.tokens("alice");
    session.end();
    assert_eq!(both.len(), 1, "{both:?}");
    pool.wait_for_tokens("alice", 0);
}
