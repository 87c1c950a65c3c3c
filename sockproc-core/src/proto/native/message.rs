//! The payloads of all control frames but RUN ⇄ values.

use bytes::Bytes;

use super::frame::{FrameType, frame};
use super::record::{self, Record, RecordWriter, Records, Words};
use super::words::{ENDS, KINDS, TREES};
use crate::proto::error::excerpt;
use crate::proto::{
    EndedBy, Exit, ExitStatus, ProtocolError, Refusal, RefusalKind, SignalTo, Stream,
};

const RECIPIENTS: [(&str, SignalTo); 2] =
    [("leader", SignalTo::Leader), ("group", SignalTo::Group)];

/// The longest text in a REFUSED or ERROR frame, so that all of it fits.
const MAX_TEXT_LEN: usize = 1024;

/// The greatest signal number.
const MAX_SIGNAL: u64 = 64;

pub(super) fn started(pid: u32) -> Bytes {
    let mut records = RecordWriter::default();
    records.put_number("pid", pid);
    control(FrameType::Started, records)
}

pub(super) fn read_started(payload: Bytes) -> Result<u32, ProtocolError> {
    let fields = Fields::read(FrameType::Started, payload)?;
    let pid = fields.number("pid", u32::MAX.into())?;
    let pid = pid.ok_or_else(|| fields.flaw("no pid"))?;
    Ok(u32::try_from(pid).unwrap_or(u32::MAX))
}

pub(super) fn credit(bytes: u64) -> Bytes {
    let mut records = RecordWriter::default();
    records.put_number("bytes", bytes);
    control(FrameType::Credit, records)
}

pub(super) fn read_credit(payload: Bytes) -> Result<u64, ProtocolError> {
    let fields = Fields::read(FrameType::Credit, payload)?;
    let bytes = fields.number("bytes", u64::MAX)?;
    bytes.ok_or_else(|| fields.flaw("no bytes"))
}

pub(super) fn signal(number: u8, to: SignalTo) -> Bytes {
    let mut records = RecordWriter::default();
    records.put_number("number", number);
    put_word(&mut records, "to", &RECIPIENTS, Some(to));
    control(FrameType::Signal, records)
}

pub(super) fn read_signal(payload: Bytes) -> Result<(u8, SignalTo), ProtocolError> {
    let fields = Fields::read(FrameType::Signal, payload)?;
    let number = match fields.number("number", MAX_SIGNAL)? {
        Some(number @ 1..) => u8::try_from(number).unwrap_or(u8::MAX),
        _ => return Err(fields.flaw("number is not 1 to 64")),
    };
    let to = match fields.take("to")? {
        None => SignalTo::default(),
        Some(word) => record::meaning(&RECIPIENTS, &word)
            .ok_or_else(|| fields.flaw("to is neither leader nor group"))?,
    };
    Ok((number, to))
}

pub(super) fn exited(exit: &Exit) -> Bytes {
    let mut records = RecordWriter::default();
    match exit.status {
        ExitStatus::Code(code) => records.put_number("exit", code),
        ExitStatus::Signal {
            signal,
            core_dumped,
        } => {
            records.put_number("signal", signal);
            records.put_number("core", core_dumped);
        }
        ExitStatus::Unknown(_) => records.put("unknown", b"1"),
    }
    put_word(&mut records, "ended_by", &ENDS, exit.ended_by);
    for (stream, bytes, cut) in STREAMS {
        records.put_number(bytes, exit.moved(stream).bytes);
        records.put_number(cut, exit.moved(stream).cut);
    }
    records.put_number("survivors", exit.survivors);
    put_word(&mut records, "tree", &TREES, exit.tree);
    records.put_number("wall_us", exit.wall_us);
    records.put_number("user_us", exit.user_us);
    records.put_number("system_us", exit.system_us);
    control(FrameType::Exited, records)
}

pub(super) fn read_exited(payload: Bytes) -> Result<Exit, ProtocolError> {
    let fields = Fields::read(FrameType::Exited, payload)?;
    let mut exit = Exit::new(read_status(&fields)?);
    let ended_by = fields.take("ended_by")?;
    exit.ended_by = ended_by.map(|word| record::meaning(&ENDS, &word).unwrap_or(EndedBy::Other));
    for (stream, bytes, cut) in STREAMS {
        let moved = exit.moved_mut(stream);
        moved.bytes = fields.number(bytes, u64::MAX)?.unwrap_or(0);
        moved.cut = fields.number(cut, u64::MAX)?.unwrap_or(0);
    }
    let survivors = fields.number("survivors", u64::MAX)?.unwrap_or(0);
    exit.survivors = u32::try_from(survivors).unwrap_or(u32::MAX);
    let tree = fields.take("tree")?;
    exit.tree = tree.and_then(|word| record::meaning(&TREES, &word));
    exit.wall_us = fields.number("wall_us", u64::MAX)?.unwrap_or(0);
    exit.user_us = fields.number("user_us", u64::MAX)?.unwrap_or(0);
    exit.system_us = fields.number("system_us", u64::MAX)?.unwrap_or(0);
    Ok(exit)
}

const STREAMS: [(Stream, &str, &str); 2] = [
    (Stream::Stdout, "stdout_bytes", "stdout_cut"),
    (Stream::Stderr, "stderr_bytes", "stderr_cut"),
];

