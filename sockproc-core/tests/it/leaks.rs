//! Many runs leave a server as they found it.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::support::{
    Reply, TestServer, Transport, descendants, memory_kib, on_both_transports, poll_until, request,
    settled,
};

on_both_transports!(many_runs_leave_descriptors_memory_and_processes_as_they_were);

/// How many runs each transport gets; `SOCKPROC_TEST_RUNS=10000` for a longer look.
fn runs() -> usize {
    std::env::var("SOCKPROC_TEST_RUNS").map_or(2000, |runs| runs.parse().expect("a number"))
}

fn many_runs_leave_descriptors_memory_and_processes_as_they_were(on: Transport) {
    let server = on.server();
    // The first runs grow pools and caches; what comes after them may not, but for the allocator's own noise.
    run(&server, runs() / 2);
    let before = at_rest(&server);
    run(&server, runs());
    poll_until(|| descendants(server.pid()).is_empty() && server.fd_count() <= before.fds);
    let after = at_rest(&server);
    assert!(
        after.memory < before.memory + (8 << 10),
        "{before:?} {after:?}"
    );
    assert!(after.threads <= before.threads + 4, "{before:?} {after:?}");
    println!("{} runs: {before:?} {after:?}", runs());
}

/// Of every ten clients, eight take their answer and two do not.
fn run(server: &TestServer, runs: usize) {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    match number % 10 {
                        _ if number >= runs => break,
                        0 => server.send(request("true", "")).vanish(),
                        1 => server.send("cat\r\n5\r\nabc").vanish(),
                        2 => assert_eq!(server.run("kill -9 $$").status, 9),
                        3 => assert_eq!(
                            server.run("head -c 100000 /dev/zero >&2").stderr.len(),
                            100_000
                        ),
                        4 => assert_eq!(
                            server.run("(sleep 0.01; echo late) & exit 3"),
                            Reply::new(768, "late\n", "")
                        ),
                        5 if number % 100 == 5 => assert_eq!(
                            server.run("head -c 2000000 /dev/zero").stdout.len(),
                            2_000_000
                        ),
                        _ => assert_eq!(
                            server.run_with("cat", number.to_string()).out(),
                            number.to_string()
                        ),
                    }
                }
            });
        }
    });
}

#[derive(Debug)]
struct Figures {
    fds: usize,
    threads: u64,
    memory: u64,
}

/// The server's figures once they no longer change.
fn at_rest(server: &TestServer) -> Figures {
    poll_until(|| descendants(server.pid()).is_empty());
    let fds = settled(20, || server.fd_count());
    let threads = std::fs::read_dir(format!("/proc/{}/task", server.pid()))
        .unwrap()
        .count() as u64;
    Figures {
        fds,
        threads,
        memory: memory_kib(server.pid(), "VmRSS"),
    }
}
