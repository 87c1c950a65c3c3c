//! Both sides of the protocol, fed in pieces.

use proptest::collection::vec;
use proptest::prelude::*;
use sockproc_core::proto::classic::{ClientSession, ServerSession};
use sockproc_core::proto::{Request, WaitStatus};

use super::replay::{Answer, Asked, cut, hear_answer, hear_request};

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
        let request = Request::line(command).with_stdin(stdin.len() as u64);
        let head = client.send_run(&request).unwrap();
        let wire = [&head[..], &stdin].concat();
        let asked = Asked { request: Some(Box::new(request)), stdin, whole: true };
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
