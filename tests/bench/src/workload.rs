//! What is asked of a server.

use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::thread;

/// One kind of run: its request, and what a whole reply to it looks like.
pub struct Workload {
    /// How the table calls it.
    pub name: &'static str,
    /// The shell command line.
    pub command: &'static str,
    /// The whole request, as sent.
    pub request: Vec<u8>,
    /// How many bytes of stdout a whole reply carries.
    pub stdout_len: u64,
    /// Whether a bare spawn loop of the same command says anything about it.
    pub has_floor: bool,
    proof: &'static str,
    stdin_len: usize,
}

impl Workload {
    /// The four workloads.
    ///
    /// # Errors
    /// What starting one of their commands without a server fails with.
    pub fn all() -> io::Result<Vec<Self>> {
        Ok(vec![
            Self::new("`true`", "true", "true", 0)?,
            Self::new("`uname -a`", "uname -a", "uname -a", 0)?,
            Self::new(
                "8 MiB of stdout",
                "head -c 8388608 /dev/zero",
                "head -c 8388608 /dev/zero",
                0,
            )?,
            Self::new("8 MiB of stdin", "cat >/dev/null", "cksum", BULK)?,
        ])
    }

    fn new(
        name: &'static str,
        command: &'static str,
        proof: &'static str,
        stdin_len: usize,
    ) -> io::Result<Self> {
        let stdin = pattern(stdin_len);
        let stdout_len = run_locally(command, &stdin)?.len() as u64;
        let has_floor = stdin_len == 0 && stdout_len < BULK as u64;
        Ok(Self {
            name,
            command,
            request: request(command, &stdin),
            stdout_len,
            has_floor,
            proof,
            stdin_len,
        })
    }

    /// A request whose output shows that every byte of this workload goes through, and that output.
    ///
    /// # Errors
    /// What starting the command without a server fails with.
    pub fn proof(&self) -> io::Result<(Vec<u8>, Vec<u8>)> {
        let stdin = pattern(self.stdin_len);
        Ok((
            request(self.proof, &stdin),
            run_locally(self.proof, &stdin)?,
        ))
    }
}

/// The whole request for `command` with `stdin`.
#[must_use]
pub fn request(command: &str, stdin: &[u8]) -> Vec<u8> {
    let mut request = format!("{command}\r\n{}\r\n", stdin.len()).into_bytes();
    request.extend_from_slice(stdin);
    request
}

/// Bytes of a period that divides no buffer size, so that a lost or doubled block changes the checksum.
#[must_use]
pub fn pattern(len: usize) -> Vec<u8> {
    (0..251).cycle().take(len).collect()
}

/// What the shell prints for `command` without any server.
///
/// # Errors
/// What starting it fails with, and any end but exit code 0.
pub fn run_locally(command: &str, stdin: &[u8]) -> io::Result<Vec<u8>> {
    let mut child = Command::new("/bin/sh")
        .arg("-c")
        .arg(command)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let pipe = child.stdin.take();
    let output = thread::scope(|scope| {
        let writer = scope.spawn(move || pipe.map_or(Ok(()), |mut pipe| pipe.write_all(stdin)));
        let output = child.wait_with_output();
        writer
            .join()
            .map_err(|_| io::Error::other("the writer of stdin panicked"))??;
        output
    })?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(io::Error::other(format!(
            "{command:?} ended with {}",
            output.status
        ))),
    }
}

const BULK: usize = 8 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_announces_its_stdin() {
        assert_eq!(request("wc", b"abc"), b"wc\r\n3\r\nabc");
    }

    #[test]
    fn the_stdin_workload_proves_every_byte() {
        let workloads = Workload::all().unwrap();
        let stdin = workloads
            .iter()
            .find(|workload| workload.stdin_len == BULK)
            .unwrap();
        let (_, expected) = stdin.proof().unwrap();
        assert!(
            expected.ends_with(b" 8388608\n"),
            "{:?}",
            String::from_utf8_lossy(&expected)
        );
        assert_eq!(stdin.stdout_len, 0);
    }

    #[test]
    fn only_short_commands_have_a_floor() {
        let with_floor: Vec<_> = Workload::all()
            .unwrap()
            .iter()
            .map(|workload| workload.has_floor)
            .collect();
        assert_eq!(with_floor, [true, true, false, false]);
    }
}
