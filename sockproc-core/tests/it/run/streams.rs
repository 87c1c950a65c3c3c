//! Many bytes, in all directions at once.

use std::fs;
use std::io::{Read, Write};
use std::process::Stdio;
use std::thread;

use super::sockproc;
use crate::support::{Transport, memory_kib, on_both_transports};

on_both_transports!(
    all_three_streams_arrive_whole,
    run_takes_no_memory_for_bytes_on_their_way,
);

/// Bytes that differ by where they stand.
fn pattern(len: usize, seed: u32) -> Vec<u8> {
    let mut state = seed | 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn all_three_streams_arrive_whole(on: Transport) {
    let server = on.server();
    for (round, len) in [0, 1, 4_095, 65_537, 300_001, 3_000_000]
        .into_iter()
        .enumerate()
    {
        let errors = pattern(len / 2 + round, 7);
        fs::write(server.path("errors"), &errors).unwrap();
        let input = pattern(len, 3);
        let mut run = sockproc(&["run", "--server"])
            .arg(server.address.full())
            .args(["--", "cat errors >&2 & cat; wait"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdin = run.stdin.take().unwrap();
        let output = thread::scope(|scope| {
            scope.spawn(|| {
                stdin.write_all(&input).unwrap();
                drop(stdin);
            });
            run.wait_with_output().unwrap()
        });
        assert!(output.status.success(), "{len}");
        assert!(output.stdout == input, "{len}: {}", output.stdout.len());
        assert!(output.stderr == errors, "{len}: {}", output.stderr.len());
    }
}

fn run_takes_no_memory_for_bytes_on_their_way(on: Transport) {
    const LEN: u64 = 100 << 20;
    let server = on.server();
    let line = format!("head -c {LEN} /dev/zero; read line");
    let mut run = sockproc(&["run", "--server"])
        .arg(server.address.full())
        .args(["--", &line])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdout = run.stdout.take().unwrap();
    let mut came = std::io::copy(&mut (&mut stdout).take(LEN), &mut std::io::sink()).unwrap();
    for pid in [run.id(), server.pid()] {
        let peak = memory_kib(pid, "VmHWM");
        assert!(peak < 64 << 10, "{peak} KiB");
    }
    drop(run.stdin.take());
    came += std::io::copy(&mut stdout, &mut std::io::sink()).unwrap();
    assert_eq!(came, LEN);
    run.wait().unwrap();
}
