//! The protocol of frames: output as it comes, argument vectors, limits, signals, and descriptors that
//! pass by.
//!
//! Its opening, which tells it from the classic protocol, is in [`opening`](super::opening).

mod client;
mod credit;
mod deframer;
mod field;
mod frame;
mod message;
mod record;
#[cfg(test)]
mod refusals;
mod run;
mod server;
mod signals;
mod state;
mod value;
mod words;

pub use client::ClientSession;
pub use credit::{FIRST_WINDOW, WINDOW};
pub use frame::{HEADER_LEN, Header, MAX_CONTROL_LEN, MAX_DATA_LEN, MAX_RUN_LEN};
pub use run::{MAX_DESCRIPTORS, request_of};
pub use server::ServerSession;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::opening::{FirstBytes, GREETING, OPENING};
    use crate::proto::{ClientEvent, Exit, ServerEvent, Stream, WaitStatus, transcript};

    fn sent_by(side: char) -> Vec<u8> {
        transcript::sent_by(side, "Native")
    }

    #[test]
    fn protocol_md_names_every_record_of_run_and_whether_it_repeats() {
        let document = include_str!("../../../PROTOCOL.md");
        let (_, section) = document.split_once("\n### RUN").unwrap();
        let rows = section.split("\n### ").next().unwrap().lines();
        let mut told = Vec::new();
        for cell in rows.filter_map(|row| row.strip_prefix("| `")?.split('|').next()) {
            let names = cell
                .split('`')
                .filter(|name| name.starts_with(char::is_alphabetic));
            told.extend(names.map(|name| (name, cell.contains('*'))));
        }
        let fields = field::FIELDS.iter();
        let mut known: Vec<_> = fields.map(|field| (field.name, field.repeats)).collect();
        told.sort_unstable();
        known.sort_unstable();
        assert_eq!(told, known);
    }

    #[test]
    fn the_client_of_the_transcript_in_protocol_md_is_understood_and_written() {
        let wire = sent_by('C');
        let len = OPENING.len();
        let opening = FirstBytes::Native { version: 2, len };
        assert_eq!(FirstBytes::of(&wire), opening);
        let mut server = ServerSession::new();
        server.receive_data(&wire[len..]);
        let Some(ServerEvent::Run(request)) = server.next_event().unwrap() else {
            panic!()
        };
        let stdin = ServerEvent::Stdin("hi\n".into());
        assert_eq!(server.next_event(), Ok(Some(stdin)));
        assert_eq!(server.next_event(), Ok(Some(ServerEvent::StdinEnd)));
        assert_eq!(server.next_event(), Ok(None));

        let mut client = ClientSession::new();
        let mut written = [OPENING, &client.send_run(&request).unwrap()].concat();
        written.extend(client.send_stdin("hi\n".into()).unwrap().concat());
        written.extend(client.send_stdin_end().unwrap());
        assert_eq!(written, wire);
    }

    #[test]
    fn the_server_of_the_transcript_in_protocol_md_is_understood_and_written() {
        let wire = sent_by('S');
        let mut exit = Exit::new(WaitStatus::from_code(0).decode());
        exit.stdout.bytes = 3;
        (exit.wall_us, exit.user_us, exit.system_us) = (1900, 700, 300);
        let mut client = ClientSession::new();
        let mut server = ServerSession::new();
        let request = crate::proto::Request::line("tr a-z A-Z");
        server.receive_data(&client.send_run(&request).unwrap());
        server.next_event().unwrap();
        let written = [
            GREETING,
            &server.send_started(4242).unwrap(),
            &server.send_data(Stream::Stdout, 3).unwrap(),
            b"HI\n",
            &server.send_end(Stream::Stdout).unwrap(),
            &server.send_end(Stream::Stderr).unwrap(),
            &server.send_exited(&exit).unwrap(),
        ];
        assert_eq!(written.concat(), wire);

        client.receive_data(&wire[GREETING.len()..]);
        let events = std::iter::from_fn(|| client.next_event().unwrap());
        assert_eq!(events.last(), Some(ClientEvent::Exited(exit)));
    }
}
