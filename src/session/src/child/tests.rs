mod host;
mod left;

use super::*;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, SigmaskHow, sigaction};

/// Puts a script in its place in one step.
///
/// The file is written by another process: one that is open for writing, in a copy of this
/// process that another test makes, can not be executed.
pub(crate) fn install(script: &str, mode: &str, path: &Path) {
    let [text, new] = ["text", "new"].map(|name| path.with_extension(name));
    std::fs::write(&text, script).unwrap();
    let mut install = std::process::Command::new("install");
    let ran = install.args(["-m", mode]).args([&text, &new]).status();
    assert!(ran.unwrap().success());
    std::fs::rename(new, path).unwrap();
}

fn soon() -> Deadline {
    Deadline::after(Duration::from_secs(20))
}

fn shell(script: &str) -> Program<'static> {
    Program {
        path: Path::new("/bin/sh"),
        args: vec!["-c".into(), script.into()],
        env: vec![("PATH", "/usr/bin:/bin".into())],
        user: None,
        limit: 64 * 1024,
    }
}

fn text(program: &Program<'_>) -> String {
    let said = run(program, soon()).unwrap();
    assert!(said.status.success(), "{said:?}");
    String::from_utf8(said.stdout.to_vec()).unwrap()
}

fn output(script: &str) -> String {
    text(&shell(script))
}

/// Whether a process with this word in its command line goes on running; one that was killed
/// takes a moment to end.
fn is_running(word: &str) -> bool {
    (0..200).all(|_| {
        let found = is_seen(word);
        std::thread::sleep(Duration::from_millis(if found { 10 } else { 0 }));
        found
    })
}

fn is_seen(word: &str) -> bool {
    seen(word).next().is_some()
}

/// The processes with this word in their command lines.
fn seen(word: &str) -> impl Iterator<Item = i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    let found = processes.filter(move |entry| {
        let line = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
        String::from_utf8_lossy(&line).contains(word)
    });
    found.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn is_root() -> bool {
    geteuid().is_root()
}

/// A number for sleep(1) that no other test sleeps for.
fn long(number: u32) -> String {
    format!("{number}.{}", std::process::id())
}

#[test]
fn a_program_is_given_its_arguments_and_nothing_of_the_host() {
    let mut program = shell("echo \"$0 $1\"; pwd; umask; cat; env | sort");
    program.args.extend(["a b".into(), "c".into()]);
    program.env.push(("HOME", "/h o".into()));
    let said = text(&program);
    let (first, env) = said.split_at(said.find("HOME=").unwrap());
    assert_eq!(first, "a b c\n/\n0077\n");
    let ours = |line: &&str| !["PWD=/", "_=/usr/bin/env", "SHLVL=0", "SHLVL=1"].contains(line);
    let env: Vec<_> = env.lines().filter(ours).collect();
    assert_eq!(env, ["HOME=/h o", "PATH=/usr/bin:/bin"]);
}

#[test]
fn a_program_has_three_descriptors() {
    // One that would survive an exec.
    let open = File::open("/").unwrap();
    fcntl(
        &open,
        nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::empty()),
    )
    .unwrap();
    // The directory that is listed is gone when its link is read.
    let listed = output("for f in /proc/self/fd/*; do echo ${f##*/}:$(readlink $f); done");
    let listed: Vec<_> = listed.lines().filter(|l| !l.ends_with(':')).collect();
    assert_eq!(listed.len(), 3, "{listed:?}");
    assert_eq!(listed[0], "0:/dev/null");
    assert!(listed[1].starts_with("1:pipe:") && listed[2].starts_with("2:pipe:"));
}

#[test]
fn a_program_has_no_terminal_and_a_session_of_its_own() {
    assert_eq!(
        output("(: </dev/tty) 2>/dev/null && echo yes || echo no"),
        "no\n"
    );
    let ours = nix::unistd::getsid(None).unwrap().to_string();
    let theirs = output("read -r stat </proc/self/stat; set -- ${stat##*) }; echo $4");
    assert_ne!(theirs.trim(), ours);
}

#[test]
fn signals_are_at_their_defaults_whatever_the_host_blocks_and_ignores() {
    let before = handle(Signal::SIGUSR2, SigHandler::SigIgn);
    let status = std::thread::spawn(|| {
        SigSet::all()
            .thread_swap_mask(SigmaskHow::SIG_SETMASK)
            .unwrap();
        // A shell would empty the mask by itself.
        let mut program = shell("");
        (program.path, program.args) = (Path::new("/bin/cat"), vec!["/proc/self/status".into()]);
        let said = text(&program);
        assert_eq!(SigSet::thread_get_mask().unwrap(), {
            let mut all = SigSet::all();
            all.remove(Signal::SIGKILL);
            all.remove(Signal::SIGSTOP);
            all
        });
        said
    })
    .join()
    .unwrap();
    handle(Signal::SIGUSR2, before.handler());
    for field in ["SigBlk", "SigIgn", "SigCgt"] {
        assert!(
            status.contains(&format!("{field}:\t0000000000000000")),
            "{status}"
        );
    }
}

#[test]
fn how_it_ended_is_told() {
    assert_eq!(
        run(&shell("exit 3"), soon()).unwrap().status.code(),
        Some(3)
    );
    let killed = run(&shell("kill -TERM $$"), soon()).unwrap();
    assert_eq!(killed.status.signal(), Some(15));
}

