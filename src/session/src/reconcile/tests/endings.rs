//! Sessions that end.

use super::*;

use std::os::unix::process::CommandExt;
use std::process::{Child, Command};

#[test]
fn a_session_whose_process_was_killed_ends() {
    let mut lab = Lab::new();
    let live = opened(&lab);
    let dead = killed(&mut lab);
    assert_eq!(done(&lab), [What::Ended]);
    assert_eq!(lab.tokens(), [live.record().file().to_string()]);
    assert_eq!(lab.records(), [live.record().name().to_string()]);
    assert_eq!(lines(&lab, &dead.record().jtis()), 2);
    assert_eq!(lines(&lab, "ended without a close"), 1);
}

#[test]
fn a_session_of_another_boot_ends_with_what_was_never_finished() {
    let mut lab = Lab::new();
    lab.host.holder.boot = "another-boot".into();
    let dead = opened(&lab);
    lab.host = Host::current().unwrap();
    // The login was killed while it wrote the token, and a renewal beside the record.
    let half = dead.record().token_path();
    let half = half.with_file_name(format!(".{}", dead.record().file()));
    fs::write(half, "x").unwrap();
    let dir = lab.config.state_dir.join("sessions");
    let dir = dir.join(lab.host.euid.to_string());
    fs::write(dir.join(dead.record().name().unfinished()), "{").unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_record_that_was_never_finished_goes_with_its_writer_and_not_before() {
    let mut lab = Lab::new();
    let live = opened(&lab).record().name();
    let dead = killed(&mut lab).record().name();
    let dir = lab.config.state_dir.join("sessions");
    let dir = dir.join(lab.host.euid.to_string());
    for name in [&live, &dead] {
        fs::rename(dir.join(name.to_string()), dir.join(name.unfinished())).unwrap();
    }
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.records(), [live.unfinished()]);
}

#[test]
fn a_session_that_could_not_close_ends_though_its_process_lives() {
    let lab = Lab::new();
    let session = opened(&lab);
    sessions(&lab).mark_ended(&session.record().name()).unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_session_whose_token_was_never_written_closes_though_there_is_no_tokens_d() {
    let lab = Lab::new();
    let session = never_written(&lab);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Now);
    assert!(lab.records().is_empty());
}

#[test]
fn a_session_that_closes_while_reconcile_waits_for_it_stays_closed() {
    let mut lab = Lab::new();
    let session = opened(&lab);
    pass(&mut lab, 1800);
    let sessions = sessions(&lab);
    let deadline = Deadline::after(lab.config.timeout);
    let locked = sessions
        .lock(&session.record().name(), deadline)
        .unwrap()
        .unwrap();
    let (lab, session) = (&lab, &session);
    std::thread::scope(|scope| {
        let waiting = scope.spawn(move || done(lab));
        std::thread::sleep(Duration::from_millis(50));
        fs::remove_file(session.record().token_path()).unwrap();
        locked.remove().unwrap();
        assert_eq!(waiting.join().unwrap(), []);
    });
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

/// A session that lingers, its holder, and a process of it.
fn lingering(lab: &mut Lab) -> (Session, Child, Child) {
    // A holder without children: those of other tests are this process's.
    let sleep = |group| Command::new("sleep").arg("60").process_group(group).spawn();
    let own = nix::unistd::getpgrp().as_raw();
    let holder = sleep(own).unwrap();
    // After it: what is older than the holder is not of its session.
    let child = sleep(0).unwrap();
    lab.host.holder.pid = holder.id();
    let process = crate::holder::Process::read(holder.id()).unwrap();
    lab.host.holder.start = process.unwrap().start;
    stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let mut opening = lab.opening();
    opening.linger = Some(Trace::Group {
        group: child.id(),
        session: u32::MAX,
    });
    let Opened::Yes(session) = open(&lab.config, &lab.host, wanted(opening), &lab.log) else {
        panic!("it did not open")
    };
    (*session, holder, child)
}

#[test]
fn a_session_that_lingers_does_so_though_its_close_could_not_say_so() {
    let mut lab = Lab::new();
    lab.config.timeout = Duration::from_millis(300);
    let (session, mut holder, mut child) = lingering(&mut lab);
    let name = session.record().name();
    let sessions = sessions(&lab);
    let soon = Deadline::after(Duration::from_secs(5));
    let held = sessions.lock(&name, soon).unwrap().unwrap();
    assert!(session.close(&lab.host, &lab.log).is_err());
    drop(held);
    holder.kill().unwrap();
    holder.wait().unwrap();
    assert_eq!(done(&lab), []);
    assert_eq!(lab.tokens().len(), 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(done(&lab), [What::Ended]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_session_lingers_while_its_processes_live() {
    let mut lab = Lab::new();
    let (session, mut holder, mut child) = lingering(&mut lab);
    assert_eq!(session.close(&lab.host, &lab.log).unwrap(), Closed::Lingers);
    assert_eq!(lab.tokens().len(), 1);
    pass(&mut lab, 1800);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(done(&lab), []);
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(done(&lab), [What::Finished]);
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
    assert_eq!(lines(&lab, "after the last process of its session"), 1);
    holder.kill().unwrap();
    holder.wait().unwrap();
}

#[test]
fn with_a_broken_configuration_what_has_ended_ends_and_nothing_is_renewed() {
    let mut lab = Lab::new();
    let live = opened(&lab);
    killed(&mut lab);
    pass(&mut lab, 1800);
    let broken = Options {
        broken: Some("/x.toml line 3: a mistake".into()),
        ..options()
    };
    let report = reconcile(&lab.config, &lab.host, &broken, &lab.log).unwrap();
    let what: Vec<What> = report.actions.iter().map(|action| action.what).collect();
    assert_eq!(sorted(what), [What::Ended, What::Failed]);
    assert_eq!(lab.tokens(), [live.record().file().to_string()]);
    assert_eq!(lines(&lab, "no token can be renewed: /x.toml line 3"), 1);
}

#[test]
fn signs_beside_records_that_are_gone_are_removed() {
    let lab = Lab::new();
    let session = opened(&lab);
    let name = session.record().name();
    session.close(&lab.host, &lab.log).unwrap();
    sessions(&lab).mark_ended(&name).unwrap();
    assert_eq!(lab.records().len(), 1);
    assert_eq!(done(&lab), []);
    assert!(lab.records().is_empty());
}
