//! A session whose commands are run once in each second.

use std::process::{Child, Stdio};
use std::sync::Mutex;

use pam_idtoken_tests::pool::{DOMAIN, Pool};

/// Runs the user's commands for so many seconds, once in each, and counts.
pub(super) fn sampling(seconds: u64) -> String {
    format!(
        "end=$((SECONDS + {seconds})) good=0 out=$(mktemp)
         while [ $SECONDS -lt $end ]; do
             if [ -e enough ]; then echo asked to stop; break; fi
             second=$SECONDS
             if condor_q -global >$out 2>&1 && ! grep -qiE 'fail|error' $out &&
                condor_ping -type schedd -name ap2.{DOMAIN} WRITE >$out 2>&1 && grep -q succeeded $out
             then good=$((good + 1)); else echo \"FAILED in second $second: $(cat $out)\"; fi
             while [ $SECONDS -eq $second ]; do sleep 0.05; done
         done
         rm $out; echo \"good $good\""
    )
}

/// How many samples were good, if none was bad.
#[track_caller]
pub(super) fn good(said: &str) -> u64 {
    assert!(!said.contains("FAILED"), "{said}");
    let line = said.lines().find_map(|line| line.strip_prefix("good "));
    line.unwrap_or_else(|| panic!("{said}")).parse().unwrap()
}

/// The session of five minutes, on ap1.
pub(super) struct Sampler {
    child: Child,
    output: tempfile::TempDir,
}

static SAMPLER: Mutex<Option<Sampler>> = Mutex::new(None);

static SAMPLED: Mutex<Option<String>> = Mutex::new(None);

impl Sampler {
    pub(super) fn start(pool: &Pool) {
        let mut sampler = SAMPLER.lock().unwrap();
        if sampler.is_some() || SAMPLED.lock().unwrap().is_some() {
            return;
        }
        let output = tempfile::tempdir().unwrap();
        let file = std::fs::File::create(output.path().join("said")).unwrap();
        let mut command = pool.ssh("alice", "ap1").command(400);
        let child = command
            .arg(sampling(300))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        *sampler = Some(Sampler { child, output });
    }

    /// Waits for its end; what it said.
    pub(super) fn finish() -> Option<String> {
        let mut said = SAMPLED.lock().unwrap();
        if let Some(mut sampler) = SAMPLER.lock().unwrap().take() {
            sampler.child.wait().unwrap();
            let text = std::fs::read_to_string(sampler.output.path().join("said")).unwrap();
            *said = Some(text);
        }
        said.clone()
    }
}
