//! The private helper. Each test is a process of its own: a helper belongs to a whole process.

mod failures;

use std::env;
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{self, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use sockproc_core::connection::Protocol;
use sockproc_core::{blocking, client, embedded};

use crate::support::{poll_until, runtime};

#[test]
fn nothing_has_to_be_started() {
    alone("nothing_has_to_be_started", || {
        let output = blocking::Command::shell("cat; exit 3")
            .stdin("hello")
            .output()
            .unwrap();
        assert_eq!(
            (output.stdout, output.status.code()),
            (b"hello".to_vec(), Some(3))
        );
        assert!(blocking::Command::new("true").status().unwrap().success());
        let mut cat = blocking::Command::new("cat");
        let cat = cat.stdin(sockproc_core::Stdio::null()).spawn().unwrap();
        assert!(cat.wait_with_output().unwrap().status.success());
        let classic = blocking::Client::embedded().protocol(Protocol::Classic);
        assert_eq!(classic.run("echo hi", "").unwrap().stdout, b"hi\n");
        runtime().block_on(async {
            let output = client::Command::new("echo")
                .arg("hi")
                .output()
                .await
                .unwrap();
            assert_eq!(output.stdout, b"hi\n");
            let client = client::Client::from_env().unwrap();
            assert_eq!(client.run("cat", "hi").await.unwrap().stdout, b"hi");
        });
    });
}

#[test]
fn threads_that_call_first_at_once_start_one_helper() {
    alone("threads_that_call_first_at_once_start_one_helper", || {
        let threads: Vec<_> = (0..16).map(|_| thread::spawn(helper)).collect();
        let helpers: Vec<_> = threads.into_iter().map(|one| one.join().unwrap()).collect();
        assert!(
            helpers.iter().all(|helper| *helper == helpers[0]),
            "{helpers:?}"
        );
    });
}

#[test]
fn a_run_is_where_its_caller_is() {
    alone("a_run_is_where_its_caller_is", || {
        let before = helper();
        let dir = tempfile::tempdir().unwrap();
        env::set_current_dir(dir.path()).unwrap();
        let here = fs::canonicalize(dir.path()).unwrap();
        let pwd = |directory: Option<&str>| {
            let mut pwd = blocking::Command::new("/bin/pwd");
            if let Some(directory) = directory {
                pwd.current_dir(directory);
            }
            String::from_utf8(pwd.output().unwrap().stdout).unwrap()
        };
        assert_eq!(pwd(None).trim_end(), here.to_str().unwrap());
        fs::create_dir("below").unwrap();
        assert_eq!(
            pwd(Some("below")).trim_end(),
            here.join("below").to_str().unwrap()
        );
        assert_eq!(helper(), before);
        // What the classic protocol cannot say takes another helper.
        let classic = blocking::Client::embedded().protocol(Protocol::Classic);
        let said = classic.run("/bin/pwd", "").unwrap().stdout;
        assert_eq!(
            String::from_utf8(said).unwrap().trim_end(),
            here.to_str().unwrap()
        );
        assert_ne!(helper(), before);
        poll_until(|| !lives(before));
        // The kernel still leads to a directory that was removed.
        dir.close().unwrap();
        assert!(blocking::Command::new("true").status().unwrap().success());
    });
}

#[test]
fn a_dropped_privilege_does_not_come_back() {
    use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};
    use std::os::unix::fs::PermissionsExt;

    if !Uid::effective().is_root() {
        return; // There is nothing to drop.
    }
    alone("a_dropped_privilege_does_not_come_back", || {
        // Where anyone can execute it.
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        let binary = dir.path().join("sockproc");
        fs::copy(env!("CARGO_BIN_EXE_sockproc"), &binary).unwrap();
        env::set_current_dir("/").unwrap();
        embedded::set_program([&binary]);
        let id = |option: &str| {
            let output = blocking::Command::new("id").arg(option).output().unwrap();
            String::from_utf8(output.stdout).unwrap()
        };
        let first = helper();
        assert_eq!(id("-u"), "0\n");
        setgroups(&[Gid::from_raw(4242)]).unwrap();
        assert_eq!(id("-G"), "0 4242\n");
        let second = helper();
        setgid(Gid::from_raw(65534)).unwrap();
        setuid(Uid::from_raw(65534)).unwrap();
        assert_eq!((id("-u"), id("-g")), ("65534\n".into(), "65534\n".into()));
        let third = helper();
        assert!(first != second && second != third);
        poll_until(|| !lives(first) && !lives(second));
    });
}

