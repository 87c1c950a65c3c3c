//! Every record of RUN: how it is read, and how it is written.

use bytes::Bytes;

use super::record::RecordWriter;
use super::value::{
    FD, ID, MASK, ON_DISCONNECT, PAST_MAX, PID, SIGNAL, STDERR, Written, count, flag, millis, mode,
    number, on_disconnect, past_max, stderr_mode, supplementary_group, variable, variable_name,
};
use crate::proto::{Argv, Invocation, OnDisconnect, PastMax, Request, StreamMode};

/// A record that RUN may hold.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) repeats: bool,
    /// Puts a value into a draft.
    pub(super) read: Read,
    /// Writes the record as often as the request needs it.
    write: Write,
}

/// The error says what the value must be.
type Read = fn(&mut Draft, Bytes) -> Result<(), &'static str>;

type Write = fn(&Request, Written<'_>);

const fn once(name: &'static str, read: Read, write: Write) -> Field {
    Field {
        name,
        repeats: false,
        read,
        write,
    }
}

const fn repeated(name: &'static str, read: Read, write: Write) -> Field {
    Field {
        repeats: true,
        ..once(name, read, write)
    }
}

impl Field {
    /// Writes what the request says of this record.
    pub(super) fn write(&self, request: &Request, records: &mut RecordWriter) {
        (self.write)(request, Written::new(self.name, records));
    }
}

/// All records, in the order in which they are written.
pub(super) const FIELDS: [Field; 29] = [
    // The first, so that a server knows early who asks.
    once(
        "token",
        |draft, value| set(&mut draft.request.token, Ok(Some(value))),
        |request, out| out.some(&request.token),
    ),
    once(
        "line",
        |draft, value| set(&mut draft.line, Ok(Some(value))),
        |request, out| match &request.invocation {
            Invocation::Line(line) => out.bytes(line),
            Invocation::Argv(_) => {}
        },
    ),
    repeated(
        "arg",
        |draft, value| push(&mut draft.words, Ok(value)),
        |request, out| match &request.invocation {
            Invocation::Line(_) => {}
            Invocation::Argv(argv) => out.each(argv.words()),
        },
    ),
    repeated(
        "program",
        |draft, value| push(&mut draft.request.programs, Ok(value)),
        |request, out| out.each(&request.programs),
    ),
    once(
        "cwd",
        |draft, value| set(&mut draft.request.cwd, Ok(Some(value))),
        |request, out| out.some(&request.cwd),
    ),
    once(
        "clear_env",
        |draft, value| set(&mut draft.request.environment.is_cleared, flag(&value)),
        |request, out| out.flag(request.environment.is_cleared),
    ),
    repeated(
        "unenv",
        |draft, value| push(&mut draft.request.environment.unset, variable_name(value)),
        |request, out| out.each(&request.environment.unset),
    ),
    repeated(
        "env",
        |draft, value| push(&mut draft.request.environment.set, variable(value)),
        |request, out| out.each(&request.environment.set),
    ),
    once(
        "stdin",
        |draft, value| set(&mut draft.request.stdin, mode(&value)),
        |request, out| out.word_unless(&STDERR, request.stdin, StreamMode::Null),
    ),
    once(
        "stdout",
        |draft, value| set(&mut draft.request.stdout, mode(&value)),
        |request, out| out.word_unless(&STDERR, request.stdout, StreamMode::Piped),
    ),
    once(
        "stderr",
        |draft, value| set(&mut draft.request.stderr, stderr_mode(&value)),
        |request, out| out.word_unless(&STDERR, request.stderr, StreamMode::Piped),
    ),
    repeated(
        "fd",
        |draft, value| push(&mut draft.request.fds, number(&value, FD)),
        |request, out| out.numbers(&request.fds),
    ),
    once(
        "timeout",
        |draft, value| set(&mut draft.request.limits.timeout, millis(&value).map(Some)),
        |request, out| out.millis(request.limits.timeout),
    ),
    once(
        "idle_timeout",
        |draft, value| {
            set(
                &mut draft.request.limits.idle_timeout,
                millis(&value).map(Some),
            )
        },
        |request, out| out.millis(request.limits.idle_timeout),
    ),
    once(
        "queue_timeout",
        |draft, value| {
            set(
                &mut draft.request.limits.queue_timeout,
                millis(&value).map(Some),
            )
        },
        |request, out| out.millis(request.limits.queue_timeout),
    ),
    once(
        "grace",
        |draft, value| set(&mut draft.request.limits.grace, millis(&value).map(Some)),
        |request, out| out.millis(request.limits.grace),
    ),
    once(
        "linger",
        |draft, value| set(&mut draft.request.limits.linger, millis(&value).map(Some)),
        |request, out| out.millis(request.limits.linger),
    ),
    once(
        "max_output",
        |draft, value| {
            set(
                &mut draft.request.limits.max_output,
                count(&value).map(Some),
            )
        },
        |request, out| out.number(request.limits.max_output),
    ),
    once(
        "past_max",
        |draft, value| set(&mut draft.request.limits.past_max, past_max(&value)),
        |request, out| out.word_unless(&PAST_MAX, request.limits.past_max, PastMax::Kill),
    ),
    once(
        "on_disconnect",
        |draft, value| {
            set(
                &mut draft.request.on_disconnect,
                on_disconnect(&value).map(Some),
            )
        },
        |request, out| {
            let then = request.on_disconnect.unwrap_or(OnDisconnect::Kill);
            out.word_unless(&ON_DISCONNECT, then, OnDisconnect::Kill);
        },
    ),
    once(
        "session",
        |draft, value| set(&mut draft.request.session, flag(&value)),
        |request, out| out.flag(request.session),
    ),
    once(
        "process_group",
        |draft, value| set(&mut draft.request.process_group, number(&value, PID)),
        |request, out| out.number(Some(request.process_group).filter(|group| *group != 0)),
    ),
    once(
        "terminal",
        |draft, value| set(&mut draft.request.terminal, flag(&value)),
        |request, out| out.flag(request.terminal),
    ),
    once(
        "umask",
        |draft, value| set(&mut draft.request.umask, number(&value, MASK).map(Some)),
        |request, out| out.number(request.umask),
    ),
    once(
        "user",
        |draft, value| {
            set(
                &mut draft.request.identity.user,
                number(&value, ID).map(Some),
            )
        },
        |request, out| out.number(request.identity.user),
    ),
    once(
        "group",
        |draft, value| {
            set(
                &mut draft.request.identity.group,
                number(&value, ID).map(Some),
            )
        },
        |request, out| out.number(request.identity.group),
    ),
    repeated(
        "supplementary_group",
        |draft, value| supplementary_group(&mut draft.request.identity, &value),
        |request, out| match request.identity.supplementary_groups.as_deref() {
            None => {}
            Some([]) => out.bytes(b""),
            Some(groups) => out.numbers(groups),
        },
    ),
    repeated(
        "ignore_signal",
        |draft, value| push(&mut draft.request.ignored_signals, number(&value, SIGNAL)),
        |request, out| out.numbers(&request.ignored_signals),
    ),
    once(
        "pidfd",
        |draft, value| set(&mut draft.request.pidfd, flag(&value)),
        |request, out| out.flag(request.pidfd),
    ),
];

fn set<T>(place: &mut T, value: Result<T, &'static str>) -> Result<(), &'static str> {
    *place = value?;
    Ok(())
}

fn push<T>(values: &mut Vec<T>, value: Result<T, &'static str>) -> Result<(), &'static str> {
    values.push(value?);
    Ok(())
}

/// A request of which not all records have been read.
#[derive(Debug)]
pub(super) struct Draft {
    words: Vec<Bytes>,
    line: Option<Bytes>,
    /// All but the invocation.
    request: Request,
}

/// What a request is without any record.
impl Default for Draft {
    fn default() -> Self {
        let mut request = Request::line("");
        request.on_disconnect = Some(OnDisconnect::Kill);
        Self {
            words: Vec::new(),
            line: None,
            request,
        }
    }
}

impl Draft {
    /// The whole request, or the name of the record that is wrong and why.
    pub(super) fn finish(self) -> Result<Request, (&'static str, String)> {
        let mut request = self.request;
        request.invocation = match (self.line, self.words.is_empty()) {
            (Some(_), false) => return Err(("line", "arg is there too".to_owned())),
            (Some(_), true) if !request.programs.is_empty() => {
                return Err((
                    "program",
                    "there is no arg that it could replace".to_owned(),
                ));
            }
            (Some(line), true) => Invocation::Line(line),
            (None, _) => {
                let argv = Argv::new(self.words);
                Invocation::Argv(argv.map_err(|error| ("arg", error.to_string()))?)
            }
        };
        Ok(request)
    }
}
