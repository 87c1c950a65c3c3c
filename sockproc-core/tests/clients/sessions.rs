//! Both sides of the protocol, fed in pieces.

use bytes::Bytes;
use proptest::collection::vec;
use proptest::prelude::*;
use sockproc_core::proto::classic::{ClientSession, ServerSession};
use sockproc_core::proto::{ClientEvent, ProtocolError, Request, ServerEvent, Stream, WaitStatus};

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
    pub(crate) request: Option<Request>,
    pub(crate) stdin: Vec<u8>,
    pub(crate) whole: bool,
}

/// Gives a client an answer in pieces, as its driver does, then end of file.
pub(crate) fn hear_answer<'a>(
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> Result<Answer, ProtocolError> {
    let mut session = ClientSession::new();
    let request = Request {
        command: Bytes::from_static(b"true"),
        stdin_len: 0,
    };
    session.send_run(&request)?;
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
            ClientEvent::Exited(status) => answer.status = Some(status),
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

proptest! {
    #[test]
    fn an_answer_means_the_same_wherever_it_is_cut(
        raw in any::<i32>(),
        stdout in vec(any::<u8>(), 0..300),
        stderr in vec(any::<u8>(), 0..300),
        lengths in vec(1_usize..50, 1..20),
    ) {
        let server = ServerSession::new();
        let status = WaitStatus::from_raw(raw);
        let wire = [
            &server.send_exited(status, stdout.len() as u64)[..],
            &stdout,
            &server.send_stderr_len(stderr.len() as u64),
            &stderr,
        ].concat();
        let answer = Answer { status: Some(status), stdout, stderr };
        prop_assert_eq!(hear_answer(cut(&wire, &lengths)), Ok(answer));
    }

    #[test]
    fn a_request_means_the_same_wherever_it_is_cut(
        command in vec(1_u8.., 0..300),
        stdin in vec(any::<u8>(), 0..300),
        lengths in vec(1_usize..50, 1..20),
    ) {
        prop_assume!(!command.windows(2).any(|pair| pair == b"\r\n"));
        let mut client = ClientSession::new();
        let request = Request { command: command.into(), stdin_len: stdin.len() as u64 };
        let head = client.send_run(&request).unwrap();
        let wire = [&head[..], &stdin].concat();
        let asked = Asked { request: Some(request), stdin, whole: true };
        prop_assert_eq!(hear_request(cut(&wire, &lengths), false), Ok(asked));
    }

    #[test]
    fn what_is_no_answer_is_the_same_error_wherever_it_is_cut(
        wire in "(status:)?[0-9a-z:+ -]{0,30}(\r\n)?[0-9]{0,20}(\r\n)?[0-9]{0,3}(\r\n)?.{0,10}",
        lengths in vec(1_usize..10, 1..20),
    ) {
        let wire = wire.as_bytes();
        let whole = hear_answer([wire]);
        let cut = hear_answer(cut(wire, &lengths));
        // An error quotes what had come by then.
        prop_assert_eq!(whole.as_ref().ok(), cut.as_ref().ok());
        prop_assert_eq!(
            whole.map_err(|error| std::mem::discriminant(&error)).err(),
            cut.map_err(|error| std::mem::discriminant(&error)).err()
        );
    }
}
