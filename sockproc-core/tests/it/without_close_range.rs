//! Where the kernel refuses close_range(2): before Linux 5.9, and under seccomp(2) filters as containers have
//! them. A child that shares the server's table of descriptors cannot take one of its own then, so each gets
//! a copy.

use std::fs;

use rustix::io::Errno;

use crate::native::client::{Client, argv, line};
use crate::support::{Connection, Reply, TestServer, Transport, poll_until};

#[test]
fn commands_run_where_the_kernel_has_no_close_range() {
    commands_run_where_it_fails(Errno::NOSYS);
}

#[test]
fn commands_run_where_a_filter_forbids_close_range() {
    commands_run_where_it_fails(Errno::PERM);
}

/// Starts a program under a filter by which close_range(2) fails with the errno of the first argument. On
/// every machine the call has the same number.
const WITH_FILTER: &str = r#"
import ctypes, os, struct, sys
CLOSE_RANGE = 436
PR_SET_NO_NEW_PRIVS, PR_SET_SECCOMP, SECCOMP_MODE_FILTER = 38, 22, 2
LOAD, SKIP_UNLESS_EQUAL, RETURN = 0x20, 0x15, 0x06
ALLOW, FAIL = 0x7FFF0000, 0x00050000

errno = int(sys.argv[1])
instructions = [(LOAD, 0, 0, 0), (SKIP_UNLESS_EQUAL, 0, 1, CLOSE_RANGE), (RETURN, 0, 0, FAIL | errno), (RETURN, 0, 0, ALLOW)]
code = ctypes.create_string_buffer(b"".join(struct.pack("HBBI", *each) for each in instructions))
program = ctypes.create_string_buffer(struct.pack("HP", len(instructions), ctypes.addressof(code)))
libc = ctypes.CDLL(None, use_errno=True)

def prctl(*words):
    if libc.prctl(*map(ctypes.c_ulong, words)) != 0:
        raise OSError(ctypes.get_errno(), "prctl")

prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, ctypes.addressof(program), 0, 0)
libc.syscall(*map(ctypes.c_ulong, (CLOSE_RANGE, 1 << 20, 1 << 20, 0)))
assert ctypes.get_errno() == errno, ctypes.get_errno()
os.execv(sys.argv[2], sys.argv[2:])
"#;

#[track_caller]
fn commands_run_where_it_fails(errno: Errno) {
    let setup = Transport::Unix.setup();
    fs::write(setup.dir.path().join("with_filter.py"), WITH_FILTER).unwrap();
    let filter = format!(
        "set -- python3 with_filter.py {} \"$@\"",
        errno.raw_os_error()
    );
    let server = setup.shell(&filter).start();
    // Where few descriptors are open the table is copied anyway.
    answers(&server);
    several_at_once(&server);
    let before = server.settled_fd_count();
    let idle: Vec<Connection> = (0..100).map(|_| server.connect()).collect();
    poll_until(|| server.connections() >= idle.len());
    several_at_once(&server);
    for _ in 0..20 {
        answers(&server);
    }
    several_at_once(&server);
    drop(idle);
    poll_until(|| server.settled_fd_count() <= before);
}

#[track_caller]
fn answers(server: &TestServer) {
    let reply = server.run_with("cat; echo err >&2; ls /proc/$$/fd; exit 3", "in\n");
    assert_eq!(reply, Reply::new(3 << 8, "in\n0\n1\n2\n", "err\n"));
    assert_eq!(Client::run(server, &argv(&["true"])).code(), 0);
    let refused = Client::run(server, &argv(&["/no/such/program"]));
    let refusal = refused.refusal();
    assert_eq!(refusal.step.as_deref(), Some("exec"));
    assert_eq!(refusal.errno, Some(Errno::NOENT.raw_os_error()));
}

/// Each has the descriptors that are its own: they end when their own stdin does.
#[track_caller]
fn several_at_once(server: &TestServer) {
    let request = line("cat; :");
    let mut clients: Vec<_> = (0..16).map(|_| Client::ask(server, &request)).collect();
    for client in &mut clients {
        let pid = client.wait_for_start();
        // The program closes what it has opened itself; before that the kernel closes what is ours.
        poll_until(|| {
            let open = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
            let mut numbers: Vec<_> = open.map(|fd| fd.file_name()).collect();
            numbers.sort();
            numbers == ["0", "1", "2"]
        });
    }
    for client in &mut clients {
        client
            .connection
            .send(client.session.send_stdin_end().unwrap());
        assert_eq!(client.finish().code(), 0);
    }
}
