//! A run that is ended takes its whole tree with it, and nothing of its neighbour's.

use std::time::{Duration, Instant};

use crate::support::{
    A_WHILE, Connection, TestServer, Transport, is_alive, marked, on_both_transports, poll_until,
    request, settled, state_of,
};

on_both_transports!(
    a_pipeline_is_ended,
    a_child_in_a_session_of_its_own_that_keeps_the_pipes_is_ended,
    a_child_in_a_session_of_its_own_that_lets_go_of_the_pipes_is_ended,
    an_orphan_that_keeps_a_pipe_is_ended,
    an_orphan_of_a_leader_that_has_exited_is_ended,
    a_tree_that_ignores_sigterm_is_ended,
    a_stopped_group_is_ended,
    a_grandchild_three_levels_down_is_ended,
    a_fork_bomb_of_two_hundred_is_ended,
);

/// From SIGTERM to SIGKILL, in these tests.
const GRACE: Duration = Duration::from_millis(300);

/// The time from a client's end to the end of the last process, beyond the grace period; on a machine
/// that is busy with other tests, many times of what it takes.
const MARGIN: Duration = Duration::from_secs(10);

/// How many runs of each kind; `SOCKPROC_TEST_TREES=100` for a longer look.
fn runs() -> usize {
    std::env::var("SOCKPROC_TEST_TREES").map_or(10, |runs| runs.parse().expect("a number"))
}

fn a_pipeline_is_ended(on: Transport) {
    ended(on, "sleep 1000 | sleep 1000 | sleep 1000", 4);
}

fn a_child_in_a_session_of_its_own_that_keeps_the_pipes_is_ended(on: Transport) {
    ended(
        on,
        "setsid sh -c 'trap \"\" TERM; sleep 1000; :' & sleep 1000; :",
        4,
    );
}

fn a_child_in_a_session_of_its_own_that_lets_go_of_the_pipes_is_ended(on: Transport) {
    ended(
        on,
        "setsid sleep 1000 </dev/null >/dev/null 2>&1 & sleep 1000; :",
        3,
    );
}

fn an_orphan_that_keeps_a_pipe_is_ended(on: Transport) {
    ended(on, "(setsid setsid sleep 1000 &); sleep 1000; :", 3);
}

/// A classic run goes on until its streams end.
fn an_orphan_of_a_leader_that_has_exited_is_ended(on: Transport) {
    ended(
        on,
        "setsid sh -c 'setsid sleep 1000 & exec sleep 1000' & exit 3",
        2,
    );
}

fn a_tree_that_ignores_sigterm_is_ended(on: Transport) {
    ended(on, "trap '' TERM; sleep 1000 & sleep 1000; :", 3);
}

fn a_stopped_group_is_ended(on: Transport) {
    ended(on, "sleep 1000 & kill -STOP 0; :", 2);
}

fn a_grandchild_three_levels_down_is_ended(on: Transport) {
    ended(on, "(: ; (: ; (sleep 1000; :); :); :); :", 5);
}

fn a_fork_bomb_of_two_hundred_is_ended(on: Transport) {
    let bomb =
        "f() { if [ $1 -gt 0 ]; then f $(($1 - 1)) & f $(($1 - 1)) & fi; exec sleep 1000; }; f 7";
    let server = server(on);
    for number in 0..runs() / 5 {
        let mark = format!("bomb{number}.{}", server.pid());
        let client = start(&server, &mark, bomb);
        poll_until(|| marked(&mark).len() >= 200);
        client.vanish();
        poll_until(|| marked(&mark).is_empty());
    }
}

#[test]
fn a_worker_whose_shell_dies_first_has_its_whole_grace_to_clean_up() {
    let server = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill", "--grace", "20000"])
        .start();
    let worker =
        "trap 'sleep 0.3; echo > cleaned; exit' TERM; echo > ready; while :; do sleep 0.01; done";
    let client = server.send(request(format!("sh -c \"{worker}\"; true"), ""));
    server.wait_for("ready");
    client.vanish();
    server.wait_for("cleaned");
}

#[test]
fn the_grace_lasts_until_the_tree_is_empty_and_no_longer() {
    let server = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill", "--grace", "60000"])
        .start();
    let before = server.settled_fd_count();
    let mark = format!("short.{}", server.pid());
    let client = start(&server, &mark, "sleep 1000 | sleep 1000");
    poll_until(|| marked(&mark).len() == 3);
    client.vanish();
    // The run's descriptors come back when it is over.
    poll_until(|| server.fd_count() == before);
}

#[test]
fn a_stopped_command_has_its_grace_to_clean_up_too() {
    let server = Transport::Unix
        .setup()
        .serve(["--classic-on-disconnect", "kill", "--grace", "60000"])
        .start();
    let command = "trap 'echo > cleaned; exit' TERM; echo $$ > pid; kill -STOP $$; sleep 1000; :";
    let client = server.send(request(command, ""));
    let pid = server.wait_for("pid").trim().parse().unwrap();
    poll_until(|| state_of(pid) == Some('T'));
    client.vanish();
    server.wait_for("cleaned");
}

/// Ends many such runs at once, and looks that each is gone and that its neighbour lives on.
fn ended(on: Transport, command: &str, processes: usize) {
    let server = server(on);
    let pid = server.pid();
    let neighbour_mark = format!("neighbour.{pid}");
    let _neighbour = start(
        &server,
        &neighbour_mark,
        "setsid sleep 1000 & sleep 1000; :",
    );
    poll_until(|| marked(&neighbour_mark).len() == 3);
    let neighbours = marked(&neighbour_mark);
    let mark = format!("ended.{pid}");
    let runs = runs();
    let clients: Vec<_> = (0..runs).map(|_| start(&server, &mark, command)).collect();
    poll_until(|| marked(&mark).len() == runs * processes);
    // What is started by a shell that has just been started may still be on its way.
    let all = settled(3, || marked(&mark));
    let begin = Instant::now();
    clients.into_iter().for_each(Connection::vanish);
    // A process that exits loses its environment before it counts as dead.
    poll_until(|| marked(&mark).is_empty() && !all.iter().any(|&pid| is_alive(pid)));
    assert!(begin.elapsed() < GRACE + MARGIN, "{:?}", begin.elapsed());
    std::thread::sleep(A_WHILE);
    assert_eq!(marked(&neighbour_mark), neighbours);
}

fn server(on: Transport) -> TestServer {
    let grace = GRACE.as_millis().to_string();
    on.setup()
        .serve(["--classic-on-disconnect", "kill", "--grace", &grace])
        .start()
}

/// A run whose processes all have `mark` in their environment.
fn start(server: &TestServer, mark: &str, command: &str) -> Connection {
    let quoted = command.replace('\'', r"'\''");
    server.send(request(
        format!("SOCKPROC_TEST_MARK={mark} exec sh -c '{quoted}'"),
        "",
    ))
}
