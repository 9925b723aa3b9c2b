//! The Debian package: what `make deb` has built, and apt on a host.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Host, path};
use crate::command::{Answer, must};

/// The name of the package.
pub const NAME: &str = "pam-idtoken";
/// The version of [`Package::before`].
const BEFORE: &str = "0.0.9-1";

/// A built package.
#[derive(Debug)]
pub struct Package(PathBuf);

impl Package {
    /// The one of this version in `target/packages`, or in `IDTOKEN_PACKAGES`.
    pub fn find() -> Self {
        let version = concat!(env!("CARGO_PKG_VERSION"), "-1");
        let package = Self(crate::packages_dir().join(file_name(version)));
        let deb = &package.0;
        assert!(
            deb.exists(),
            "{} is not there: run make deb first",
            deb.display()
        );
        package
    }

    /// The same in an older version, packed anew in this directory.
    pub fn before(&self, dir: &Path) -> Self {
        let (tree, deb) = (dir.join("before"), dir.join(file_name(BEFORE)));
        must("dpkg-deb", &["-R", path(&self.0), path(&tree)]);
        let control = tree.join("DEBIAN/control");
        let text = fs::read_to_string(&control).unwrap();
        let (start, rest) = text.split_once("Version: ").unwrap();
        let (_, end) = rest.split_once('\n').unwrap();
        fs::write(control, format!("{start}Version: {BEFORE}\n{end}")).unwrap();
        must("dpkg-deb", &["-Znone", "-b", path(&tree), path(&deb)]);
        Self(deb)
    }
}

/// As dpkg-deb(1) names them.
fn file_name(version: &str) -> String {
    let architecture = must("dpkg", &["--print-architecture"]).stdout;
    format!("{NAME}_{version}_{}.deb", architecture.trim())
}

impl Host {
    /// What an administrator types: `apt install ./pam-idtoken_*.deb`; also to upgrade.
    pub fn apt_install(&self, package: &Package) -> Answer {
        let name = self.bring(package);
        self.apt(&format!("cd /root; apt-get install -y ./{name}"))
    }

    /// The same where systemd does not run, as when an image is built.
    pub fn apt_install_into_image(&self, package: &Package) -> Answer {
        let name = self.bring(package);
        self.apt(&format!(
            "unshare --mount sh -ec 'mount -t tmpfs tmpfs /run/systemd
             cd /root; apt-get install -y ./{name}'"
        ))
    }

    /// Puts the package into /root; its name there.
    fn bring(&self, package: &Package) -> String {
        let name = package.0.file_name().unwrap().to_str().unwrap();
        let bytes = fs::read(&package.0).unwrap();
        self.write(&format!("/root/{name}"), bytes, 0o644);
        name.to_owned()
    }

    /// `apt remove pam-idtoken` or `apt purge pam-idtoken`.
    pub fn apt_remove(&self, how: &str) -> Answer {
        self.apt(&format!("apt-get {how} -y {NAME}"))
    }

    fn apt(&self, script: &str) -> Answer {
        let script = format!("export DEBIAN_FRONTEND=noninteractive; {script}");
        // On a disk that others write to as well.
        self.run_for(300, &["sh", "-ec", &script])
    }
}
