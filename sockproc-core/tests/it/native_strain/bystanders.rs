//! Runs that go on beside what a test does to their server.

use sockproc_core::proto::Stream;

use crate::native::client::{Client, line};
use crate::support::{Connection, Reply, TestServer, poll_until};

/// A server's two runs, one of each protocol, which wait for their stdin.
pub(super) struct Bystanders<'a> {
    server: &'a TestServer,
    native: Client,
    classic: Connection,
    connections: usize,
    fds: usize,
}

impl<'a> Bystanders<'a> {
    #[track_caller]
    pub(super) fn of(server: &'a TestServer) -> Self {
        server.settled_fd_count();
        let mut native = Client::ask(server, &line("echo ready; exec cat"));
        native.wait_for_start();
        assert!(native.next().is_some());
        let mut classic = server.send("echo > classic; exec cat\r\n2\r\na");
        server.wait_for("classic");
        assert!(!classic.has_ended());
        let fds = crate::support::settled(10, || server.fd_count());
        Self {
            connections: server.connections(),
            server,
            native,
            classic,
            fds,
        }
    }

    /// Nothing is left of what was done to the server, and both runs end as if it had not been.
    #[track_caller]
    pub(super) fn are_untouched(mut self) {
        let server = self.server;
        assert_eq!(server.run("echo hi"), Reply::new(0, "hi\n", ""));
        poll_until(|| server.connections() == self.connections);
        poll_until(|| server.fd_count() == self.fds);
        self.native.send_stdin("native");
        self.native.end_stdin();
        let told = self.native.finish();
        assert_eq!((told.out().as_str(), told.code()), ("native", 0));
        assert!(told.ends.contains(&Stream::Stderr));
        self.classic.send("b");
        assert_eq!(self.classic.read_last_reply(), Reply::new(0, "ab", ""));
    }
}
