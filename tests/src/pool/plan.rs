//! What a pool is to be like, and what HTCondor on its hosts is told.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::Pool;
use super::root::Suite;

/// UID_DOMAIN and TRUST_DOMAIN of [`Pool::boot`].
pub const DOMAIN: &str = "lab.test";

/// What a host does in its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// It knows the others, and runs jobs.
    CentralManager,
    /// An access point: users log in and submit.
    Submit,
    /// All of it: a pool of one host.
    Both,
}

/// A host's name and what it does.
pub type Named = (&'static str, Role);

/// A pool that is not booted yet.
#[derive(Clone)]
pub struct Plan<'a> {
    pub(super) suite: Suite,
    pub(super) domain: &'static str,
    pub(super) uid_domain: Option<&'static str>,
    pub(super) trust_domain: Option<&'static str>,
    pub(super) hosts: &'a [Named],
    pub(super) condor: String,
    pub(super) beside: Option<&'a Pool>,
}

impl<'a> Plan<'a> {
    /// A central manager `cm` and the access points `ap1` and `ap2`.
    pub const THREE: &'static [Named] = &[
        ("cm", Role::CentralManager),
        ("ap1", Role::Submit),
        ("ap2", Role::Submit),
    ];
    /// `cm` and `ap1`.
    pub const TWO: &'static [Named] = &[("cm", Role::CentralManager), ("ap1", Role::Submit)];
    /// `ap1`, which is the central manager, too.
    pub const ONE: &'static [Named] = &[("ap1", Role::Both)];

    /// Three hosts of Debian's stable release in this domain, which is UID_DOMAIN and TRUST_DOMAIN.
    pub fn of(domain: &'static str) -> Self {
        Self {
            suite: Suite::Trixie,
            domain,
            uid_domain: Some(domain),
            trust_domain: Some(domain),
            hosts: Self::THREE,
            condor: String::new(),
            beside: None,
        }
    }

    /// Another release of Debian, and of HTCondor.
    pub fn suite(self, suite: Suite) -> Self {
        Self { suite, ..self }
    }

    /// Other hosts: [`Plan::TWO`], [`Plan::ONE`] or whatever the test needs.
    pub fn hosts(self, hosts: &'a [Named]) -> Self {
        Self { hosts, ..self }
    }

    /// Another UID_DOMAIN, or none: HTCondor then takes each host's full name, and hosts that
    /// have no TRUST_DOMAIN either do not trust each other.
    pub fn uid_domain(self, uid_domain: Option<&'static str>) -> Self {
        Self { uid_domain, ..self }
    }

    /// Another TRUST_DOMAIN, or none: HTCondor then takes UID_DOMAIN.
    pub fn trust_domain(self, trust_domain: Option<&'static str>) -> Self {
        Self {
            trust_domain,
            ..self
        }
    }

    /// More lines for the configuration of HTCondor on every host.
    pub fn condor(mut self, lines: &str) -> Self {
        self.condor = format!("{lines}\n");
        self
    }

    /// In reach of another pool's hosts, and known to them by full names, as they are to it.
    ///
    /// The other pool has to live longer. It has a /home and a signing key of its own.
    pub fn beside(self, pool: &'a Pool) -> Self {
        Self {
            beside: Some(pool),
            ..self
        }
    }

    /// Boots it and waits until all access points are in the collector.
    pub fn boot(self) -> Pool {
        Pool::of(&self)
    }

    pub(super) fn place(&self, net: u8, (name, role): Named, others: &str, key: &[u8]) -> Place {
        let central = self.hosts.iter().find(|(_, role)| *role != Role::Submit);
        let (central, _) = central.expect("no host is the central manager");
        Place {
            net,
            number: number(name),
            name,
            role,
            domain: self.domain,
            central: format!("{central}.{}", self.domain),
            uid_domain: self.uid_domain,
            trust_domain: self.trust_domain,
            condor: self.condor.clone(),
            names: format!("127.0.0.1 localhost\n{}{others}", self.names(net)),
            signing_key: key.to_vec(),
        }
    }

    /// Lines for /etc/hosts: what its hosts are to each other.
    fn names(&self, net: u8) -> String {
        let line = |(name, _): &Named| {
            let number = number(name);
            format!("10.88.{net}.{number} {name}.{} {name}\n", self.domain)
        };
        self.hosts.iter().map(line).collect()
    }
}

