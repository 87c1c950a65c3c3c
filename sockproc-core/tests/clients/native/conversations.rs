//! Two sessions back to back: whatever the order of steps, nothing hangs and nothing is lost.

use proptest::collection::vec;
use proptest::prelude::*;
use sockproc_core::proto::{ExitStatus, ProtocolError, RefusalKind, SignalTo, Stream};

use super::plan::{End, Plan, Step, Text};
use super::world::World;

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_byte_arrives_whatever_the_order_of_steps(
        plan in plan(),
        steps in vec(step(), 0..300),
        most in 300_usize..5000,
    ) {
        let world = talk(plan, &steps, most);
        prop_assert_eq!(&world.end, &Some(End::Exited(ExitStatus::Code(0))));
        prop_assert_eq!(&world.output, &expected(plan));
        prop_assert_eq!(world.ended.len(), 2);
    }

    #[test]
    fn a_client_that_dies_at_any_byte_is_gone_and_never_half_heard(
        plan in plan(),
        steps in vec(step(), 0..300),
        most in 300_usize..5000,
        lasts in 0_usize..30_000,
    ) {
        let plan = Plan { client_lasts: Some(lasts), ..plan };
        let world = talk(plan, &steps, most);
        // Either the client has said all that it had to say, or the server knows that it has gone.
        let is_told = matches!(world.end, Some(End::Exited(ExitStatus::Code(0))));
        prop_assert!(is_told || world.is_gone || world.command.is_none_or(|it| it.exit_status().is_some()));
    }

    #[test]
    fn a_server_that_dies_at_any_byte_is_never_taken_for_a_success(
        plan in plan(),
        steps in vec(step(), 0..300),
        most in 300_usize..5000,
        lasts in 0_usize..30_000,
    ) {
        let plan = Plan { server_lasts: Some(lasts), ..plan };
        let world = talk(plan, &steps, most);
        match world.end {
            Some(End::Exited(_)) => prop_assert_eq!(&world.output, &expected(plan)),
            end => prop_assert_eq!(end, Some(End::Broken(ProtocolError::Truncated))),
        }
    }

    #[test]
    fn a_cancellation_at_any_time_ends_the_conversation(
        plan in plan(),
        before in vec(step(), 0..100),
        after in vec(step(), 0..100),
        most in 300_usize..5000,
    ) {
        let steps = [&before[..], &[Step::ClientCancels], &after, &[Step::ClientCancels]].concat();
        let end = talk(plan, &steps, most).end;
        let killed = ExitStatus::Signal { signal: 15, core_dumped: false };
        prop_assert!(matches!(
            end,
            Some(End::Refused(RefusalKind::Cancelled) | End::Exited(ExitStatus::Code(0)))
        ) || end == Some(End::Exited(killed)), "{:?}", end);
    }

    #[test]
    fn a_refusal_is_heard_however_much_stdin_is_under_way(
        plan in plan(),
        steps in vec(step(), 0..100),
        most in 300_usize..5000,
    ) {
        let end = talk(Plan { is_refused: true, ..plan }, &steps, most).end;
        prop_assert_eq!(end, Some(End::Refused(RefusalKind::Busy)));
    }

    #[test]
    fn signals_before_the_start_are_told_after_it(
        numbers in vec(1_u8..=64, 0..200),
        late in vec(1_u8..=64, 0..10),
    ) {
        let signal = |number: &u8| Step::ClientSignals(*number);
        let mut steps: Vec<Step> = numbers.iter().map(signal).collect();
        steps.extend([Step::ServerReads(100_000), Step::ServerStarts]);
        steps.extend(late.iter().map(signal));
        steps.push(Step::ServerReads(100_000));
        let plan = Plan::default();
        let mut world = World::new(plan);
        for step in steps {
            world.step(step);
        }
        // One of a kind is held before the start, as the kernel holds one that is pending.
        let mut expected = Vec::new();
        for number in numbers {
            if !expected.contains(&(number, SignalTo::Group)) {
                expected.push((number, SignalTo::Group));
            }
        }
        expected.extend(late.iter().map(|number| (*number, SignalTo::Group)));
        prop_assert_eq!(&world.signals, &expected);
    }
}

#[test]
fn a_client_that_writes_all_its_credit_before_it_reads_gets_everything() {
    for len in [0, 1, 16_384, 16_385, 65_536, 200_000] {
        let stdin = Text { len, seed: 1 };
        let plan = Plan {
            stdin,
            is_stubborn: true,
            ..Plan::default()
        };
        let world = talk(plan, &[], 100_000);
        assert_eq!(world.end, Some(End::Exited(ExitStatus::Code(0))), "{len}");
        assert_eq!(world.output[Stream::Stdout as usize], stdin.bytes());
    }
}

fn talk(plan: Plan, steps: &[Step], most: usize) -> World {
    let mut world = World::new(plan);
    for step in steps {
        world.step(*step);
    }
    world.settle(most);
    world
}

/// What the command writes to both streams.
fn expected(plan: Plan) -> [Vec<u8>; 2] {
    let mut stdout = plan.stdin.bytes();
    stdout.truncate(plan.reads.unwrap_or(stdout.len()));
    [stdout, plan.stderr.bytes()]
}

fn plan() -> impl Strategy<Value = Plan> {
    let reads = prop::option::of(0_usize..70_000);
    (text(100_000), text(9_000), reads, any::<bool>()).prop_map(
        |(stdin, stderr, reads, is_stubborn)| Plan {
            stdin,
            stderr,
            reads,
            is_stubborn,
            ..Plan::default()
        },
    )
}

fn text(most: usize) -> impl Strategy<Value = Text> {
    (0..most, any::<u8>()).prop_map(|(len, seed)| Text { len, seed })
}

fn step() -> impl Strategy<Value = Step> {
    let len = 1_usize..4000;
    prop_oneof![
        len.clone().prop_map(Step::ClientWrites),
        len.clone().prop_map(Step::ClientReads),
        len.clone().prop_map(Step::ServerReads),
        Just(Step::ServerStarts),
        len.clone().prop_map(Step::ServerWrites),
        len.prop_map(Step::CommandReads),
    ]
}
