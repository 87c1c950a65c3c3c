//! Which protocol a connection speaks.

use sockproc_core::proto::opening::{GREETING, OPENING};
use sockproc_core::proto::{ClientEvent, RefusalKind};

use super::client::{Client, line};
use crate::support::{Reply, Transport, on_both_transports};

on_both_transports!(
    a_line_of_shell_is_run,
    opening_and_request_may_come_in_one_write_or_byte_by_byte,
    what_is_not_exactly_the_opening_is_a_classic_command,
    another_version_is_refused_in_frames,
);

fn a_line_of_shell_is_run(on: Transport) {
    let server = on.server();
    let told = Client::run(&server, &line("echo out; echo err >&2; exit 3"));
    assert_eq!(
        (told.out().as_str(), told.err().as_str()),
        ("out\n", "err\n")
    );
    assert_eq!(told.code(), 3);
    assert!(told.pid > 1);
    let exit = told.exit();
    assert_eq!((exit.stdout.bytes, exit.stderr.bytes), (4, 4));
    assert_eq!((exit.ended_by, exit.survivors), (None, 0));
    assert!(exit.wall_us > 0);
}

fn opening_and_request_may_come_in_one_write_or_byte_by_byte(on: Transport) {
    let server = on.server();
    let mut session = sockproc_core::proto::native::ClientSession::new();
    let run = session.send_run(&line("echo hi")).unwrap();
    let bytes = [OPENING, &run].concat();
    for piece in [1, 7, bytes.len()] {
        let mut connection = server.connect();
        for part in bytes.chunks(piece) {
            connection.send(part);
        }
        let answer = connection.read_to_end();
        let frames = answer.strip_prefix(GREETING).unwrap();
        let mut session = sockproc_core::proto::native::ClientSession::new();
        session.send_run(&line("echo hi")).unwrap();
        session.receive_data(frames);
        let events = std::iter::from_fn(|| session.next_event().unwrap());
        assert!(matches!(events.last(), Some(ClientEvent::Exited(_))));
    }
}

fn what_is_not_exactly_the_opening_is_a_classic_command(on: Transport) {
    let server = on.server();
    for command in ["#sockproc/", "#sockproc/2 ", "#sockproc/1234567890", "#"] {
        assert_eq!(server.run(command), Reply::new(0, "", ""), "{command}");
    }
    let mut half_closed = server.send("#sockproc/2\r\n");
    half_closed.half_close();
    assert_eq!(half_closed.read_last_reply(), Reply::new(0, "", ""));
}

fn another_version_is_refused_in_frames(on: Transport) {
    let server = on.server();
    let mut client = Client {
        connection: server.send("#sockproc/3\r\n0\r\n"),
        session: sockproc_core::proto::native::ClientSession::new(),
    };
    assert_eq!(client.connection.read_exactly(GREETING.len()), GREETING);
    let told = client.finish();
    assert_eq!(told.refusal().kind, RefusalKind::Unsupported);
}

#[test]
fn a_request_that_is_not_whole_after_30_s_closes_the_connection() {
    let server = Transport::Unix.server();
    let begin = std::time::Instant::now();
    let mut client = Client::open(&server);
    client.connection.send([1, 0, 0, 0]);
    client
        .connection
        .wait_for_end(std::time::Duration::from_secs(40));
    assert!(begin.elapsed() >= std::time::Duration::from_secs(30));
}
