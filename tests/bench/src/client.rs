//! The client side of a measured run: as little work as can be, and the same for every server.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Runs one request after another, each on a connection of its own, through one buffer.
pub struct Client {
    buffer: Box<[u8]>,
    start: usize,
    end: usize,
    patience: Duration,
}

impl Client {
    /// A client with an empty buffer.
    #[must_use]
    pub fn new() -> Self {
        Self::with_patience(PATIENCE)
    }

    /// A client that waits for at most so long for each piece of a reply.
    #[must_use]
    pub fn with_patience(patience: Duration) -> Self {
        Self {
            buffer: vec![0; CHUNK].into(),
            start: 0,
            end: 0,
            patience,
        }
    }

    /// Sends `request` and reads the reply, of which it keeps nothing.
    ///
    /// # Errors
    /// A reply that is late, cut, not status 0, or has other lengths than `stdout_len` and 0.
    pub fn run(&mut self, socket: &Path, request: &[u8], stdout_len: u64) -> io::Result<()> {
        let found = self.exchange(socket, request, &mut |_| ())?;
        match found == stdout_len {
            true => Ok(()),
            false => Err(bad(format!(
                "{found} bytes of stdout instead of {stdout_len}"
            ))),
        }
    }

    /// Sends `request` and returns the reply's stdout.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn output(&mut self, socket: &Path, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stdout = Vec::new();
        self.exchange(socket, request, &mut |chunk| {
            stdout.extend_from_slice(chunk)
        })?;
        Ok(stdout)
    }

    /// Sends `request` and hands the reply's stdout to `sink` as it comes.
    ///
    /// # Errors
    /// As [`Client::run`].
    pub fn hand_on(
        &mut self,
        socket: &Path,
        request: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        self.exchange(socket, request, sink).map(drop)
    }

    /// A blocking connect waits in the kernel while the backlog is full, so there is no EAGAIN to retry. As the
    /// published clients do, it closes once the reply is whole and does not wait for end of file.
    fn exchange(
        &mut self,
        socket: &Path,
        request: &[u8],
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<u64> {
        (self.start, self.end) = (0, 0);
        let mut stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(self.patience))?;
        stream.set_write_timeout(Some(self.patience))?;
        stream.write_all(request)?;
        self.reply(&mut stream, sink)
    }

    fn reply(&mut self, stream: &mut impl Read, sink: &mut dyn FnMut(&[u8])) -> io::Result<u64> {
        let status = self.line(stream)?;
        if status != b"status:0" {
            return Err(bad(format!(
                "replied {:?}",
                String::from_utf8_lossy(status)
            )));
        }
        let stdout_len = self.count(stream)?;
        self.body(stream, stdout_len, sink)?;
        match self.count(stream)? {
            0 if self.start == self.end => Ok(stdout_len),
            0 => Err(bad(format!(
                "{} bytes after the reply",
                self.end - self.start
            ))),
            stderr_len => Err(bad(format!("{stderr_len} bytes of stderr"))),
        }
    }

    fn count(&mut self, stream: &mut impl Read) -> io::Result<u64> {
        let line = String::from_utf8_lossy(self.line(stream)?);
        line.parse()
            .map_err(|_| bad(format!("{line:?} instead of a length")))
    }

    fn body(
        &mut self,
        stream: &mut impl Read,
        len: u64,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<()> {
        let mut missing = len;
        while missing > 0 {
            if self.start == self.end {
                self.fill(stream)?;
            }
            let chunk = &self.buffer[self.start..self.end];
            let taken = chunk
                .len()
                .min(usize::try_from(missing).unwrap_or(usize::MAX));
            sink(&chunk[..taken]);
            self.start += taken;
            missing -= taken as u64;
        }
        Ok(())
    }

    fn line(&mut self, stream: &mut impl Read) -> io::Result<&[u8]> {
        loop {
            let held = &self.buffer[self.start..self.end];
            if let Some(len) = held.windows(2).position(|pair| pair == b"\r\n") {
                let line = self.start..self.start + len;
                self.start = line.end + 2;
                return Ok(&self.buffer[line]);
            }
            self.fill(stream)?;
        }
    }

    fn fill(&mut self, stream: &mut impl Read) -> io::Result<()> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        match stream.read(&mut self.buffer[self.end..])? {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the reply was cut",
            )),
            read => {
                self.end += read;
                Ok(())
            }
        }
    }
}

impl Default for Client {
    fn default() -> Self {
        Self::new()
    }
}

fn bad(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

const CHUNK: usize = 64 * 1024;

/// Long enough for any run here on a busy machine; a server that hangs must not hang the benchmark.
const PATIENCE: Duration = Duration::from_secs(30);

#[cfg(test)]
mod tests {
    use super::*;

    /// Each read returns one of its pieces, as a socket may do.
    struct Pieces<'a>(Vec<&'a [u8]>);

    impl Read for Pieces<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.0.is_empty() {
                true => Ok(0),
                false => self.0.remove(0).read(buffer),
            }
        }
    }

    fn read(pieces: Vec<&[u8]>) -> Result<(u64, Vec<u8>), String> {
        let mut stdout = Vec::new();
        Client::new()
            .reply(&mut Pieces(pieces), &mut |chunk| {
                stdout.extend_from_slice(chunk)
            })
            .map(|len| (len, stdout.clone()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn a_reply_does_not_depend_on_where_it_is_cut() {
        let reply = b"status:0\r\n5\r\nhe\r\no0\r\n";
        for cut in 1..reply.len() {
            let (head, tail) = reply.split_at(cut);
            assert_eq!(
                read(vec![head, tail]),
                Ok((5, b"he\r\no".to_vec())),
                "cut at {cut}"
            );
        }
    }

    #[test]
    fn a_reply_that_is_not_whole_is_an_error() {
        let reply = b"status:0\r\n5\r\nhello0\r\n";
        for len in 0..reply.len() {
            assert_eq!(
                read(vec![&reply[..len]]),
                Err("the reply was cut".into()),
                "after {len} bytes"
            );
        }
    }

    #[test]
    fn another_status_or_any_stderr_is_an_error() {
        assert_eq!(
            read(vec![b"status:256\r\n0\r\n0\r\n"]),
            Err(r#"replied "status:256""#.into())
        );
        assert_eq!(
            read(vec![b"status:0\r\n0\r\n3\r\nbad"]),
            Err("3 bytes of stderr".into())
        );
        assert_eq!(
            read(vec![b"status:0\r\nx\r\n"]),
            Err(r#""x" instead of a length"#.into())
        );
    }
}
