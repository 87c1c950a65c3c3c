//! The classic answer.

/// A classic answer.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The raw wait status.
    pub(crate) status: i32,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

impl Reply {
    pub(crate) fn new(status: i32, stdout: impl AsRef<[u8]>, stderr: impl AsRef<[u8]>) -> Reply {
        Reply {
            status,
            stdout: stdout.as_ref().to_vec(),
            stderr: stderr.as_ref().to_vec(),
        }
    }

    /// Parses one whole answer strictly: no byte may be left over.
    #[track_caller]
    pub(crate) fn parse(bytes: &[u8]) -> Reply {
        let whole = || -> Option<Reply> {
            let (status, rest) = line(bytes.strip_prefix(b"status:")?)?;
            let (stdout, rest) = stream(rest)?;
            let (stderr, rest) = stream(rest)?;
            let status = i32::try_from(status).ok()?;
            rest.is_empty().then(|| Reply::new(status, stdout, stderr))
        };
        whole().unwrap_or_else(|| {
            let shown = &bytes[..bytes.len().min(200)];
            panic!("no answer: {} bytes, {}", bytes.len(), shown.escape_ascii())
        })
    }

    pub(crate) fn out(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    pub(crate) fn err(&self) -> String {
        String::from_utf8_lossy(&self.stderr).into_owned()
    }

    /// The server, not a command, says no with this wait status.
    #[track_caller]
    pub(crate) fn assert_refused(&self, status: i32) {
        assert_eq!(self.status, status, "{self:?}");
        assert!(self.stdout.is_empty(), "{self:?}");
        let err = self.err();
        assert!(
            err.starts_with("sockproc: ") && err.lines().count() == 1,
            "{self:?}"
        );
        assert!(err.ends_with('\n'), "{self:?}");
    }
}

impl std::fmt::Debug for Reply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let show = |bytes: &[u8]| {
            format!(
                "{}: {}",
                bytes.len(),
                bytes[..bytes.len().min(200)].escape_ascii()
            )
        };
        let Reply {
            status,
            stdout,
            stderr,
        } = self;
        write!(
            f,
            "status {status}, stdout {}, stderr {}",
            show(stdout),
            show(stderr)
        )
    }
}

/// A number that C would print the same way, its CRLF, and what follows.
fn line(bytes: &[u8]) -> Option<(i64, &[u8])> {
    let end = bytes.windows(2).position(|two| two == b"\r\n")?;
    let digits = std::str::from_utf8(&bytes[..end]).ok()?;
    let number: i64 = digits.parse().ok()?;
    (number.to_string() == digits).then(|| (number, &bytes[end + 2..]))
}

fn stream(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = line(bytes)?;
    rest.split_at_checked(usize::try_from(length).ok()?)
}
