//! RUN ⇄ [`Request`].

use bytes::Bytes;

use super::field::{Draft, FIELDS};
use super::frame::{FrameType, MAX_RUN_LEN, frame};
use super::record::{RecordWriter, Records};
use crate::proto::error::excerpt;
use crate::proto::{ProtocolError, Refusal, RefusalKind, Request, StreamMode};

/// The most descriptors that a request may pass.
pub const MAX_DESCRIPTORS: usize = 16;

/// The frame that asks for `request`.
///
/// # Errors
/// All of them ours: a value that the server would refuse for what it is, or a request of more than
/// [`MAX_RUN_LEN`] bytes.
pub(super) fn run(request: &Request) -> Result<Bytes, ProtocolError> {
    let mut records = RecordWriter::default();
    for field in &FIELDS {
        field.write(request, &mut records);
    }
    let payload = records.finish().map_err(|name| ProtocolError::Invalid {
        name,
        why: "it holds a NUL".to_owned(),
    })?;
    if payload.len() > MAX_RUN_LEN {
        return Err(ProtocolError::LongRequest {
            len: payload.len(),
            limit: MAX_RUN_LEN,
        });
    }
    let payload = payload.freeze();
    // What the server will read is read here first, so that its rules stand once.
    decode(payload.clone())
        .map_err(|Flaw { name, why, .. }| ProtocolError::Invalid { name, why })?;
    Ok(frame(FrameType::Run, &payload))
}

/// The request that has these records, each a name and a value, in the names and forms of RUN.
///
/// For callers that have the parts of a request as data, such as a dictionary of another language.
///
/// # Errors
/// [`ProtocolError::Invalid`], which names the record.
///
/// ```
/// use sockproc_core::proto::native::request_of;
///
/// let request = request_of([("arg", &b"ls"[..]), ("cwd", b"/"), ("timeout", b"1000")])?;
/// assert_eq!(request.cwd.as_deref(), Some(&b"/"[..]));
/// # Ok::<(), sockproc_core::proto::ProtocolError>(())
/// ```
pub fn request_of<'a>(
    records: impl IntoIterator<Item = (&'a str, &'a [u8])>,
) -> Result<Request, ProtocolError> {
    let invalid = |(name, why)| ProtocolError::Invalid { name, why };
    let mut writer = RecordWriter::default();
    let mut says_on_disconnect = false;
    for (name, value) in records {
        says_on_disconnect |= name == "on_disconnect";
        let Some(field) = FIELDS.iter().find(|field| field.name == name) else {
            return Err(invalid(("RUN", format!("unknown record {name:?}"))));
        };
        writer.put(field.name, value);
    }
    let nul = |name| invalid((name, "it holds a NUL".to_owned()));
    let payload = writer.finish().map_err(nul)?;
    let mut request = decode(payload.freeze()).map_err(|flaw| invalid((flaw.name, flaw.why)))?;
    if !says_on_disconnect {
        // Each protocol has a default of its own.
        request.on_disconnect = None;
    }
    Ok(request)
}

/// What a RUN frame asks for.
///
/// # Errors
/// [`ProtocolError::BadRequest`], whose refusal names the value.
pub(super) fn read_run(payload: Bytes) -> Result<Request, ProtocolError> {
    decode(payload).map_err(|flaw| ProtocolError::BadRequest(Box::new(flaw.refusal())))
}

/// What is wrong with a request.
#[derive(Debug)]
struct Flaw {
    kind: RefusalKind,
    /// Which record, `"RUN"` if it is none that we know.
    name: &'static str,
    why: String,
}

impl Flaw {
    fn new(name: &'static str, why: impl Into<String>) -> Self {
        Self {
            kind: RefusalKind::BadRequest,
            name,
            why: why.into(),
        }
    }

    fn refusal(&self) -> Refusal {
        Refusal::new(self.kind, format_args!("{}: {}", self.name, self.why))
    }
}

fn decode(payload: Bytes) -> Result<Request, Flaw> {
    let mut draft = Draft::default();
    let mut seen = [false; FIELDS.len()];
    for (index, record) in Records::new(payload).enumerate() {
        let record = record.map_err(|why| Flaw::new("RUN", why))?;
        let Some(known) = FIELDS.iter().position(|field| record.name == field.name) else {
            if record.name.starts_with(b"?") {
                continue;
            }
            let why = format!("unknown record {:?}", excerpt(&record.name));
            return Err(Flaw {
                kind: RefusalKind::Unsupported,
                ..Flaw::new("RUN", why)
            });
        };
        let field = &FIELDS[known];
        if seen[known] && !field.repeats {
            return Err(Flaw::new(field.name, "it comes twice"));
        }
        seen[known] = true;
        if field.name == "token" && index > 0 {
            return Err(Flaw::new(field.name, "it is not the first record"));
        }
        let value = excerpt(&record.value);
        (field.read)(&mut draft, record.value)
            .map_err(|why| Flaw::new(field.name, format!("{why}, not {value:?}")))?;
    }
    let request = draft.finish().map_err(|(name, why)| Flaw::new(name, why))?;
    check(&request)?;
    Ok(request)
}

