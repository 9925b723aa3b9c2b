//! What a reconcile began and did not finish, and what changed since it listed the sessions.

use super::stores::{TWO, done, opened_two, record, two, with_schedd};
use super::*;

use crate::reconcile::What;
use crate::testing::names;

const ONE: &str = "scope = [\"READ\"]\n";

fn sessions(lab: &Lab) -> Sessions {
    Sessions::of(&lab.config.state_dir, lab.host.euid, lab.host.euid).unwrap()
}

fn late(lab: &Lab) -> usize {
    let lines = lab.log.lines();
    let late = |line: &&String| line.contains("token opened late");
    lines.iter().filter(late).count()
}

#[test]
fn a_token_is_not_taken_away_for_want_of_its_table_before_that_is_noted() {
    let mut lab = two();
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = opened_two(&lab);
    let name = session.record().name();
    // No record can be written.
    let uid = lab.host.euid.to_string();
    let in_the_way = lab.path("state/sessions").join(uid).join(name.unfinished());
    fs::create_dir(&in_the_way).unwrap();
    lab.configure(ONE);
    assert_eq!(done(&lab), [What::Failed]);
    assert_eq!(lab.tokens().len(), 2);
    fs::remove_dir(&in_the_way).unwrap();
    assert_eq!(done(&lab), [What::Tidied]);
    assert_eq!(lab.tokens().len(), 1);
    lab.configure(TWO);
    assert_eq!(done(&lab), [What::Renewed]);
    assert_eq!(lab.tokens().len(), 2);
}

#[test]
fn a_token_that_a_killed_reconcile_took_away_for_want_of_its_table_is_not_its_users_doing() {
    for is_back_at_once in [false, true] {
        let mut lab = two();
        crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
        let session = opened_two(&lab);
        let mut begun = record(&lab, &session);
        begun.files[0].dropping = true;
        let sessions = sessions(&lab);
        let at_once = Deadline::after(Duration::ZERO);
        let mut locked = sessions.lock(&begun.name(), at_once).unwrap().unwrap();
        locked.replace(&begun).unwrap();
        drop(locked);
        fs::remove_file(&session.record().paths()[0]).unwrap();
        if !is_back_at_once {
            lab.configure(ONE);
            assert_eq!(done(&lab), [What::Tidied]);
            lab.configure(TWO);
        }
        assert_eq!(done(&lab), [What::Renewed]);
        assert_eq!(lab.tokens().len(), 2);
        let now = record(&lab, &session);
        let file = &now.files[0];
        assert!(!file.dropping && !file.dropped && !file.removed);
        session.close(&lab.host, &lab.log).unwrap();
        assert!(lab.tokens().is_empty() && lab.records().is_empty());
    }
}

#[test]
fn a_token_that_was_written_late_is_not_written_again_when_a_schedds_turn_comes() {
    let mut lab = Lab::in_memory();
    let (session, _) = with_schedd(&mut lab);
    fs::remove_dir_all(lab.path("home/.condor")).unwrap();
    sessions(&lab)
        .mark_pending(&session.record().name())
        .unwrap();
    done(&lab);
    assert_eq!((late(&lab), lab.tokens().len()), (1, 2));
    let now = record(&lab, &session);
    assert!(now.files.iter().all(TokenFile::is_there));
    session.close(&lab.host, &lab.log).unwrap();
    assert!(lab.tokens().is_empty() && lab.records().is_empty());
}

#[test]
fn a_store_that_is_lost_while_a_table_is_away_is_not_its_users_doing() {
    let mut lab = two();
    let with =
        |lab: &mut Lab, tables: &str| lab.configure(&format!("store = \"private\"\n{tables}"));
    with(&mut lab, TWO);
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = opened_two(&lab);
    fs::remove_dir_all(&lab.config.run_dir).unwrap();
    with(&mut lab, ONE);
    done(&lab);
    with(&mut lab, TWO);
    assert!(done(&lab).contains(&What::Renewed));
    let now = record(&lab, &session);
    assert!(!now.files.iter().any(|file| file.removed || file.dropped));
    assert_eq!(names(&now.directory()).len(), 2);
}

#[test]
fn a_token_of_a_home_that_is_away_is_still_its_users_to_remove() {
    let mut lab = two();
    crate::stamp::promise(&lab.config.run_dir, lab.host.now()).unwrap();
    let session = opened_two(&lab);
    fs::remove_file(&session.record().paths()[0]).unwrap();
    fs::rename(lab.path("home"), lab.path("away")).unwrap();
    fs::create_dir(lab.path("home")).unwrap();
    lab.configure(ONE);
    assert_eq!(done(&lab), [What::Waiting]);
    fs::remove_dir(lab.path("home")).unwrap();
    fs::rename(lab.path("away"), lab.path("home")).unwrap();
    assert_eq!(done(&lab), [What::Tidied]);
    lab.configure(TWO);
    assert_eq!(done(&lab), []);
    assert_eq!(lab.tokens().len(), 1);
}
