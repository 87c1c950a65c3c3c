//! Output as it comes, stdin within its credit, and the modes of the streams.

use std::time::Duration;

use sockproc_core::proto::{ClientEvent, Stream, StreamMode};

use super::client::{Client, argv, line, timed};
use crate::support::{Transport, on_both_transports};

on_both_transports!(
    output_comes_while_the_command_runs,
    the_end_of_a_stream_is_told_while_the_run_goes_on,
    a_writer_learns_that_no_one_reads_its_stdin,
    bytes_come_as_they_were_sent_whatever_their_size,
    stdin_is_null_unless_it_is_asked_for,
    a_closed_stream_is_not_open_in_the_command,
    stderr_goes_where_stdout_goes,
);

fn output_comes_while_the_command_runs(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("echo a; read x; echo b"));
    client.wait_for_start();
    let first = client.next();
    let data = "a\n".into();
    let stream = Stream::Stdout;
    assert_eq!(first, Some(ClientEvent::Data { stream, data }));
    client.send_stdin("\n");
    let told = client.finish();
    assert_eq!((told.out().as_str(), told.code()), ("b\n", 0));
}

fn the_end_of_a_stream_is_told_while_the_run_goes_on(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("exec 1>&-; sleep 9"));
    client.wait_for_start();
    let (event, elapsed) = timed(|| client.next());
    assert_eq!(event, Some(ClientEvent::End(Stream::Stdout)));
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

fn a_writer_learns_that_no_one_reads_its_stdin(on: Transport) {
    let server = on.server();
    let mut client = Client::ask(&server, &line("exec 0<&-; sleep 9"));
    client.wait_for_start();
    let (event, elapsed) = timed(|| client.next());
    assert_eq!(event, Some(ClientEvent::StdinClosed));
    assert!(elapsed < Duration::from_secs(2), "{elapsed:?}");
}

fn bytes_come_as_they_were_sent_whatever_their_size(on: Transport) {
    let server = on.server();
    for len in [0, 1, 16_384, 65_537, 3_000_000] {
        let sent: Vec<u8> = (0..len).map(|n: u32| (n % 251) as u8).collect();
        let mut client = Client::ask(&server, &line("tee /dev/stderr"));
        let mut told = super::client::Told::default();
        let mut rest = &sent[..];
        while !rest.is_empty() {
            let here = client.session.stdin_credit().min(rest.len());
            if here > 0 {
                client.send_stdin(rest[..here].to_vec());
                rest = &rest[here..];
            } else if let Some(event) = client.next_or_credit() {
                told.take(event);
            }
        }
        client.end_stdin();
        while let Some(event) = client.next() {
            told.take(event);
        }
        assert_eq!(told.code(), 0);
        assert!(told.stdout == sent && told.stderr == sent, "{len}");
        assert_eq!(told.exit().stdout.bytes, u64::from(len));
        assert_eq!(told.ends.len(), 2);
    }
}

fn stdin_is_null_unless_it_is_asked_for(on: Transport) {
    let server = on.server();
    let mut request = argv(&["readlink", "/proc/self/fd/0"]);
    assert_eq!(Client::run(&server, &request).out(), "/dev/null\n");
    request.stderr = StreamMode::Null;
    request.stdin = StreamMode::Piped;
    let told = Client::run(&server, &request);
    assert!(told.out().starts_with("pipe:"), "{told:?}");
    assert_eq!(told.ends, [Stream::Stdout]);
}

fn a_closed_stream_is_not_open_in_the_command(on: Transport) {
    let server = on.server();
    let script = "for fd in 0 1 2; do [ -e /proc/$$/fd/$fd ] && echo $fd >&2; done";
    let mut request = line(script);
    request.stdin = StreamMode::Closed;
    request.stdout = StreamMode::Closed;
    assert_eq!(Client::run(&server, &request).err(), "2\n");
    request.stderr = StreamMode::Stdout;
    assert_eq!(Client::run(&server, &request).err(), "");
}

fn stderr_goes_where_stdout_goes(on: Transport) {
    let server = on.server();
    let mut request = line("echo a; echo b >&2; echo c");
    request.stderr = StreamMode::Stdout;
    let told = Client::run(&server, &request);
    assert_eq!(
        (told.out().as_str(), told.err().as_str()),
        ("a\nb\nc\n", "")
    );
    assert_eq!(told.ends, [Stream::Stdout]);
}