#[test]
fn everything_is_read_however_much_it_is() {
    let mut program = shell("head -c 300000 /dev/zero; echo end >&2");
    program.limit = 300_000;
    let said = run(&program, soon()).unwrap();
    assert_eq!(
        (said.stdout.len(), said.stderr.as_str()),
        (300_000, "end\n")
    );
}

#[test]
fn who_prints_without_end_is_stopped_at_the_limit() {
    let mut program = shell("exec yes limit-of-stdout");
    program.limit = 200_000;
    let error = run(&program, soon()).unwrap_err();
    assert!(
        matches!(error, ChildError::Limit { limit: 200_000, .. }),
        "{error}"
    );
    assert!(!is_running("limit-of-stdout"));
}

#[test]
fn who_complains_without_end_is_stopped_at_the_deadline() {
    let deadline = Deadline::after(Duration::from_millis(300));
    let error = run(&shell("exec yes >&2"), deadline).unwrap_err();
    assert!(matches!(error, ChildError::Deadline { .. }), "{error}");
}

#[test]
fn who_hangs_is_killed_at_the_deadline() {
    let time = long(3001);
    let started = Instant::now();
    let deadline = Deadline::after(Duration::from_millis(200));
    let script = format!("trap '' TERM INT HUP; sleep {time}; :");
    let error = run(&shell(&script), deadline).unwrap_err();
    assert!(matches!(error, ChildError::Deadline { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("/bin/sh") && text.contains(" ms "), "{text}");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!is_running(&time));
}

#[test]
fn nothing_is_started_when_the_time_is_over() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(": >{}/x", dir.path().display());
    let error = run(&shell(&script), Deadline::after(Duration::ZERO)).unwrap_err();
    assert!(matches!(error, ChildError::Deadline { .. }), "{error}");
    std::thread::sleep(Duration::from_millis(100));
    assert!(!dir.path().join("x").exists());
}

#[test]
fn who_is_left_behind_with_the_streams_is_not_waited_for_and_does_not_stay() {
    let time = long(3002);
    let started = Instant::now();
    assert_eq!(output(&format!("sleep {time} & echo hi")), "hi\n");
    assert!(started.elapsed() < Duration::from_secs(5));
    assert!(!is_running(&time));
}

#[test]
fn stderr_is_cut_and_tells_no_token() {
    let token = format!("eyJhbGciOiJIUzI1NiJ9.{}.c2ln", "a".repeat(80));
    let said = run(&shell(&format!("echo 'bad {token}' >&2")), soon()).unwrap();
    assert_eq!(said.stderr, "bad [token]\n");
    let said = run(&shell("head -c 100000 /dev/zero >&2"), soon()).unwrap();
    assert_eq!(said.stderr.len(), STDERR_LIMIT);
}

#[test]
fn what_is_not_there_is_told_from_what_can_not_be_started() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, mode| {
        let path = dir.path().join(name);
        install("#!/no/such/interpreter\n", mode, &path);
        path
    };
    let error = |path: PathBuf| {
        let mut program = shell("");
        program.path = &path;
        run(&program, soon()).unwrap_err()
    };
    for path in [PathBuf::from("/no/such/program"), dir.path().join("x")] {
        assert!(matches!(error(path), ChildError::Missing { .. }));
    }
    let not_executable = error(file("a", "644")).to_string();
    assert!(
        not_executable.contains("exec: Permission denied"),
        "{not_executable}"
    );
    let no_interpreter = error(file("b", "755")).to_string();
    assert!(
        no_interpreter.contains("exec: No such file"),
        "{no_interpreter}"
    );
    let relative = error("bin/sh".into()).to_string();
    assert!(relative.contains("does not start with /"), "{relative}");
}

fn handle(signal: Signal, handler: SigHandler) -> SigAction {
    let action = SigAction::new(handler, SaFlags::SA_RESTART, SigSet::empty());
    // SAFETY: the handlers of these tests ignore a signal or add to an atomic number.
    #[allow(unsafe_code)]
    unsafe { sigaction(signal, &action) }.unwrap()
}

#[test]
fn as_root_a_program_becomes_the_user() {
    let user = |uid, groups: Vec<u32>| User {
        name: "u".into(),
        uid,
        gid: 4322,
        groups,
        home: PathBuf::from("/h"),
    };
    if !is_root() {
        let other = user(geteuid().as_raw() + 4321, vec![4322]);
        let mut program = shell(":");
        program.user = Some(&other);
        let error = run(&program, soon()).unwrap_err().to_string();
        assert!(
            error.contains("setgroups: Operation not permitted"),
            "{error}"
        );
        return;
    }
    let alice = user(4321, vec![4323, 4322]);
    let mut program =
        shell("grep -E '^(Uid|Gid|Groups|CapEff|CapPrm|NoNewPrivs)' /proc/self/status");
    program.user = Some(&alice);
    let wanted = "Uid:\t4321\t4321\t4321\t4321\nGid:\t4322\t4322\t4322\t4322\n\
                  Groups:\t4322 4323 \nCapPrm:\t0000000000000000\nCapEff:\t0000000000000000\nNoNewPrivs:\t1\n";
    assert_eq!(text(&program), wanted);
    let alone = user(4321, vec![]);
    program.user = Some(&alone);
    assert!(text(&program).contains("Groups:\t \n"));
}

#[test]
fn several_threads_run_programs_at_once() {
    std::thread::scope(|scope| {
        for thread in 0..6 {
            scope.spawn(move || {
                for turn in 0..5 {
                    let said = output(&format!("echo {thread} {turn}"));
                    assert_eq!(said, format!("{thread} {turn}\n"));
                }
            });
        }
    });
}
