//! The stdin of a run: from its client to its command, as it comes.

use std::ops::ControlFlow;

use rustix::process::Signal;

use super::socket::Socket;
use crate::process::{Group, Pipe, pump};
use crate::proto::ServerEvent;
use crate::proto::classic::ServerSession;

/// Stdin is moved in pieces of at most so many bytes.
const STDIN_READ_LEN: u64 = 256 * 1024;

/// What came of the rest of a request while its command ran.
#[derive(PartialEq, Eq)]
pub(crate) enum StdinEnd {
    Whole,
    Gone,
}

/// Moves stdin from the client to the command as it comes; closes it at its end.
///
/// A client that goes before it has sent all that it announced takes its command with it: the
/// command's group is killed before its stdin ends, lest it takes half of its input for the whole.
pub(crate) async fn feed(
    socket: &Socket,
    session: &mut ServerSession,
    pipe: Pipe,
    group: Group,
) -> StdinEnd {
    let mut buffer = Vec::new();
    let mut pipe = Some(pipe);
    loop {
        match session.next_event() {
            Ok(Some(ServerEvent::Stdin(data))) => write(&mut pipe, &data).await,
            Ok(Some(ServerEvent::StdinEnd)) => return StdinEnd::Whole,
            _ => {
                let len = session.stdin_left().min(STDIN_READ_LEN);
                buffer.resize(len as usize, 0);
                match socket.read(&mut buffer).await {
                    Ok(0) if !socket.is_hung_up() => session.receive_eof(),
                    Ok(len @ 1..) => {
                        let _ = session.receive_stdin(len as u64);
                        write(&mut pipe, &buffer[..len]).await;
                    }
                    Ok(0) | Err(_) => {
                        group.signal(Signal::KILL);
                        return StdinEnd::Gone;
                    }
                }
            }
        }
    }
}

/// Writes to a command that may have stopped reading: then the rest is nobody's.
async fn write(pipe: &mut Option<Pipe>, data: &[u8]) {
    if let Some(open) = pipe
        && !matches!(pump::feed(open, data).await, Ok(ControlFlow::Continue(())))
    {
        *pipe = None;
    }
}
