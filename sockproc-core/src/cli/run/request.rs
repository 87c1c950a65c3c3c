//! What was typed → what the server is asked for.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;

use super::options::Arguments;
use crate::connection::Protocol;
use crate::proto::{Argv, Limits, OnDisconnect, Request, StreamMode};
use crate::{Address, AddressKind, Error};

/// How the command's streams and ours come together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// The command gets our descriptors: its bytes pass neither the server nor us.
    Passed,
    /// The server reads and writes the command's pipes, and we ours.
    Relayed,
    /// The command gets a terminal that we make, and we move its bytes.
    Terminal,
}

impl Arguments {
    /// The best way there is to the server at `address`; `None`: it is inside this process.
    pub(super) fn way(&self, address: Option<&Address>) -> Way {
        let is_tcp = address.is_some_and(|address| matches!(address.kind(), AddressKind::Tcp(_)));
        let needs_bytes = self.idle_timeout.is_some() || self.max_output.is_some();
        match self.terminal {
            true => Way::Terminal,
            false if is_tcp || needs_bytes || self.protocol == Protocol::Classic => Way::Relayed,
            false => Way::Passed,
        }
    }

    /// The request by which the command's streams go that `way`.
    ///
    /// # Errors
    /// [`Error::Argv`] if these words are no argument vector.
    pub(super) fn request(&self, way: Way, has_stdin: bool) -> Result<Request, Error> {
        let mut request = invocation(&self.command)?;
        request.cwd = self.chdir.clone().map(bytes);
        request.environment.unset = self.unset.clone();
        request.environment.set = self.env.clone();
        request.limits = Limits {
            timeout: self.timeout,
            idle_timeout: self.idle_timeout,
            grace: self.grace,
            max_output: self.max_output,
            ..Limits::default()
        };
        request.on_disconnect = self.detach.then_some(OnDisconnect::Finish);
        let mode = match way {
            Way::Relayed => StreamMode::Piped,
            Way::Passed | Way::Terminal => StreamMode::Descriptor,
        };
        request.stdin = match has_stdin {
            true => mode,
            false => StreamMode::Null,
        };
        request.stdout = mode;
        request.stderr = match self.merge {
            true => StreamMode::Stdout,
            false => mode,
        };
        request.terminal = way == Way::Terminal;
        // A command that shares our terminal, but is in no foreground group, would be stopped by it.
        request.session = way == Way::Passed;
        if way == Way::Terminal {
            let term = std::env::var_os("TERM").unwrap_or_else(|| "dumb".into());
            // What was asked for comes last, so it is what holds.
            request.environment.set.insert(0, variable("TERM", term));
        }
        Ok(request)
    }
}

fn invocation(words: &[OsString]) -> Result<Request, Error> {
    if let [line] = words {
        return Ok(Request::line(bytes(line.clone())));
    }
    let argv = Argv::new(words.iter().cloned().map(bytes))?;
    Ok(Request::argv(argv))
}

fn bytes(word: OsString) -> Bytes {
    word.into_vec().into()
}

fn variable(name: &str, value: OsString) -> Bytes {
    [name.as_bytes(), b"=", &value.into_vec()].concat().into()
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::cli::run::options::Typed;

    fn typed(words: &str) -> Arguments {
        Typed::parse_from(["run"].into_iter().chain(words.split(' '))).arguments
    }

    fn asked(words: &str, way: Way) -> Request {
        typed(words).request(way, true).unwrap()
    }

    #[test]
    fn descriptors_are_passed_unless_the_server_must_see_the_bytes_or_cannot_take_them() {
        let unix = Address::unix("/s").unwrap();
        let tcp = Address::tcp(1).unwrap();
        let way = |words, address| typed(words).way(address);
        assert_eq!(way("-- true", Some(&unix)), Way::Passed);
        assert_eq!(way("--timeout 1 -- true", None), Way::Passed);
        assert_eq!(way("-- true", Some(&tcp)), Way::Relayed);
        assert_eq!(way("--idle-timeout 1 -- true", None), Way::Relayed);
        assert_eq!(way("--max-output 1 -- true", Some(&unix)), Way::Relayed);
        assert_eq!(way("--protocol classic -- true", Some(&unix)), Way::Relayed);
        assert_eq!(way("-t -- true", Some(&unix)), Way::Terminal);
    }

    #[test]
    fn what_can_be_said_without_options_is_what_the_classic_protocol_carries() {
        let request = asked("-- true", Way::Relayed);
        let mut plain = Request::line("true");
        plain.stdin = StreamMode::Piped;
        assert_eq!(request, plain);
    }

    #[test]
    fn options_reach_the_request() {
        let request = asked(
            "-e A=1 -u B -e C= -C /tmp --timeout 2 --grace 300ms --merge -d -- a b",
            Way::Passed,
        );
        assert_eq!(request.environment.set, ["A=1", "C="]);
        assert_eq!(request.environment.unset, ["B"]);
        assert_eq!(request.cwd.as_deref(), Some(&b"/tmp"[..]));
        assert_eq!(request.limits.timeout.map(|ms| ms.get()), Some(2000));
        assert_eq!(request.limits.grace.map(|ms| ms.get()), Some(300));
        assert_eq!(request.stderr, StreamMode::Stdout);
        assert_eq!(request.on_disconnect, Some(OnDisconnect::Finish));
        assert!(request.session && !request.terminal);
    }

    #[test]
    fn a_terminal_has_our_type_unless_another_is_named() {
        let request = asked("-t -e TERM=vt100 -- true", Way::Terminal);
        assert!(request.terminal && !request.session);
        let set = request.environment.set;
        assert!(
            set[0].starts_with(b"TERM=") && set[1] == "TERM=vt100",
            "{set:?}"
        );
    }
}
