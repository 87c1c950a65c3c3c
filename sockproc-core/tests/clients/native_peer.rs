//! The server's end of one native run, in the hands of a test.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;

use rustix::net::{RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, recvmsg};
use sockproc_core::proto::native::ServerSession;
use sockproc_core::proto::opening::GREETING;
use sockproc_core::proto::{Exit, ExitStatus, Request, ServerEvent, Stream};

use super::stub::Peer;

pub(crate) struct NativePeer {
    pub(crate) peer: Peer,
    pub(crate) session: ServerSession,
    /// What came with the request.
    pub(crate) descriptors: Vec<OwnedFd>,
    /// Bytes that had come with the opening, in the same read.
    pub(crate) behind_opening: usize,
}

impl NativePeer {
    /// Reads the opening and greets.
    pub(crate) fn greet(peer: Peer) -> Self {
        let mut native = Self {
            peer,
            session: ServerSession::new(),
            descriptors: Vec::new(),
            behind_opening: 0,
        };
        let mut came = Vec::new();
        let opening = b"#sockproc/2\r\n0\r\n";
        while came.len() < opening.len() {
            came.extend(native.receive().expect("an opening"));
        }
        let behind = came.strip_prefix(opening).expect("an opening");
        native.behind_opening = behind.len();
        native.session.receive_data(behind);
        native.peer.send(GREETING);
        native
    }

    /// Greets, and reads the request.
    pub(crate) fn accept(peer: Peer) -> (Self, Request) {
        let mut native = Self::greet(peer);
        match native.event() {
            Some(ServerEvent::Run(request)) => (native, *request),
            other => panic!("{other:?}"),
        }
    }

    /// The next event; `None` if the client has gone.
    pub(crate) fn event(&mut self) -> Option<ServerEvent> {
        loop {
            if let Some(event) = self.session.next_event().unwrap() {
                return (event != ServerEvent::Gone).then_some(event);
            }
            // Past the last frame a session hears nothing, not even the end.
            let data = self.receive()?;
            self.session.receive_data(&data);
        }
    }

    pub(crate) fn start(&mut self, pid: u32) {
        let frame = self.session.send_started(pid).unwrap();
        self.peer.send(frame);
        if let Some(credit) = self.session.stdin_taken(0) {
            self.peer.send(credit);
            assert!(self.session.credit_written().is_none());
        }
    }

    /// All of stdin; each piece is taken at once.
    pub(crate) fn read_stdin(&mut self) -> Vec<u8> {
        let mut stdin = Vec::new();
        loop {
            match self.event().expect("the end of stdin") {
                ServerEvent::Stdin(data) => {
                    stdin.extend_from_slice(&data);
                    if let Some(credit) = self.session.stdin_taken(data.len() as u64) {
                        self.peer.send(credit);
                        assert!(self.session.credit_written().is_none());
                    }
                }
                ServerEvent::StdinEnd => return stdin,
                other => panic!("{other:?}"),
            }
        }
    }

    pub(crate) fn write(&mut self, stream: Stream, data: &[u8]) {
        for chunk in data.chunks(100_000) {
            let header = self.session.send_data(stream, chunk.len()).unwrap();
            self.peer.send(header);
            self.peer.send(chunk);
        }
    }

    /// Ends the streams that are in frames, and tells the exit.
    pub(crate) fn exit(&mut self, exit: &Exit) {
        for stream in [Stream::Stdout, Stream::Stderr] {
            if let Ok(end) = self.session.send_end(stream) {
                self.peer.send(end);
            }
        }
        let frame = self.session.send_exited(exit).unwrap();
        self.peer.send(frame);
    }

    pub(crate) fn exit_with(&mut self, code: u8) {
        self.exit(&Exit::new(ExitStatus::Code(code)));
    }

    /// Some bytes, and the descriptors that come with them; `None` at the end.
    fn receive(&mut self) -> Option<Vec<u8>> {
        let mut buf = vec![0; 64 * 1024];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(16))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut buf)];
        let received = recvmsg(
            self.peer.as_fd(),
            &mut slices,
            &mut control,
            RecvFlags::CMSG_CLOEXEC,
        );
        let len = received.map_or(0, |received| received.bytes);
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                self.descriptors.extend(descriptors);
            }
        }
        buf.truncate(len);
        (len > 0).then_some(buf)
    }
}
