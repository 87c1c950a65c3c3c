//! Clients whose bytes end anywhere.

use sockproc_core::proto::opening::OPENING;

use super::bystanders::Bystanders;
use super::wire::*;
use crate::support::{Transport, marked, on_both_transports, poll_until};

on_both_transports!(
    a_client_that_goes_at_any_byte_of_its_request_has_asked_for_nothing,
    a_client_that_half_closes_at_any_byte_gets_no_success,
);

fn a_client_that_goes_at_any_byte_of_its_request_has_asked_for_nothing(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    let run = ask("line=echo >> ran|stdin=frames|");
    for cut in OPENING.len()..run.len() {
        server.send(&run[..cut]).vanish();
    }
    bystanders.are_untouched();
    assert!(!server.path("ran").exists());
}

/// The command writes a file only once its stdin is whole, and its stdin is never said to be.
fn a_client_that_half_closes_at_any_byte_gets_no_success(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    let mark = format!("cut.{}", server.pid());
    let line = "cat > half; echo >> whole";
    let run = ask(&format!(
        "line={line}|stdin=frames|env=SOCKPROC_TEST_MARK={mark}|"
    ));
    let exchange = [&run[..], &frame(STDIN, "stdin"), &frame(STDIN_END, "")].concat();
    for cut in OPENING.len()..exchange.len() {
        let mut client = server.send(&exchange[..cut]);
        client.half_close();
        let heard = Heard::parse(&client.read_to_end());
        assert!(!heard.has(EXITED), "{cut}: {:x?}", heard.kinds());
        assert!(cut >= run.len() || heard.frames.is_empty(), "{cut}");
    }
    poll_until(|| marked(&mark).is_empty());
    bystanders.are_untouched();
    assert!(!server.path("whole").exists());
}