/// What no single record can be blamed for.
fn check(request: &Request) -> Result<(), Flaw> {
    let limits = &request.limits;
    let passes_by = [request.stdout, request.stderr].contains(&StreamMode::Descriptor);
    let needs_bytes = [
        ("idle_timeout", limits.idle_timeout.is_some()),
        ("linger", limits.linger.is_some()),
        ("max_output", limits.max_output.is_some()),
    ];
    for (name, is_set) in needs_bytes {
        if is_set && passes_by {
            let why = "it needs output in frames, and a descriptor was passed for it";
            return Err(Flaw::new(name, why));
        }
    }
    let mut fds = request.fds.clone();
    fds.sort_unstable();
    if let Some(twice) = fds.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(Flaw::new("fd", format!("{} comes twice", twice[0])));
    }
    if request.descriptors() > MAX_DESCRIPTORS {
        let why = format!(
            "{} descriptors are more than {MAX_DESCRIPTORS}",
            request.descriptors()
        );
        return Err(Flaw::new("fd", why));
    }
    if request.terminal && request.stdin != StreamMode::Descriptor {
        return Err(Flaw::new("terminal", "stdin is no passed descriptor"));
    }
    if request.process_group != 0 && (request.session || request.terminal) {
        let why = "the leader of a session cannot join a group";
        return Err(Flaw::new("process_group", why));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{Argv, Invocation, Millis, OnDisconnect, PastMax};

    #[test]
    fn a_request_is_made_of_names_and_values() {
        let records = [("arg", &b"sort"[..]), ("arg", b"-n"), ("stderr", b"null")];
        let mut expected = Request::argv(Argv::new(["sort", "-n"]).unwrap());
        expected.stderr = StreamMode::Null;
        assert_eq!(request_of(records), Ok(expected));
        let refused = |name, value: &[u8]| request_of([(name, value)]).unwrap_err().to_string();
        assert!(refused("line", b"a\0b").contains("line: it holds a NUL"));
        assert!(refused("colour", b"red").contains("unknown record \"colour\""));
        assert!(refused("timeout", b"0").contains("timeout"));
    }

    fn read(records: &str) -> Result<Request, String> {
        let payload = Bytes::from(records.replace('|', "\0"));
        read_run(payload).map_err(|error| error.to_string())
    }

    fn round_trip(request: &Request) -> Request {
        let frame = run(request).unwrap();
        read_run(frame.slice(5..)).unwrap()
    }

    #[test]
    fn a_request_of_everything_arrives_as_it_was_sent() {
        let mut request = Request::argv(Argv::new(["sh", "", "a=b\n"]).unwrap());
        request.token = Some("secret".into());
        request.programs = vec!["/bin/sh".into(), "/usr/bin/sh".into()];
        request.cwd = Some("/".into());
        request.environment.is_cleared = true;
        request.environment.unset = vec!["A".into()];
        request.environment.set = vec!["B=".into(), "C=d=e".into()];
        request.stdin = StreamMode::Descriptor;
        request.stdout = StreamMode::Closed;
        request.stderr = StreamMode::Stdout;
        request.fds = vec![7, 3];
        request.limits.timeout = Millis::new(1);
        request.limits.idle_timeout = Millis::new(2);
        request.limits.queue_timeout = Millis::new(3);
        request.limits.grace = Millis::new(4);
        request.limits.linger = Millis::new(u64::MAX);
        request.limits.max_output = Some(0);
        request.limits.past_max = PastMax::Discard;
        request.on_disconnect = Some(OnDisconnect::Finish);
        request.session = true;
        request.terminal = true;
        request.umask = Some(0o27);
        request.identity.user = Some(0);
        request.identity.group = Some(4_294_967_294);
        request.identity.supplementary_groups = Some(vec![1, 2]);
        request.ignored_signals = vec![1, 13];
        request.pidfd = true;
        assert_eq!(round_trip(&request), request);
        request.identity.supplementary_groups = Some(Vec::new());
        (request.session, request.terminal) = (false, false);
        request.process_group = 2_147_483_647;
        assert_eq!(round_trip(&request), request);
    }

    #[test]
    fn what_a_request_leaves_out_has_its_default() {
        let request = read("line=|").unwrap();
        let mut expected = Request::line("");
        expected.on_disconnect = Some(OnDisconnect::Kill);
        assert_eq!(request, expected);
        assert_eq!(round_trip(&Request::line("")), expected);
        assert_eq!(read("arg=|?new=1|?new=1|").unwrap().invocation, {
            Invocation::Argv(Argv::new([""]).unwrap())
        });
    }
}
