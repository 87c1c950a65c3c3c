//! Feeds both sides of the classic protocol: for the fuzz targets, and for the tests that replay their
//! corpora.

use sockproc_core::proto::classic::{ClientSession, ServerSession};
use sockproc_core::proto::{ClientEvent, ProtocolError, Request, ServerEvent, Stream, WaitStatus};

/// Whatever a server sends means the same wherever it is cut.
pub(crate) fn check_answer(wire: &[u8]) {
    let whole = hear_answer([wire]);
    for len in CUTS {
        let cut = hear_answer(cut(wire, &[len]));
        assert_eq!(
            whole.as_ref().ok(),
            cut.as_ref().ok(),
            "cut every {len} bytes"
        );
    }
}

/// Whatever a client sends means the same wherever it is cut, half-closed or not.
pub(crate) fn check_request(wire: &[u8]) {
    for half_close in [false, true] {
        let whole = hear_request([wire], half_close);
        for len in CUTS {
            let cut = hear_request(cut(wire, &[len]), half_close);
            assert_eq!(
                whole.as_ref().ok(),
                cut.as_ref().ok(),
                "cut every {len} bytes"
            );
        }
    }
}

const CUTS: [usize; 4] = [1, 2, 3, 17];

/// What a client understands of an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: Option<WaitStatus>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: Vec<u8>,
}

/// What a server understands of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) request: Option<Box<Request>>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) whole: bool,
}

/// Gives a client an answer in pieces, as its driver does, then end of file.
pub(crate) fn hear_answer<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, ProtocolError> {
    let mut session = ClientSession::new();
    session.send_run(&Request::line("true").with_stdin(0))?;
    let mut answer = Answer::default();
    for piece in pieces {
        receive(&mut session, &mut answer, piece)?;
    }
    session.receive_eof();
    take_events(&mut session, &mut answer)?;
    assert!(session.is_over());
    Ok(answer)
}

/// Puts what belongs to a body there at once, the rest through the session.
fn receive(
    session: &mut ClientSession,
    answer: &mut Answer,
    mut piece: &[u8],
) -> Result<(), ProtocolError> {
    while !piece.is_empty() {
        let direct = match session.payload() {
            None => {
                session.receive_data(piece);
                piece = &[];
                0
            }
            Some((stream, left)) => {
                let len = piece.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                answer.stream(stream).extend(&piece[..len]);
                piece = &piece[len..];
                len
            }
        };
        if direct > 0 {
            session.receive_payload(direct as u64)?;
        }
        take_events(session, answer)?;
    }
    Ok(())
}

fn take_events(session: &mut ClientSession, answer: &mut Answer) -> Result<(), ProtocolError> {
    while let Some(event) = session.next_event()? {
        match event {
            ClientEvent::Announced { .. } => {}
            ClientEvent::Data { stream, data } => answer.stream(stream).extend(data),
            ClientEvent::Exited(exit) => answer.status = exit.status.wait_status(),
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

impl Answer {
    fn stream(&mut self, stream: Stream) -> &mut Vec<u8> {
        match stream {
            Stream::Stdout => &mut self.stdout,
            Stream::Stderr => &mut self.stderr,
        }
    }
}

/// Gives a server a request in pieces, and perhaps a half-close.
pub(crate) fn hear_request<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
    half_close: bool,
) -> Result<Asked, ProtocolError> {
    let mut session = ServerSession::new();
    let mut asked = Asked::default();
    for piece in pieces {
        session.receive_data(piece);
        take_request(&mut session, &mut asked)?;
    }
    if half_close {
        session.receive_eof();
        take_request(&mut session, &mut asked)?;
    }
    Ok(asked)
}

fn take_request(session: &mut ServerSession, asked: &mut Asked) -> Result<(), ProtocolError> {
    while let Some(event) = session.next_event()? {
        match event {
            ServerEvent::Run(request) => assert!(asked.request.replace(request).is_none()),
            ServerEvent::Stdin(data) => asked.stdin.extend(data),
            ServerEvent::StdinEnd => asked.whole = true,
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// `bytes` in pieces of these lengths, over and over.
pub(crate) fn cut<'a>(bytes: &'a [u8], lengths: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = bytes;
    for len in lengths.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, more) = rest.split_at((*len).clamp(1, rest.len()));
        pieces.push(piece);
        rest = more;
    }
    pieces
}
