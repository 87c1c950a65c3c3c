//! What of a request the classic protocol carries: a line, and how much stdin follows.

use bytes::Bytes;

use super::{MAX_COMMAND_LEN, exec_line};
use crate::proto::{Identity, Invocation, Limits, PastMax, ProtocolError, Request, StreamMode};

/// A stdin of unknown length is announced as endless and ended by a half-close, which every classic
/// server takes for its end.
const UNTIL_HALF_CLOSE: u64 = i64::MAX as u64;

/// The two lines of a classic request.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) line: Bytes,
    pub(super) stdin_len: u64,
}

impl Head {
    /// `timeout` and `max_output` are left to the client's own end, which counts both on this protocol.
    pub(super) fn of(request: &Request) -> Result<Self, ProtocolError> {
        if let Some(field) = unsupported(request) {
            return Err(ProtocolError::Unsupported { field });
        }
        let line = match &request.invocation {
            Invocation::Line(line) => line.clone(),
            Invocation::Argv(argv) => exec_line(argv)?,
        };
        check(&line)?;
        let stdin_len = match request.stdin {
            StreamMode::Null => 0,
            _ => request.stdin_len.unwrap_or(UNTIL_HALF_CLOSE),
        };
        Ok(Self { line, stdin_len })
    }
}

/// The first field that a classic request has no place for.
fn unsupported(request: &Request) -> Option<&'static str> {
    let carried = Limits {
        timeout: request.limits.timeout,
        max_output: request.limits.max_output,
        ..Limits::default()
    };
    let limits = &request.limits;
    let fields = [
        ("program", !request.programs.is_empty()),
        ("cwd", request.cwd.is_some()),
        ("env", !request.environment.is_unchanged()),
        (
            "stdin",
            !matches!(request.stdin, StreamMode::Null | StreamMode::Piped),
        ),
        ("stdout", request.stdout != StreamMode::Piped),
        ("stderr", request.stderr != StreamMode::Piped),
        ("fd", !request.fds.is_empty()),
        ("idle_timeout", limits.idle_timeout.is_some()),
        ("queue_timeout", limits.queue_timeout.is_some()),
        ("grace", limits.grace.is_some()),
        ("linger", limits.linger.is_some()),
        ("past_max", limits.past_max != PastMax::Kill),
        ("limits", *limits != carried),
        ("on_disconnect", request.on_disconnect.is_some()),
        ("session", request.session),
        ("process_group", request.process_group != 0),
        ("terminal", request.terminal),
        ("umask", request.umask.is_some()),
        ("user", request.identity != Identity::default()),
        ("ignore_signal", !request.ignored_signals.is_empty()),
        ("pidfd", request.pidfd),
        ("token", request.token.is_some()),
    ];
    fields
        .into_iter()
        .find(|(_, is_set)| *is_set)
        .map(|(field, _)| field)
}

fn check(line: &[u8]) -> Result<(), ProtocolError> {
    if line.len() > MAX_COMMAND_LEN {
        return Err(ProtocolError::LongCommand {
            limit: MAX_COMMAND_LEN,
        });
    }
    if let Some(offset) = line.iter().position(|&b| b == 0) {
        return Err(ProtocolError::NulInLine { offset });
    }
    // A CR at the very end would join the line's own end: `x\r` is sent as `x\r\r\n`, which is fine.
    if let Some(offset) = line.windows(2).position(|pair| pair == b"\r\n") {
        return Err(ProtocolError::CrLfInCommand { offset });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Argv, Millis};

    fn field(change: impl FnOnce(&mut Request)) -> String {
        let mut request = Request::line("true");
        change(&mut request);
        match Head::of(&request) {
            Err(ProtocolError::Unsupported { field }) => field.to_owned(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn what_has_no_place_in_a_classic_request_is_refused_by_name() {
        assert_eq!(field(|request| request.cwd = Some("/".into())), "cwd");
        assert_eq!(
            field(|request| request.environment.is_cleared = true),
            "env"
        );
        assert_eq!(
            field(|request| request.stdin = StreamMode::Descriptor),
            "stdin"
        );
        assert_eq!(
            field(|request| request.stderr = StreamMode::Stdout),
            "stderr"
        );
        assert_eq!(
            field(|request| request.limits.grace = Millis::new(1)),
            "grace"
        );
        assert_eq!(
            field(|request| request.limits.past_max = PastMax::Discard),
            "past_max"
        );
        assert_eq!(field(|request| request.process_group = 7), "process_group");
        assert_eq!(field(|request| request.identity.user = Some(0)), "user");
    }

    #[test]
    fn a_stdin_of_unknown_length_is_announced_as_endless() {
        let mut request = Request::argv(Argv::new(["cat", "it's"]).unwrap());
        assert_eq!(Head::of(&request).unwrap().stdin_len, 0);
        request.stdin = StreamMode::Piped;
        let head = Head::of(&request).unwrap();
        assert_eq!(head.stdin_len, UNTIL_HALF_CLOSE);
        assert_eq!(head.line, r"exec 'cat' 'it'\''s'");
    }
}
