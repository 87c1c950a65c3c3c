//! The server as PID 1, to which the kernel hands every orphan: in a pid namespace of its own, by
//! unshare(1), which needs root or user namespaces.

use std::process::{Child, Command, Stdio};

use rustix::process::Signal;

use crate::support::{
    Address, Reply, Transport, binary, descendants, poll_until, request, send_signal,
};

/// Each leaves five orphans, which exit at different times.
const ORPHANS: &str =
    "for t in 0 0 0.02 0.05 0.1; do (sleep $t >/dev/null 2>&1 &); done; echo here; exit 7";

#[test]
fn a_server_that_is_pid_1_reaps_orphans_and_keeps_every_wait_status() {
    let setup = Transport::Unix.setup();
    let server = serve_as_pid_1(&setup.address);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..25 {
                    let mut connection = setup.address.connect().unwrap();
                    connection.send(request(ORPHANS, ""));
                    assert_eq!(
                        connection.read_last_reply(),
                        Reply::new(7 << 8, "here\n", "")
                    );
                }
            });
        }
    });
    // Only the server is left below unshare, and it has no zombie.
    poll_until(|| descendants(server.0.id()).len() == 1);
    end(server);
}

#[test]
fn a_server_that_is_pid_1_ends_with_128_plus_the_signal() {
    let setup = Transport::Unix.setup();
    let server = serve_as_pid_1(&setup.address);
    assert_eq!(end(server), Some(128 + Signal::TERM.as_raw()));
}

/// unshare(1) with the server below it; both end with the test, also if that fails.
struct Container(Child);

impl Drop for Container {
    fn drop(&mut self) {
        // `--kill-child` takes the server along.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn serve_as_pid_1(address: &Address) -> Container {
    let mut command = Command::new("unshare");
    // Other users become root in a user namespace.
    if !rustix::process::getuid().is_root() {
        command.arg("--map-root-user");
    }
    let server = command
        .args(["--pid", "--fork", "--mount-proc", "--kill-child"])
        .arg(binary())
        .args(["serve", "--listen"])
        .arg(address.full())
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let container = Container(server);
    poll_until(|| address.is_served());
    container
}

/// Sends the server SIGTERM, and returns the exit code that unshare passes on.
fn end(mut container: Container) -> Option<i32> {
    let [server] = descendants(container.0.id())[..] else {
        panic!("one server")
    };
    send_signal(server, Signal::TERM);
    container.0.wait().unwrap().code()
}
