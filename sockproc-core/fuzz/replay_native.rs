//! Feeds both sides of the native protocol, opening included: for the fuzz targets, and for the tests
//! that replay their corpora.

use sockproc_core::proto::native::{ClientSession, ServerSession};
use sockproc_core::proto::opening::{Answer, ClientOpening, FirstBytes, VERSION};
use sockproc_core::proto::{ClientEvent, ProtocolError, Request, ServerEvent, StreamMode};

use super::replay::cut;

const CUTS: [usize; 4] = [1, 2, 3, 17];

/// Whatever a server sends means the same wherever it is cut.
pub(crate) fn check_native_answer(wire: &[u8]) {
    let whole = hear_server([wire], &everything_in_frames());
    for len in CUTS {
        let cut = hear_server(cut(wire, &[len]), &everything_in_frames());
        assert_eq!(whole, cut, "cut every {len} bytes");
    }
}

/// Whatever a client sends means the same wherever it is cut, whether its command starts or not.
pub(crate) fn check_native_request(wire: &[u8]) {
    for starts in [false, true] {
        let whole = hear_client([wire], starts);
        for len in CUTS {
            let cut = hear_client(cut(wire, &[len]), starts);
            assert_eq!(whole, cut, "cut every {len} bytes");
        }
    }
}

/// A request whose three streams all go in frames.
pub(crate) fn everything_in_frames() -> Request {
    let mut request = Request::line("cat");
    request.stdin = StreamMode::Piped;
    request
}

/// What one side told the other, and how that ended.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Heard<Event> {
    /// Bytes of one stream that come behind each other are one event.
    pub(crate) events: Vec<Event>,
    pub(crate) error: Option<ProtocolError>,
    /// What the client may send at the end; always 0 for a server.
    pub(crate) credit: usize,
}

impl<Event> Heard<Event> {
    fn new() -> Self {
        Self {
            events: Vec::new(),
            error: None,
            credit: 0,
        }
    }
}

/// Gives a client what a server sends in pieces, as its driver does, then end of file.
pub(crate) fn hear_server<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    request: &Request,
) -> Heard<ClientEvent> {
    let mut heard = Heard::new();
    let mut opening = Some(ClientOpening::new());
    let mut session = ClientSession::new();
    session.send_run(request).unwrap();
    for piece in pieces {
        let mut rest = piece.to_vec();
        if let Some(open) = &mut opening {
            open.receive_data(piece);
            match open.answer() {
                Ok(None) => continue,
                Ok(Some(Answer::Native { rest: behind })) => rest = behind.to_vec(),
                Ok(Some(_)) => return heard,
                Err(error) => {
                    return Heard {
                        error: Some(unquoted(error)),
                        ..heard
                    };
                }
            }
            opening = None;
        }
        receive(&mut session, &mut heard, &rest);
    }
    if let Some(mut open) = opening {
        open.receive_eof();
        heard.error = open.answer().err().map(unquoted);
        return heard;
    }
    session.receive_eof();
    take_client_events(&mut session, &mut heard);
    assert!(heard.error.is_some() || session.is_over());
    heard.credit = session.stdin_credit();
    heard
}

/// Tells bytes of output at once where they belong, feeds all others to the session.
fn receive(session: &mut ClientSession, heard: &mut Heard<ClientEvent>, mut piece: &[u8]) {
    while !piece.is_empty() && heard.error.is_none() {
        if let Some((stream, left)) = session.payload() {
            let len = piece.len().min(usize::try_from(left).unwrap());
            let data = piece[..len].to_vec().into();
            session.receive_payload(len as u64).unwrap();
            add_client_event(heard, ClientEvent::Data { stream, data });
            piece = &piece[len..];
        } else {
            session.receive_data(piece);
            piece = &[];
        }
        take_client_events(session, heard);
    }
}

fn take_client_events(session: &mut ClientSession, heard: &mut Heard<ClientEvent>) {
    loop {
        match session.next_event() {
            Ok(Some(event)) => add_client_event(heard, event),
            Ok(None) => return,
            Err(error) => {
                heard.error = Some(error);
                return;
            }
        }
    }
}

fn add_client_event(heard: &mut Heard<ClientEvent>, event: ClientEvent) {
    if let ClientEvent::Data { stream, data } = &event {
        assert!(!data.is_empty());
        if let Some(ClientEvent::Data {
            stream: last,
            data: begun,
        }) = heard.events.last_mut()
            && last == stream
        {
            *begun = [&begun[..], data].concat().into();
            return;
        }
    }
    heard.events.push(event);
}

/// An error quotes what had come by then, so that part depends on the cuts.
fn unquoted(error: ProtocolError) -> ProtocolError {
    match error {
        ProtocolError::Unexpected { expected, .. } => ProtocolError::Unexpected {
            expected,
            got: String::new(),
        },
        error => error,
    }
}

/// Gives a server what a client sends in pieces, as its driver does, then end of file. The command
/// starts at once, or not at all.
pub(crate) fn hear_client<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    starts: bool,
) -> Heard<ServerEvent> {
    let mut heard = Heard::new();
    let mut first = Some(Vec::new());
    let mut session = ServerSession::new();
    for piece in pieces {
        let mut rest = piece.to_vec();
        if let Some(bytes) = &mut first {
            bytes.extend_from_slice(piece);
            match FirstBytes::of(bytes) {
                FirstBytes::Native {
                    version: VERSION,
                    len,
                } => rest = bytes.split_off(len),
                FirstBytes::Unfinished => continue,
                _ => return heard,
            }
            first = None;
        }
        hear_stdin(&mut session, &mut heard, &rest, starts);
    }
    session.receive_eof();
    take_server_events(&mut session, &mut heard, starts);
    heard
}

/// Tells bytes of stdin at once, feeds all others to the session.
fn hear_stdin(
    session: &mut ServerSession,
    heard: &mut Heard<ServerEvent>,
    mut piece: &[u8],
    starts: bool,
) {
    while !piece.is_empty() && heard.error.is_none() {
        let left = usize::try_from(session.stdin_left()).unwrap();
        if left > 0 {
            let len = piece.len().min(left);
            session.receive_stdin(len as u64).unwrap();
            add_server_event(heard, ServerEvent::Stdin(piece[..len].to_vec().into()));
            piece = &piece[len..];
        } else {
            session.receive_data(piece);
            piece = &[];
        }
        take_server_events(session, heard, starts);
    }
}

fn take_server_events(session: &mut ServerSession, heard: &mut Heard<ServerEvent>, starts: bool) {
    loop {
        match session.next_event() {
            Ok(Some(event)) => {
                if starts && matches!(event, ServerEvent::Run(_)) {
                    session.send_started(7).unwrap();
                }
                add_server_event(heard, event);
            }
            Ok(None) => return,
            Err(error) => {
                let answer = session.send_failed(&error);
                assert!(session.is_over() && !answer.is_empty() && answer.len() < 4096);
                heard.error = Some(error);
                return;
            }
        }
    }
}

fn add_server_event(heard: &mut Heard<ServerEvent>, event: ServerEvent) {
    if let ServerEvent::Stdin(data) = &event {
        assert!(!data.is_empty());
        if let Some(ServerEvent::Stdin(begun)) = heard.events.last_mut() {
            *begun = [&begun[..], data].concat().into();
            return;
        }
    }
    heard.events.push(event);
}
