//! A raw connection to a server.

use std::fs::File;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, recvmsg, sendmsg, shutdown, sockopt,
};

use super::{DEADLINE, Reply};

/// The most descriptors that one message carries (`SCM_MAX_FD`).
pub(crate) const MAX_FDS: usize = 253;

/// One connection; no read and no write on it outlasts the deadline.
#[derive(Debug)]
pub(crate) struct Connection(File);

impl Connection {
    pub(crate) fn new(socket: impl Into<OwnedFd>) -> Connection {
        let socket = socket.into();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Recv, Some(DEADLINE)).unwrap();
        sockopt::set_socket_timeout(&socket, sockopt::Timeout::Send, Some(DEADLINE)).unwrap();
        Connection(File::from(socket))
    }

    #[track_caller]
    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.try_send(bytes).expect("send");
    }

    pub(crate) fn try_send(&mut self, bytes: impl AsRef<[u8]>) -> io::Result<()> {
        self.0.write_all(bytes.as_ref())
    }

    /// Sends this with descriptors.
    #[track_caller]
    pub(crate) fn send_with_fds(&self, data: &[u8], fds: &[BorrowedFd<'_>]) {
        self.send_with_fds_and(SendFlags::NOSIGNAL, data, fds);
    }

    /// As [`send_with_fds`](Self::send_with_fds), with flags of send(2).
    pub(crate) fn send_with_fds_and(&self, flags: SendFlags, data: &[u8], fds: &[BorrowedFd<'_>]) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(fds)));
        let parts = [IoSlice::new(data)];
        let sent = sendmsg(&self.0, &parts, &mut control, flags);
        assert_eq!(sent.unwrap(), data.len());
    }

    /// A second handle of the same socket.
    pub(crate) fn another(&self) -> File {
        self.0.try_clone().unwrap()
    }

    /// Reads one frame of the native protocol.
    #[track_caller]
    pub(crate) fn read_frame(&mut self) -> (u8, Vec<u8>) {
        let header = self.read_exactly(5);
        let len = u32::from_be_bytes(header[1..].try_into().unwrap());
        (header[0], self.read_exactly(len as usize))
    }

    /// Sends a whole request while a thread of its own lets the answer be read meanwhile.
    pub(crate) fn send_beside(&self, bytes: Vec<u8>) {
        let mut writer = self.0.try_clone().unwrap();
        // Where the server ends early, the rest has no reader: the answer is what counts.
        std::thread::spawn(move || writer.write_all(&bytes));
    }

    pub(crate) fn half_close(&self) {
        shutdown(&self.0, Shutdown::Write).unwrap();
    }

    /// Goes away as a killed client does: the server sees that its reader has gone.
    pub(crate) fn vanish(self) {
        // TCP alone knows linger; a closed unix socket tells its peer in any case.
        let _ = sockopt::set_socket_linger(&self.0, Some(Duration::ZERO));
    }

    /// Goes away for threads that still send, too.
    pub(crate) fn vanish_for_all(self) {
        shutdown(&self.0, Shutdown::Both).unwrap();
    }

    /// Everything up to a clean end of file.
    #[track_caller]
    pub(crate) fn read_to_end(&mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let end = self.0.read_to_end(&mut bytes);
        assert!(end.is_ok(), "{end:?} after {} bytes", bytes.len());
        bytes
    }

    /// Reads up to a clean end of file, keeps nothing, and counts.
    #[track_caller]
    pub(crate) fn skip_to_end(&mut self) -> u64 {
        let mut chunk = vec![0; 1 << 20];
        let mut count = 0;
        loop {
            match self.0.read(&mut chunk) {
                Ok(0) => return count,
                Ok(length) => count += length as u64,
                Err(error) => panic!("{error} after {count} bytes"),
            }
        }
    }

    /// One answer and a clean end of file behind it.
    #[track_caller]
    pub(crate) fn read_last_reply(&mut self) -> Reply {
        Reply::parse(&self.read_to_end())
    }

    /// One answer; how the connection ends is not looked at.
    #[track_caller]
    pub(crate) fn read_reply(&mut self) -> Reply {
        let head = self.read_line();
        let status = head.strip_prefix("status:").expect("status").parse();
        let stdout = self.read_stream();
        let stderr = self.read_stream();
        Reply {
            status: status.unwrap(),
            stdout,
            stderr,
        }
    }

    /// Reads what is there, or waits for some; nothing at the end.
    #[track_caller]
    pub(crate) fn read_some(&mut self) -> Vec<u8> {
        let mut chunk = vec![0; 64 * 1024];
        let length = self.0.read(&mut chunk).expect("read");
        chunk.truncate(length);
        chunk
    }

    /// Reads what is there, and descriptors that come with it.
    #[track_caller]
    pub(crate) fn read_with_fds(&self) -> (Vec<u8>, Vec<OwnedFd>) {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(MAX_FDS))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let mut chunk = vec![0; 4096];
        let mut parts = [IoSliceMut::new(&mut chunk)];
        let flags = RecvFlags::CMSG_CLOEXEC;
        let received = recvmsg(&self.0, &mut parts, &mut control, flags).unwrap();
        let mut fds = Vec::new();
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(sent) = message {
                fds.extend(sent);
            }
        }
        chunk.truncate(received.bytes);
        (chunk, fds)
    }

    /// Waits for the end of the connection, without another byte.
    #[track_caller]
    pub(crate) fn wait_for_end(&mut self, longest: Duration) {
        assert!(!self.is_silent_for(longest));
        assert!(self.has_ended());
    }

    /// Reads exactly `length` bytes.
    #[track_caller]
    pub(crate) fn read_exactly(&mut self, length: usize) -> Vec<u8> {
        let mut bytes = vec![0; length];
        self.0.read_exact(&mut bytes).expect("read");
        bytes
    }

    /// Nothing, not even the end, arrives within `time`.
    pub(crate) fn is_silent_for(&self, time: Duration) -> bool {
        let timeout = Timespec::try_from(time).unwrap();
        let mut fds = [PollFd::from_borrowed_fd(self.0.as_fd(), PollFlags::IN)];
        poll(&mut fds, Some(&timeout)).unwrap() == 0
    }

    /// Reads until the connection ends in any way, keeps nothing, and counts.
    pub(crate) fn skip_to_any_end(&mut self) -> u64 {
        let mut chunk = vec![0; 1 << 20];
        let mut count = 0;
        while let Ok(length @ 1..) = self.0.read(&mut chunk) {
            count += length as u64;
        }
        count
    }

    /// The server has closed this connection and sent nothing more.
    pub(crate) fn has_ended(&mut self) -> bool {
        !self.is_silent_for(Duration::ZERO) && matches!(self.0.read(&mut [0]), Ok(0) | Err(_))
    }

    fn read_stream(&mut self) -> Vec<u8> {
        let length = self.read_line().parse().expect("a length");
        self.read_exactly(length)
    }

    fn read_line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            assert!(line.len() < 64, "no line of an answer: {line:?}");
            line.extend(self.read_exactly(1));
        }
        String::from_utf8(line[..line.len() - 2].to_vec()).unwrap()
    }
}

impl AsFd for Connection {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
