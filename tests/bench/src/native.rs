//! A client of the native protocol: as little work as can be, as that of the classic one.

use std::io::{self, IoSlice, PipeReader, PipeWriter, Read, Write};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use rustix::net::{SendAncillaryBuffer, SendAncillaryMessage, SendFlags, sendmsg};

/// Makes one run after another, each on a connection of its own, through one buffer.
pub struct Native {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
}

/// One run on its way.
struct Run<'a> {
    client: &'a mut Native,
    stream: UnixStream,
}

/// The header of a frame whose payload is still to be read.
struct Frame {
    kind: u8,
    len: usize,
}

impl Native {
    /// A client with an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self {
            buffer: vec![0; CHUNK].into(),
            start: 0,
            end: 0,
        }
    }

    /// Runs a line of shell and hands each piece of its stdout to `sink`.
    ///
    /// # Errors
    /// A server or a link that fails, and any end but exit code 0.
    pub fn read_frames(
        &mut self,
        socket: &Path,
        line: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        self.ask(socket, &records(line, ""), None)?.finish(sink)
    }

    /// Runs a line of shell with this stdin, in frames as credit comes, and hands its stdout to `sink`.
    ///
    /// # Errors
    /// As [`read_frames`](Self::read_frames).
    pub fn write_frames(
        &mut self,
        socket: &Path,
        line: &str,
        stdin: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut run = self.ask(socket, &records(line, "stdin=frames\0"), None)?;
        let (mut left, mut credit) = (stdin, FIRST_WINDOW);
        while !left.is_empty() {
            let (part, rest) = left.split_at(left.len().min(credit));
            if !part.is_empty() {
                run.stream.write_all(&header(STDIN, part.len()))?;
                run.stream.write_all(part)?;
                (left, credit) = (rest, credit - part.len());
                continue;
            }
            let frame = run.next_frame()?;
            credit += run.credit_of(&frame)?;
        }
        run.stream.write_all(&header(STDIN_END, 0))?;
        run.finish(sink)
    }

    /// Runs a line of shell whose stdout is a pipe of ours, and hands what comes to `sink`.
    ///
    /// # Errors
    /// As [`read_frames`](Self::read_frames).
    pub fn read_descriptor(
        &mut self,
        socket: &Path,
        line: &str,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let (ours, theirs): (PipeReader, PipeWriter) = io::pipe()?;
        let run = self.ask(socket, &records(line, "stdout=fd\0"), Some(theirs.as_fd()))?;
        drop(theirs);
        run.client.drain(ours, sink)?;
        run.finish(&mut |_| ())
    }

    /// Runs a line of shell whose stdin is a pipe of ours with `stdin` in it, and hands its stdout to `sink`.
    ///
    /// # Errors
    /// As [`read_frames`](Self::read_frames).
    pub fn write_descriptor(
        &mut self,
        socket: &Path,
        line: &str,
        stdin: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let (theirs, mut ours) = io::pipe()?;
        let run = self.ask(socket, &records(line, "stdin=fd\0"), Some(theirs.as_fd()))?;
        drop(theirs);
        for chunk in stdin.chunks(CHUNK) {
            ours.write_all(chunk)?;
        }
        drop(ours);
        run.finish(sink)
    }

    /// Hands all of `from` to `sink`, through our buffer.
    ///
    /// # Errors
    /// What a read fails with.
    pub fn drain(&mut self, mut from: impl Read, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        (self.start, self.end) = (0, 0);
        loop {
            match from.read(&mut self.buffer)? {
                0 => return Ok(()),
                len => sink(&self.buffer[..len]),
            }
        }
    }

    /// Sends opening and RUN in one write: the server is known to be native.
    fn ask(
        &mut self,
        socket: &Path,
        records: &[u8],
        fd: Option<BorrowedFd<'_>>,
    ) -> io::Result<Run<'_>> {
        (self.start, self.end) = (0, 0);
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = [OPENING, &header(RUN, records.len()), records].concat();
        match fd {
            None => stream.write_all(&request)?,
            Some(fd) => pass(&stream, &request, fd)?,
        }
        let mut run = Run {
            client: self,
            stream,
        };
        match run.take(GREETING.len())? == GREETING {
            true => Ok(run),
            false => Err(bad("no greeting")),
        }
    }
}

