//! A server that was handed a cgroup: what no other means reaches is ended too.

use std::fs;
use std::path::{Path, PathBuf};

use rustix::process::Signal;

use crate::support::{Setup, TestServer, Transport, finish, marked, poll_until, request};

/// A daemon in earnest: a session of its own, no parent, and no pipe of the run.
const DAEMON: &str =
    "(setsid setsid env SOCKPROC_TEST_MARK=$MARK sleep 1000 <&- >/dev/null 2>&1 &)";

#[test]
fn what_let_go_of_its_run_by_all_means_is_ended_in_a_cgroup() {
    let Some(cgroup) = TestCgroup::new("named") else {
        return;
    };
    let server = kill_on_disconnect(["--cgroup", cgroup.text()]).start();
    daemon_is_ended(&server);
    cgroup.holds_nothing_but_the_server();
}

#[test]
fn a_cgroup_that_systemd_has_delegated_is_found() {
    let Some(cgroup) = TestCgroup::new("delegated") else {
        return;
    };
    let mark = rustix::fs::setxattr(
        &cgroup.0,
        "user.delegate",
        b"1",
        rustix::fs::XattrFlags::empty(),
    );
    mark.unwrap();
    let enter = format!("echo $$ > {}/cgroup.procs", cgroup.text());
    let server = kill_on_disconnect([]).shell(&enter).start();
    daemon_is_ended(&server);
    cgroup.holds_nothing_but_the_server();
}

#[test]
fn what_a_normal_exit_leaves_behind_lives_on_and_its_cgroup_goes_with_it() {
    let Some(cgroup) = TestCgroup::new("leftover") else {
        return;
    };
    let mut server = kill_on_disconnect(["--cgroup", cgroup.text()]).start();
    let mark = format!("leftover.{}", server.pid());
    let reply = server.run(format!("MARK={mark}; {DAEMON}; echo hi"));
    assert_eq!(reply.out(), "hi\n");
    poll_until(|| marked(&mark).len() == 1);
    let daemon = marked(&mark)[0];
    crate::support::send_signal(daemon, Signal::KILL);
    cgroup.holds_nothing_but_the_server();
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn a_directory_that_is_no_cgroup_is_refused_by_its_name() {
    let setup = kill_on_disconnect(["--cgroup", "/nonexistent"]);
    let mut command = setup.command();
    command.stderr(std::process::Stdio::piped());
    let output = finish(command);
    assert!(!output.status.success());
    let text = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        text.contains("cgroup /nonexistent cannot be used"),
        "{text}"
    );
}

fn kill_on_disconnect<const N: usize>(options: [&str; N]) -> Setup {
    let setup = Transport::Unix.setup();
    setup
        .serve(["--classic-on-disconnect", "kill", "--grace", "300"])
        .args(options)
}

fn daemon_is_ended(server: &TestServer) {
    let mark = format!("daemon.{}", server.pid());
    let client = server.send(request(format!("MARK={mark}; {DAEMON}; sleep 1000"), ""));
    poll_until(|| marked(&mark).len() == 1);
    client.vanish();
    poll_until(|| marked(&mark).is_empty());
}

/// A cgroup of this test's own; it goes with this value.
struct TestCgroup(PathBuf);

impl TestCgroup {
    /// Only root can make one, and only where version 2 is mounted.
    fn new(name: &str) -> Option<TestCgroup> {
        let mounts = fs::read_to_string("/proc/self/mounts").unwrap();
        let mount = mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>())
            .find(|words| words[2] == "cgroup2")?[1]
            .to_owned();
        let dir = Path::new(&mount).join(format!("sockproc-test-{name}-{}", std::process::id()));
        match fs::create_dir(&dir) {
            Ok(()) => Some(TestCgroup(dir)),
            Err(error) => {
                assert!(!rustix::process::getuid().is_root(), "{dir:?}: {error}");
                None
            }
        }
    }

    fn text(&self) -> &str {
        self.0.to_str().unwrap()
    }

    #[track_caller]
    fn holds_nothing_but_the_server(&self) {
        poll_until(|| {
            let below = fs::read_dir(&self.0).unwrap().flatten();
            let dirs = below.filter(|entry| entry.file_type().unwrap().is_dir());
            dirs.map(|entry| entry.file_name()).eq(["server"])
        });
    }
}

impl Drop for TestCgroup {
    fn drop(&mut self) {
        let _ = fs::write(self.0.join("cgroup.kill"), "1");
        let gone = |dir: &Path| !dir.exists() || fs::remove_dir(dir).is_ok();
        for _ in 0..1000 {
            let below = fs::read_dir(&self.0).into_iter().flatten().flatten();
            below.for_each(|entry| drop(fs::remove_dir(entry.path())));
            if gone(&self.0) {
                return;
            }
            std::thread::yield_now();
        }
    }
}