/// Without `exit` and `signal` no one knows how the command ended: it is never taken for a success.
fn read_status(fields: &Fields) -> Result<ExitStatus, ProtocolError> {
    let code = fields.number("exit", u8::MAX.into())?;
    let signal = fields.number("signal", 127)?;
    let core_dumped = fields.flag("core")?.unwrap_or(false);
    match (code, signal) {
        (None, None) => Ok(ExitStatus::Unknown(None)),
        (Some(code), None) if !core_dumped => {
            Ok(ExitStatus::Code(u8::try_from(code).unwrap_or(u8::MAX)))
        }
        (None, Some(signal @ 1..)) => Ok(ExitStatus::Signal {
            signal: u8::try_from(signal).unwrap_or(u8::MAX),
            core_dumped,
        }),
        _ => Err(fields.flaw("exit, signal and core contradict each other")),
    }
}

pub(super) fn refused(refusal: &Refusal) -> Bytes {
    let mut records = RecordWriter::default();
    put_word(&mut records, "kind", &KINDS, Some(refusal.kind));
    if let Some(step) = &refusal.step {
        records.put("step", text(step).as_bytes());
    }
    if let Some(errno) = refusal.errno.and_then(|errno| u32::try_from(errno).ok()) {
        records.put_number("errno", errno);
    }
    records.put("message", text(&refusal.message).as_bytes());
    control(FrameType::Refused, records)
}

pub(super) fn read_refused(payload: Bytes) -> Result<Refusal, ProtocolError> {
    let fields = Fields::read(FrameType::Refused, payload)?;
    let kind = fields.take("kind")?;
    let kind = kind.ok_or_else(|| fields.flaw("no kind"))?;
    let kind = record::meaning(&KINDS, &kind).unwrap_or(RefusalKind::Other);
    let step = fields.take("step")?;
    let errno = fields.number("errno", i32::MAX.unsigned_abs().into())?;
    let message = fields.take("message")?.unwrap_or_default();
    let mut refusal = Refusal::new(kind, String::from_utf8_lossy(&message));
    refusal.step = step.map(|step| String::from_utf8_lossy(&step).into_owned());
    refusal.errno = errno.and_then(|errno| i32::try_from(errno).ok());
    Ok(refusal)
}

pub(super) fn error(message: &str) -> Bytes {
    let mut records = RecordWriter::default();
    records.put("message", text(message).as_bytes());
    control(FrameType::Error, records)
}

pub(super) fn read_error(payload: Bytes) -> Result<String, ProtocolError> {
    let fields = Fields::read(FrameType::Error, payload)?;
    let message = fields.take("message")?.unwrap_or_default();
    Ok(String::from_utf8_lossy(&message).into_owned())
}

/// Checks a frame that says all by its type.
pub(super) fn read_empty(kind: FrameType, payload: Bytes) -> Result<(), ProtocolError> {
    Fields::read(kind, payload).map(|_| ())
}

/// A frame of records without a NUL in any value.
fn control(kind: FrameType, records: RecordWriter) -> Bytes {
    frame(kind, &records.finish().unwrap_or_default())
}

fn put_word<T: Copy + PartialEq>(
    records: &mut RecordWriter,
    name: &'static str,
    words: &Words<T>,
    meaning: Option<T>,
) {
    if let Some(word) = meaning.and_then(|meaning| record::word(words, meaning)) {
        records.put(name, word.as_bytes());
    }
}

/// As much of a text as a frame has room for, without NULs.
fn text(text: &str) -> String {
    let mut text = text.replace('\0', "\u{fffd}");
    let mut len = text.len().min(MAX_TEXT_LEN);
    while !text.is_char_boundary(len) {
        len -= 1;
    }
    text.truncate(len);
    text
}

/// The records of a frame in which no name comes twice; those that were not taken mean nothing to us.
#[derive(Debug)]
struct Fields {
    frame: FrameType,
    records: Vec<Record>,
}

impl Fields {
    fn read(frame: FrameType, payload: Bytes) -> Result<Self, ProtocolError> {
        let mut fields = Self {
            frame,
            records: Vec::new(),
        };
        for record in Records::new(payload) {
            let record = record.map_err(|why| fields.flaw(&why))?;
            fields.records.push(record);
        }
        Ok(fields)
    }

    fn take(&self, name: &str) -> Result<Option<Bytes>, ProtocolError> {
        let records = self.records.iter();
        let mut named = records.filter(|record| record.name == name.as_bytes());
        let value = named.next().map(|record| record.value.clone());
        match named.next() {
            Some(_) => Err(self.flaw(&format!("{name} comes twice"))),
            None => Ok(value),
        }
    }

    fn number(&self, name: &str, most: u64) -> Result<Option<u64>, ProtocolError> {
        let Some(value) = self.take(name)? else {
            return Ok(None);
        };
        match record::number(&value) {
            Some(number) if number <= most => Ok(Some(number)),
            _ => Err(self.flaw(&format!("{name} is {:?}", excerpt(&value)))),
        }
    }

    fn flag(&self, name: &str) -> Result<Option<bool>, ProtocolError> {
        let Some(value) = self.take(name)? else {
            return Ok(None);
        };
        match record::flag(&value) {
            Some(flag) => Ok(Some(flag)),
            None => Err(self.flaw(&format!("{name} is {:?}", excerpt(&value)))),
        }
    }

    fn flaw(&self, why: &str) -> ProtocolError {
        ProtocolError::BadFrame {
            frame: self.frame.name(),
            why: why.to_owned(),
        }
    }
}
