use super::*;
use std::os::unix::net::{UnixDatagram, UnixListener};

#[test]
fn a_line_is_words_and_fields() {
    let line = Line::new("token opened")
        .field("user", "alice")
        .field("exp", 12);
    assert_eq!(line.as_str(), "token opened user=alice exp=12");
}

#[test]
fn nobody_forges_a_line_by_a_name() {
    let line = Line::new("x").field("user", "a\nsshd[1]: Accepted\x1b[2J\u{2028}");
    assert!(
        !line.as_str().contains(['\n', '\x1b', '\u{2028}']),
        "{line:?}"
    );
    assert!(line.as_str().contains("a\\nsshd[1]:"));
    let because = Line::new("x").because("one\r\ntwo");
    assert_eq!(because.as_str(), "x: one\\r\\ntwo");
}

#[test]
fn a_value_can_not_pretend_to_be_another_field() {
    let line = Line::new("x").field("user", "a kid=POOL").field("host", "");
    assert_eq!(line.as_str(), "x user=\"a kid=POOL\" host=\"\"");
    assert_eq!(
        Line::new("x").field("u", "a\" b=\"").as_str(),
        "x u=\"a\\\" b=\\\"\""
    );
}

#[test]
fn a_line_is_one_datagram() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    let lines = [
        (Severity::Error, "<83>"),
        (Severity::Warning, "<84>"),
        (Severity::Notice, "<85>"),
        (Severity::Info, "<86>"),
        (Severity::Debug, "<87>"),
    ];
    let log = Syslog {
        program: String::from("sshd").into(),
        ..log_to(path).with_debug(true)
    };
    let pid = std::process::id();
    for (severity, priority) in lines {
        log.write(severity, "token opened user=alice");
        let mut buffer = [0; 512];
        let n = daemon.recv(&mut buffer).unwrap();
        assert_eq!(
            std::str::from_utf8(&buffer[..n]).unwrap(),
            format!("{priority}sshd[{pid}]: pam_idtoken: token opened user=alice")
        );
    }
}

#[test]
fn a_log_daemon_that_does_not_read_does_not_hold_up_a_login() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let _daemon = UnixDatagram::bind(&path).unwrap();
    let client = Datagram::connect(&path).unwrap();
    let started = std::time::Instant::now();
    let mut failed = false;
    for _ in 0..5000 {
        if client.send(&[b'x'; 64]).is_err() {
            failed = true;
            break;
        }
    }
    assert!(failed, "the socket never filled up");
    assert!(started.elapsed() < std::time::Duration::from_secs(5));
}

fn log_to(path: PathBuf) -> Syslog {
    Syslog {
        socket: path,
        ..Syslog::new("pam_idtoken", false)
    }
}

#[test]
fn many_lines_for_such_a_daemon_wait_once() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let _daemon = UnixDatagram::bind(&path).unwrap();
    let waits_once = || {
        let log = log_to(path.clone());
        let started = Instant::now();
        for _ in 0..1000 {
            log.info(&Line::new("a line"));
        }
        let waited = started.elapsed();
        assert!(waited >= PATIENCE, "the socket never filled up");
        waited < PATIENCE * 10
    };
    // Others may hold up one of three.
    assert!((0..3).any(|_| waits_once()));
}

#[test]
fn many_lines_for_a_slow_daemon_wait_no_longer_all_together() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixDatagram::bind(&path).unwrap();
    daemon
        .set_read_timeout(Some(Duration::from_secs(1)))
        .unwrap();
    let waits_no_longer = || {
        let log = log_to(path.clone());
        let started = Instant::now();
        let (waited, read) = std::thread::scope(|scope| {
            let reader = scope.spawn(|| {
                let mut read = 0;
                while daemon.recv(&mut [0; 512]).is_ok() {
                    read += 1;
                    std::thread::sleep(Duration::from_millis(5));
                }
                read
            });
            for _ in 0..1000 {
                log.info(&Line::new("a line"));
            }
            (started.elapsed(), reader.join().unwrap())
        });
        assert!(read < 1000, "the daemon was not slow");
        waited < PATIENCE * 10
    };
    // Others may hold up one of three.
    assert!((0..3).any(|_| waits_no_longer()));
}

#[test]
fn a_stream_log_socket_gone_away_raises_no_signal() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("log");
    let daemon = UnixListener::bind(&path).unwrap();
    let client = Datagram::connect(&path).unwrap();
    assert!(client.stream);
    drop(daemon);
    for _ in 0..3 {
        let _ = client.send(b"x");
    }
}
