//! What published clients send, with their bytes and the borders between their sends.

use std::time::Duration;

use crate::support::{Reply, Transport, on_both_transports};

on_both_transports!(
    resty_shell_sends_three_times_and_does_not_half_close,
    resty_shell_without_data_sends_an_empty_third_time,
    resty_shell_reads_line_by_line_and_closes,
    resty_shell_at_its_timeout_closes_and_the_command_goes_on,
    auto_ssl_sends_quoted_words,
    echo_into_socat_is_answered,
    echo_into_socat_outlives_socat,
    socat_without_a_count_is_answered,
);

/// `sock:send(cmd .. "\r\n"); sock:send(format("%d\r\n", #input_data)); sock:send(input_data)`
fn resty_shell_sends_three_times_and_does_not_half_close(on: Transport) {
    let server = on.server();
    let mut connection = server.connect();
    for part in [
        "perl -v 2>/dev/null | head -c 0; wc -c\r\n",
        "15\r\n",
        "hello\r\nworld!\r\n",
    ] {
        connection.send(part);
    }
    let reply = connection.read_last_reply();
    assert_eq!(
        (reply.status, reply.out().trim().to_owned()),
        (0, "15".to_owned())
    );
}

fn resty_shell_without_data_sends_an_empty_third_time(on: Transport) {
    let server = on.server();
    let mut connection = server.connect();
    for part in ["uname -a >&2\r\n", "0\r\n", ""] {
        connection.send(part);
    }
    let reply = connection.read_last_reply();
    assert!(
        reply.status == 0 && reply.stdout.is_empty() && !reply.stderr.is_empty(),
        "{reply:?}"
    );
}

fn resty_shell_reads_line_by_line_and_closes(on: Transport) {
    let server = on.server();
    for _ in 0..20 {
        let mut connection = server.connect();
        for part in ["echo out; echo err >&2; exit 2\r\n", "0\r\n", ""] {
            connection.send(part);
        }
        // It closes when it has its bytes, without having read the end of file.
        assert_eq!(connection.read_reply(), Reply::new(512, "out\n", "err\n"));
    }
}

fn resty_shell_at_its_timeout_closes_and_the_command_goes_on(on: Transport) {
    let server = on.server();
    let mut connection = server.connect();
    for part in ["sleep 0.5; cat > ran\r\n", "5\r\n", "data\n"] {
        connection.send(part);
    }
    assert!(connection.is_silent_for(Duration::from_millis(100)));
    drop(connection);
    assert_eq!(server.wait_for("ran"), "data\n");
}

/// Recorded from lua-resty-auto-ssl: `shell_join` quotes what is not plain.
fn auto_ssl_sends_quoted_words(on: Transport) {
    let server = on.server();
    let mut connection = server.connect();
    let command = "env 'HOOK_SECRET=0123abcd' HOOK_SERVER_PORT=8999 sh -c 'echo \"$HOOK_SECRET\" \"$@\"' dehydrated --cron \
                   --accept-terms --no-lock --domain 'example.com' '--config=/etc/resty-auto-ssl/it'\"'\"'s'\r\n";
    for part in [command, "0\r\n", ""] {
        connection.send(part);
    }
    let expected = "0123abcd --cron --accept-terms --no-lock --domain example.com --config=/etc/resty-auto-ssl/it's\n";
    assert_eq!(connection.read_last_reply(), Reply::new(0, expected, ""));
}

/// `echo -e 'cmd\r\n0\r\n' | socat - SERVER`: a newline too many, then half-closed at once.
fn echo_into_socat_is_answered(on: Transport) {
    let server = on.server();
    let mut connection = server.send("echo hi\r\n0\r\n\n");
    connection.half_close();
    assert_eq!(connection.read_reply(), Reply::new(0, "hi\n", ""));
}

/// socat leaves half a second after its half-close.
fn echo_into_socat_outlives_socat(on: Transport) {
    let server = on.server();
    let connection = server.send("echo > started; sleep 1; echo yes > ran; echo out\r\n0\r\n\n");
    connection.half_close();
    server.wait_for("started");
    assert!(connection.is_silent_for(Duration::from_millis(500)));
    drop(connection);
    assert_eq!(server.wait_for("ran"), "yes\n");
    assert_eq!(server.run("echo next").out(), "next\n");
}

/// `printf 'cmd\r\n' | socat - SERVER`
fn socat_without_a_count_is_answered(on: Transport) {
    let server = on.server();
    let mut connection = server.send("echo hi; cat\r\n");
    connection.half_close();
    assert_eq!(connection.read_last_reply(), Reply::new(0, "hi\n", ""));
}
