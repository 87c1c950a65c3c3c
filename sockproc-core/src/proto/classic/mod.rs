//! The protocol of the C daemon: one request and one reply a connection.
//!
//! `<command>\r\n<stdin length>\r\n<stdin>` is answered by
//! `status:<wait status>\r\n<n>\r\n<stdout><m>\r\n<stderr>`.

mod client;
mod count;
mod quote;
mod request;
mod server;

pub use client::ClientSession;
use quote::exec_line;
pub use server::{ServerSession, note};

/// The longest command, in bytes: Linux takes no argument of more than 131,072 with its NUL
/// (`MAX_ARG_STRLEN`, execve(2)).
pub const MAX_COMMAND_LEN: usize = 131_071;

/// The longest line that holds a number. The C daemon's buffer left a count some 2,000 bytes.
const MAX_COUNT_LINE_LEN: usize = 4096;

/// The longest line of a reply: `status:`, a sign and the digits of an `int` fit easily.
const MAX_REPLY_LINE_LEN: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::{ClientEvent, Exit, ServerEvent, WaitStatus, transcript};

    fn sent_by(side: char) -> Vec<u8> {
        transcript::sent_by(side, "Classic")
    }

    #[test]
    fn the_transcript_in_protocol_md_is_what_both_sessions_speak() {
        let mut server = ServerSession::new();
        server.receive_data(&sent_by('C'));
        let Some(ServerEvent::Run(request)) = server.next_event().unwrap() else {
            panic!()
        };
        assert_eq!(
            server.next_event(),
            Ok(Some(ServerEvent::Stdin("hi\n".into())))
        );
        let mut client = ClientSession::new();
        let mut bytes = client.send_run(&request).unwrap().to_vec();
        bytes.extend_from_slice(&client.send_stdin("hi\n".into()).unwrap());
        assert_eq!(bytes, sent_by('C'));

        let success = WaitStatus::from_code(0);
        let head = server.send_exited(success, 3);
        let reply = [&head[..], b"HI\n", &server.send_stderr_len(0)].concat();
        assert_eq!(reply, sent_by('S'));
        client.receive_data(&reply);
        let events = std::iter::from_fn(|| client.next_event().unwrap());
        let exit = Exit::new(success.decode());
        let Some(ClientEvent::Exited(told)) = events.last() else {
            panic!()
        };
        assert_eq!(told.status, exit.status);
    }
}
