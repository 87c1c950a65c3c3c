//! Streams of any size, in all three directions at once.

use std::fs;
use std::time::Instant;

use sockproc_core::proto::{ClientEvent, StreamMode};

use super::runs;
use crate::native::client::{Client, Told, line};
use crate::support::{TestServer, Transport, memory_kib, on_both_transports};

on_both_transports!(
    streams_of_random_sizes_come_whole,
    much_stdout_takes_no_memory,
    much_stdin_takes_no_memory,
);

/// The most that a server may have resident, in KiB.
const MAX_RESIDENT: u64 = 64 * 1024;

/// Longer than all windows, pipes and frames.
const LONGEST: u64 = 700_000;

fn streams_of_random_sizes_come_whole(on: Transport) {
    let server = on.server();
    let seed = Instant::now().elapsed().as_nanos() as u64 ^ u64::from(server.pid());
    let mut random = Random(seed | 1);
    let errors: Vec<u8> = (0..LONGEST).map(|_| random.next() as u8).collect();
    fs::write(server.path("errors"), &errors).unwrap();
    for number in 0..runs(25) {
        let stdin: Vec<u8> = (0..random.size()).map(|_| random.next() as u8).collect();
        let length = random.size() as usize;
        let mut request = line(&format!("head -c {length} errors >&2 & cat; wait"));
        request.stdin = StreamMode::Piped;
        let mut client = Client::ask(&server, &request);
        let told = exchange(&mut client, &stdin, &mut random);
        assert_eq!(told.code(), 0);
        assert!(
            told.stdout == stdin,
            "{seed} {number}: {} of {}",
            told.stdout.len(),
            stdin.len()
        );
        assert!(told.stderr == errors[..length], "{seed} {number}: {length}");
        let exit = told.exit();
        assert_eq!(
            (exit.stdout.bytes, exit.stderr.bytes),
            (stdin.len() as u64, length as u64)
        );
    }
}

/// Sends stdin in frames of random lengths while it reads.
#[track_caller]
fn exchange(client: &mut Client, stdin: &[u8], random: &mut Random) -> Told {
    let (mut told, mut rest) = (Told::default(), stdin);
    while !rest.is_empty() {
        let most = client.session.stdin_credit().min(rest.len());
        if most > 0 {
            let len = 1 + random.next() as usize % most;
            client.send_stdin(rest[..len].to_vec());
            rest = &rest[len..];
        } else {
            match client.next_or_credit() {
                Some(event) => told.take(event),
                None => continue,
            }
        }
    }
    client.end_stdin();
    while let Some(event) = client.next() {
        told.take(event);
    }
    told
}

/// 16 bytes, over and over.
const PATTERN: &[u8; 16] = b"0123456789abcde\n";

fn much_stdout_takes_no_memory(on: Transport) {
    let server = on.server();
    let len = much();
    let request = format!("yes 0123456789abcde | head -c {len}");
    let mut client = Client::ask(&server, &line(&request));
    let (mut count, mut code) = (0, None);
    while let Some(event) = client.next() {
        match event {
            ClientEvent::Data { data, .. } => {
                assert_pattern(count, &data);
                count += data.len() as u64;
            }
            ClientEvent::Exited(exit) => code = exit.status.code(),
            _ => {}
        }
    }
    assert_eq!((count, code), (len, Some(0)));
    stayed_small(&server);
}

fn much_stdin_takes_no_memory(on: Transport) {
    let server = on.server();
    let len = much();
    let request = format!("exec 3<&0; yes 0123456789abcde | head -c {len} | cmp - /dev/fd/3");
    let mut client = Client::ask(&server, &line(&request));
    let data = bytes::Bytes::from(PATTERN.repeat(16_384));
    let mut sent = 0;
    while sent < len {
        let left = (len - sent).min(client.session.stdin_credit() as u64) as usize;
        if left == 0 {
            let event = client.next_or_credit();
            assert!(
                !matches!(event, Some(ClientEvent::Exited(_))),
                "{sent}: {event:?}"
            );
            continue;
        }
        let begin = (sent % 16) as usize;
        client.send_stdin(data.slice(begin..data.len().min(begin + left)));
        sent += left.min(data.len() - begin) as u64;
    }
    client.end_stdin();
    let told = client.finish();
    assert_eq!(
        (told.code(), told.out().as_str(), told.err().as_str()),
        (0, "", "")
    );
    stayed_small(&server);
}

#[track_caller]
fn assert_pattern(offset: u64, data: &[u8]) {
    let begin = (offset % 16) as usize;
    let (head, rest) = data.split_at(data.len().min((16 - begin) % 16));
    assert_eq!(
        head,
        &PATTERN[begin..begin + head.len()][..head.len()],
        "{offset}"
    );
    let mut chunks = rest.chunks(16);
    assert!(
        chunks.all(|chunk| chunk == &PATTERN[..chunk.len()]),
        "{offset}"
    );
}

#[track_caller]
fn stayed_small(server: &TestServer) {
    let highest = memory_kib(server.pid(), "VmHWM");
    assert!(highest < MAX_RESIDENT, "{highest} KiB");
}

/// Bytes of a long stream: 64 MiB, or `SOCKPROC_TEST_MUCH` MiB.
fn much() -> u64 {
    let told = std::env::var("SOCKPROC_TEST_MUCH");
    told.map_or(64, |mib| mib.parse().unwrap()) << 20
}

/// Marsaglia's xorshift; never 0.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    /// A size at which something may change, or any other.
    fn size(&mut self) -> u64 {
        const BORDERS: [u64; 9] = [
            0, 1, 16_384, 16_385, 32_768, 65_536, 65_537, 262_144, 262_145,
        ];
        match self.next() % 4 {
            0 => BORDERS[(self.next() % 9) as usize],
            1 => self.next() % 1_000,
            _ => self.next() % LONGEST,
        }
    }
}