impl Run<'_> {
    /// Reads to the end of the run.
    fn finish(mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        loop {
            let frame = self.next_frame()?;
            match frame.kind {
                STDOUT => self.hand_on(frame.len, sink)?,
                EXITED if self.take(frame.len)?.starts_with(b"exit=0\0") => return Ok(()),
                EXITED | REFUSED | ERROR => return Err(bad("the run failed")),
                _ => {
                    self.credit_of(&frame)?;
                }
            }
        }
    }

    fn next_frame(&mut self) -> io::Result<Frame> {
        let header: [u8; 5] = self.take(5)?.try_into().map_err(|_| bad("no header"))?;
        let [kind, len @ ..] = header;
        let len = u32::from_be_bytes(len) as usize;
        Ok(Frame { kind, len })
    }

    /// Takes a control frame; returns the credit in it.
    fn credit_of(&mut self, frame: &Frame) -> io::Result<usize> {
        if [EXITED, REFUSED, ERROR].contains(&frame.kind) {
            return Err(bad("the run has ended early"));
        }
        let payload = self.take(frame.len)?;
        if frame.kind != CREDIT {
            return Ok(0);
        }
        let digits = payload.strip_prefix(b"bytes=").unwrap_or_default();
        let digits = str::from_utf8(digits).unwrap_or_default();
        let bytes = digits.trim_end_matches('\0').parse();
        bytes.map_err(|_| bad("no number in CREDIT"))
    }

    fn hand_on(&mut self, len: usize, sink: &mut dyn FnMut(&[u8])) -> io::Result<()> {
        let mut missing = len;
        while missing > 0 {
            let client = &mut *self.client;
            if client.start == client.end {
                (client.start, client.end) = (0, 0);
                self.fill()?;
                continue;
            }
            let held = &client.buffer[client.start..client.end];
            let taken = held.len().min(missing);
            sink(&held[..taken]);
            client.start += taken;
            missing -= taken;
        }
        Ok(())
    }

    /// The next `len` bytes, which must fit into the buffer.
    fn take(&mut self, len: usize) -> io::Result<&[u8]> {
        while self.client.end - self.client.start < len {
            let client = &mut *self.client;
            client.buffer.copy_within(client.start..client.end, 0);
            (client.start, client.end) = (0, client.end - client.start);
            self.fill()?;
        }
        self.client.start += len;
        Ok(&self.client.buffer[self.client.start - len..self.client.start])
    }

    fn fill(&mut self) -> io::Result<()> {
        let client = &mut *self.client;
        match self.stream.read(&mut client.buffer[client.end..])? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            len => {
                client.end += len;
                Ok(())
            }
        }
    }
}

impl Default for Native {
    fn default() -> Self {
        Self::new()
    }
}

fn records(line: &str, others: &str) -> Vec<u8> {
    format!("line={line}\0{others}").into_bytes()
}

fn header(kind: u8, len: usize) -> [u8; 5] {
    // No frame is longer than 2 MiB.
    let [a, b, c, d] = u32::try_from(len).unwrap_or(u32::MAX).to_be_bytes();
    [kind, a, b, c, d]
}

/// A short write would need more: a request is far shorter than what a fresh socket takes.
fn pass(stream: &UnixStream, request: &[u8], fd: BorrowedFd<'_>) -> io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    let fds = [fd];
    control.push(SendAncillaryMessage::ScmRights(&fds));
    let parts = [IoSlice::new(request)];
    match sendmsg(stream, &parts, &mut control, SendFlags::NOSIGNAL)? {
        len if len == request.len() => Ok(()),
        _ => Err(bad("a short write")),
    }
}

fn bad(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const OPENING: &[u8] = b"#sockproc/2\r\n0\r\n";
const GREETING: &[u8] = b"#sockproc/2\r\n";
const RUN: u8 = 0x01;
const STDIN: u8 = 0x02;
const STDIN_END: u8 = 0x03;
const STDOUT: u8 = 0x12;
const CREDIT: u8 = 0x16;
const EXITED: u8 = 0x18;
const REFUSED: u8 = 0x19;
const ERROR: u8 = 0x1a;

/// What a client may send before it has heard of any credit.
const FIRST_WINDOW: usize = 16_384;

const CHUNK: usize = 64 * 1024;

/// Long enough for any run here on a busy machine; a server that hangs must not hang the benchmark.
const PATIENCE: Duration = Duration::from_secs(30);
