//! What an administrator writes: the configuration, service files and scripts.

use std::fs;
use std::path::PathBuf;

use super::program::artefacts;
use super::{ALICE, Lab, Who, allow};
use crate::command::must;
use crate::host::condor::ANSWERS;

impl Lab {
    /// Writes the configuration: what every test needs, and what is given.
    pub fn configure(&self, more: &str) {
        self.write_configuration(
            "trust_domain = \"pool.lab.test\"\nuid_domain = \"lab.test\"\n",
            more,
        );
    }

    /// The same without the domains: HTCondor has to be asked for them.
    pub fn configure_without_domains(&self, more: &str) {
        self.write_configuration("", more);
    }

    /// The same, with an HTCondor that knows the domains and has one file of configuration,
    /// `tmp/condor_config`.
    pub fn configure_with_htcondor(&self, more: &str) {
        let source = self.path("tmp/condor_config");
        let says = "CONDOR_VERSION=23.9.6\nTRUST_DOMAIN=pool.lab.test\nUID_DOMAIN=lab.test\n";
        fs::write(&source, says).unwrap();
        let text = format!("source={}\n{ANSWERS}", source.display());
        let tool = self.script("condor_config_val", &text);
        self.configure_without_domains(&format!("{more}condor_config_val = {tool:?}\n"));
    }

    fn write_configuration(&self, domains: &str, more: &str) {
        let text = format!(
            "{domains}state_dir = {:?}\nrun_dir = {:?}\npassword_directory = {:?}\n\
             min_uid = 1\nservices = [\"test\"]\n{more}",
            self.path("state"),
            self.path("run"),
            self.path("keys"),
        );
        fs::write(self.path("etc/config.toml"), text).unwrap();
        allow(&self.path("etc/config.toml"), 0o644);
        if self.who == Who::Alice {
            self.give("etc/config.toml", ALICE);
        }
    }

    /// The module as it is named in a service file, with its configuration.
    pub fn module(&self, arguments: &str) -> String {
        let module = artefacts().join("libpam_idtoken.so");
        let config = self.path("etc/config.toml");
        format!(
            "{} config={} {arguments}",
            module.display(),
            config.display()
        )
    }

    /// Makes the service `test` of the module alone, with these arguments.
    pub fn line(&self, arguments: &str) {
        let module = self.module(arguments);
        let text: String = ["auth", "account", "password", "session"]
            .iter()
            .map(|kind| format!("{kind} required {module}\n"))
            .collect();
        self.service("test", &text);
    }

    /// Makes the service `test` of the module between two marks: see [`crate::faults`].
    pub fn line_between_marks(&self) {
        let (module, marks) = (
            self.module(""),
            crate::programs_dir().join("examples/libmarks.so"),
        );
        let marks = marks.canonicalize().unwrap();
        let marks = marks.display();
        let text = format!(
            "auth required {module}\nsession required {marks} begin\n\
             session required {module}\nsession required {marks} end\n"
        );
        self.service("test", &text);
    }

    /// Writes a service file.
    pub fn service(&self, name: &str, text: &str) {
        fs::write(self.path("pam.d").join(name), text).unwrap();
        allow(&self.path("pam.d").join(name), 0o644);
    }

    /// Makes a program of a shell script, or another one of it.
    pub fn script(&self, name: &str, text: &str) -> PathBuf {
        let (text, bin) = (format!("#!/bin/sh\n{text}\n"), self.path("bin"));
        let (new, program) = (self.path("etc/script"), bin.join(name));
        fs::create_dir_all(&bin).unwrap();
        fs::write(&new, text).unwrap();
        // By another process: while a child of this one has it open for writing, which it got
        // from another test's thread, nobody can run it.
        let paths = [&new, &program].map(|path| path.to_str().unwrap());
        must("install", &["-m", "755", paths[0], paths[1]]);
        program
    }
}
