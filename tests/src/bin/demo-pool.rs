//! `make demo-pool`: the story of the user guide on a real pool, over real ssh.

use std::process::ExitCode;

use pam_idtoken_tests::command::Answer;
use pam_idtoken_tests::pool::{Build, Pool};

fn main() -> ExitCode {
    println!("Booting a pool: a central manager and two access points, HTCondor from Debian.");
    let pool = Pool::boot();
    let story = Story { pool: &pool };
    if story.tell() {
        println!("\nNobody typed condor_token_fetch, and nothing is left.");
        ExitCode::SUCCESS
    } else {
        println!("\nThat is not how the story goes.");
        ExitCode::FAILURE
    }
}

struct Story<'a> {
    pool: &'a Pool,
}

impl Story<'_> {
    fn tell(&self) -> bool {
        println!("\n1. Without the module, alice can not ask the other access point:");
        let before = self.types("condor_q -global");
        self.pool.install(&Build::find());
        self.pool.install_units("ap1");
        println!(
            "\n2. The administrator installs the module, adds one line to /etc/pam.d/sshd and \
             enables the units:"
        );
        let line = self.root("grep pam_idtoken /etc/pam.d/sshd | tail -1");
        let timer = self.root("systemctl is-active pam_idtoken-reconcile.timer");
        let check = self.root("idtokenctl check --user alice");
        println!("\n3. alice logs in again:");
        let listed = self.types("ls -l ~/.condor/tokens.d");
        let after = self.types("condor_q -global");
        let status = self.types("condor_status -schedd");
        println!("\n4. She has logged out:");
        self.pool.wait_for_tokens("alice", 0);
        let gone = self.root("ls -l /home/alice/.condor/tokens.d");
        let log = self.root("journalctl -q --no-pager -o cat SYSLOG_FACILITY=10 | grep token");
        !before.ok
            && line.ok
            && timer.ok
            && check.ok
            && listed.stdout.contains("0-session-")
            && after.ok
            && status.ok
            && !gone.stdout.contains("0-session-")
            && log.ok
    }

    fn types(&self, command: &str) -> Answer {
        println!("\n[alice@ap1 ~]$ {command}");
        let answer = self.pool.ssh("alice", "ap1").run(command);
        print!("{}", answer.all());
        answer
    }

    fn root(&self, command: &str) -> Answer {
        println!("\n[root@ap1 ~]# {command}");
        let answer = self.pool.host("ap1").run(&["sh", "-c", command]);
        print!("{}", answer.all());
        answer
    }
}