/// The last octet of a host.
fn number(name: &str) -> u8 {
    match name.strip_prefix("ap").map(str::parse::<u8>) {
        Some(Ok(number)) => 10 + number,
        _ => 1,
    }
}

/// A host in its pool.
pub(super) struct Place {
    pub(super) net: u8,
    pub(super) number: u8,
    pub(super) name: &'static str,
    pub(super) role: Role,
    domain: &'static str,
    central: String,
    uid_domain: Option<&'static str>,
    trust_domain: Option<&'static str>,
    condor: String,
    names: String,
    signing_key: Vec<u8>,
}

impl Place {
    pub(super) fn address(&self) -> String {
        format!("10.88.{}.{}", self.net, self.number)
    }

    pub(super) fn netns(&self) -> String {
        format!("idtoken{}-{}", self.net, self.name)
    }

    pub(super) fn full_name(&self) -> String {
        format!("{}.{}", self.name, self.domain)
    }

    /// What HTCondor takes for UID_DOMAIN.
    pub(super) fn uid_domain(&self) -> String {
        self.uid_domain
            .map_or_else(|| self.full_name(), str::to_owned)
    }

    /// What HTCondor takes for TRUST_DOMAIN, since 10.0.
    pub(super) fn trust_domain(&self) -> String {
        self.trust_domain
            .map_or_else(|| self.uid_domain(), str::to_owned)
    }

    /// A line for /etc/hosts of another pool.
    pub(super) fn known_as(&self) -> String {
        format!("{} {}\n", self.address(), self.full_name())
    }

    fn htcondor(&self) -> String {
        let (central, address) = (&self.central, self.address());
        let role = match self.role {
            Role::CentralManager => "use ROLE: CentralManager\nuse ROLE: Execute\n",
            Role::Submit => "use ROLE: Submit\n",
            Role::Both => "use ROLE: CentralManager\nuse ROLE: Execute\nuse ROLE: Submit\n",
        };
        let said = |name: &str, domain: Option<&str>| match domain {
            Some(domain) => format!("{name} = {domain}\n"),
            None => String::new(),
        };
        format!(
            "CONDOR_HOST = {central}\nCOLLECTOR_HOST = {central}:9618\n\
             {role}NUM_CPUS = 2\nMEMORY = 2048\n{}{}FILESYSTEM_DOMAIN = {}\n\
             use security:recommended_v9_0\nNETWORK_INTERFACE = {address}\n\
             # A host that boots before its central manager is known five seconds later.\n\
             SCHEDD_INTERVAL = 5\nUPDATE_INTERVAL = 5\n{}",
            said("UID_DOMAIN", self.uid_domain),
            said("TRUST_DOMAIN", self.trust_domain),
            self.domain,
            self.condor,
        )
    }

    pub(super) fn write_configuration(&self, upper: &Path) {
        let keys = upper.join("etc/condor/passwords.d");
        fs::create_dir_all(upper.join("etc/condor/config.d")).unwrap();
        fs::create_dir_all(&keys).unwrap();
        fs::write(upper.join("etc/condor/config.d/10-pool"), self.htcondor()).unwrap();
        // The second is there from the start: daemons tell clients the names of their keys from a
        // list that they make once.
        for (name, bytes) in [
            ("POOL", &self.signing_key[..]),
            ("site", b"a key of the site"),
        ] {
            fs::write(keys.join(name), bytes).unwrap();
            fs::set_permissions(keys.join(name), fs::Permissions::from_mode(0o600)).unwrap();
        }
        fs::set_permissions(&keys, fs::Permissions::from_mode(0o700)).unwrap();
        fs::write(upper.join("etc/hosts"), &self.names).unwrap();
        let full_name = format!("{}\n", self.full_name());
        fs::write(upper.join("etc/hostname"), full_name).unwrap();
    }
}