#[test]
fn no_signal_ends_a_helper_and_no_command_ignores_any() {
    alone("no_signal_ends_a_helper_and_no_command_ignores_any", || {
        let first = helper();
        let kill = (1..=64).filter(|signal| ![9, 19, 32, 33].contains(signal));
        let kill: Vec<_> = kill.map(|signal| format!("kill -{signal} $PPID")).collect();
        let output = blocking::Command::shell(kill.join("\n")).output().unwrap();
        assert_eq!(output.stderr, b"");
        assert_eq!(helper(), first);
        let mut grep = blocking::Command::new("grep");
        let output = grep
            .args(["^Sig[BI]", "/proc/self/status"])
            .output()
            .unwrap();
        let none = "SigBlk:\t0000000000000000\nSigIgn:\t0000000000000000\n";
        assert_eq!(String::from_utf8(output.stdout).unwrap(), none);
    });
}

#[test]
fn a_helper_has_no_descriptor_of_its_owner() {
    alone("a_helper_has_no_descriptor_of_its_owner", || {
        let file = fs::File::open("/etc/passwd").unwrap();
        let inherited = rustix::io::fcntl_dupfd_cloexec(&file, 100).unwrap();
        rustix::io::fcntl_setfd(&inherited, rustix::io::FdFlags::empty()).unwrap();
        let helper = helper();
        // Now and then it looks into /proc.
        poll_until(|| has_own_only(helper));
        drop(inherited);
    });
}

fn has_own_only(pid: i32) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    entries.flatten().all(|entry| {
        let Ok(target) = fs::read_link(entry.path()) else {
            return true; // It has just been closed.
        };
        let target = target.to_string_lossy().into_owned();
        let number: i32 = entry.file_name().to_str().unwrap().parse().unwrap();
        let own = ["/dev/null", "socket:", "pipe:", "anon_inode:"];
        match number < 3 {
            true => target == "/dev/null",
            false => own.iter().any(|own| target.starts_with(own)),
        }
    })
}

#[test]
fn all_trees_and_the_helper_end_with_their_owner() {
    for signal in [Signal::KILL, Signal::TERM, Signal::ABORT] {
        let name = "all_trees_and_the_helper_end_with_their_owner";
        if is_alone(name) {
            own();
        }
        let mut owner = myself(name).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(owner.stdout.take().unwrap()).lines();
        let pids = lines.by_ref().map(Result::unwrap).find_map(|line| {
            let pids = line.split_once("pids: ")?.1;
            Some(
                pids.split_whitespace()
                    .map(|pid| pid.parse().unwrap())
                    .collect::<Vec<i32>>(),
            )
        });
        let pids = pids.unwrap();
        assert!(pids.iter().all(|pid| lives(*pid)), "{pids:?}");
        kill_process(Pid::from_child(&owner), signal).unwrap();
        owner.wait().unwrap();
        let begin = std::time::Instant::now();
        poll_until(|| !pids.iter().any(|pid| lives(*pid)));
        // The grace is 200 ms.
        assert!(
            begin.elapsed() < Duration::from_millis(1200),
            "{:?}",
            begin.elapsed()
        );
    }
}

/// The owner of a tree that does not end on SIGTERM, and that is to outlive its client.
fn own() -> ! {
    use sockproc_core::proto::OnDisconnect;
    embedded::set_program([env!("CARGO_BIN_EXE_sockproc")]);
    let tree = "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000 & wait' & echo $$ $PPID; wait";
    let mut command = blocking::Command::shell(tree);
    command
        .grace(Duration::from_millis(200))
        .on_disconnect(OnDisconnect::Finish);
    command
        .stdin(sockproc_core::Stdio::null())
        .stdout(sockproc_core::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let pids: Vec<_> = lines.by_ref().take(2).map(Result::unwrap).collect();
    println!("pids: {}", pids.join(" "));
    loop {
        thread::park();
    }
}

/// The process id of the helper.
fn helper() -> i32 {
    pid_of(&blocking::Command::shell("echo $PPID").output().unwrap())
}

fn pid_of(output: &sockproc_core::Output) -> i32 {
    String::from_utf8_lossy(&output.stdout)
        .trim()
        .parse()
        .unwrap()
}

fn lives(pid: i32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    status
        .rsplit_once(')')
        .is_some_and(|(_, rest)| !rest.starts_with(" Z"))
}

/// Has the test of this name be a process of its own, in which it does `body`.
fn alone(name: &str, body: impl FnOnce()) {
    if is_alone(name) {
        embedded::set_program([env!("CARGO_BIN_EXE_sockproc")]);
        return body();
    }
    let output = myself(name).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{said}{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

fn is_alone(name: &str) -> bool {
    env::var("SOCKPROC_TEST_ALONE").is_ok_and(|alone| alone == name)
}

fn myself(name: &str) -> process::Command {
    let mut command = process::Command::new(env::current_exe().unwrap());
    command.args(["--exact", &format!("embedded::{name}"), "--nocapture"]);
    command
        .env("SOCKPROC_TEST_ALONE", name)
        .env_remove("SOCKPROC_SOCKET")
        .env_remove("SOCKPROC_BIN");
    command
}
