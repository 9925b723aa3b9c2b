//! Signing keys of a pool that come and go while it runs.

use std::time::{Duration, Instant};

use super::Pool;

/// HTCondor's SEC_PASSWORD_DIRECTORY on the hosts.
pub const KEYS: &str = "/etc/condor/passwords.d";

impl Pool {
    /// Puts a signing key on a host, as an administrator would: whoever watches the directory sees
    /// one change, after which it is there.
    pub fn write_key(&self, host: &str, name: &str, secret: &str) {
        let host = self.host(host);
        let beside = format!("{KEYS}.new");
        host.write(&beside, secret, 0o600);
        host.sh(&format!("mv {beside} {KEYS}/{name}"));
    }

    /// Takes a signing key from a host.
    pub fn remove_key(&self, host: &str, name: &str) {
        self.host(host).sh(&format!("rm {KEYS}/{name}"));
    }

    /// Waits until the daemon that clients ask on a host tells them that it has a key, or that it
    /// has not.
    ///
    /// A daemon tells clients the list of keys it told last until it has read its configuration
    /// and is asked for another authorization (SecMan in condor_io/condor_secman.cpp keeps it).
    pub fn wait_until_it_tells(&self, host: &str, key: &str, wanted: bool) {
        let host = self.host(host);
        let kind = if host.submits() {
            "schedd"
        } else {
            "collector"
        };
        let ask = format!(
            "_CONDOR_TOOL_DEBUG=D_SECURITY:2 condor_ping -debug -type {kind} READ WRITE 2>&1"
        );
        host.sh("condor_reconfig");
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let said = host.run(&["sh", "-c", &ask]).all();
            let mut lists = said.lines().rev();
            let last = lists.find(|line| line.starts_with("IssuerKeys"));
            if last.is_some_and(|list| list.contains(key) == wanted) {
                break;
            }
            assert!(
                Instant::now() < end,
                "{} goes on telling: {said}",
                host.name()
            );
        }
        std::thread::sleep(Duration::from_secs(2));
    }
}
