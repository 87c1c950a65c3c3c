//! Clients that send without end: others do not wait for them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crate::support::{Reply, TestServer, Transport, on_both_transports, poll_until};

on_both_transports!(stdin_that_is_thrown_away_costs_others_no_more_than_stdin_that_is_used);

const CLIENTS: usize = 16;

/// No number of bytes is ever enough.
const ENDLESS: u64 = 1 << 62;

/// An equal load is the measure: a busy machine slows both sides.
fn stdin_that_is_thrown_away_costs_others_no_more_than_stdin_that_is_used(on: Transport) {
    let beside_discarded = Flood::start(on, "true").median_of_echo();
    let beside_used = Flood::start(on, "cat > /dev/null").median_of_echo();
    assert!(
        beside_discarded < 3 * beside_used,
        "{beside_discarded:?}, beside used stdin {beside_used:?}"
    );
}

/// A server and its clients, all of which send as fast as they can.
struct Flood {
    server: TestServer,
    is_over: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
}

impl Flood {
    fn start(on: Transport, command: &str) -> Flood {
        let server = on.server();
        let is_over = Arc::new(AtomicBool::new(false));
        let flowing = Arc::new(AtomicUsize::new(0));
        let client = |_| {
            let mut connection = server.send(format!("{command}\r\n{ENDLESS}\r\n"));
            let (is_over, flowing) = (is_over.clone(), flowing.clone());
            thread::spawn(move || {
                let chunk = vec![b'x'; 1 << 16];
                for count in 0.. {
                    if is_over.load(Relaxed) || connection.try_send(&chunk).is_err() {
                        break;
                    }
                    // More than the kernel keeps for us: the server has read some.
                    flowing.fetch_add(usize::from(count == 160), Relaxed);
                }
            })
        };
        let clients = (0..CLIENTS).map(client).collect();
        poll_until(|| flowing.load(Relaxed) == CLIENTS);
        Flood {
            server,
            is_over,
            clients,
        }
    }

    fn median_of_echo(&self) -> Duration {
        let echo = || {
            let begin = Instant::now();
            assert_eq!(self.server.run("echo hi"), Reply::new(0, "hi\n", ""));
            begin.elapsed()
        };
        let mut times: Vec<_> = (0..15).map(|_| echo()).collect();
        times.sort_unstable();
        times[times.len() / 2]
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.is_over.store(true, Relaxed);
        for client in self.clients.drain(..) {
            let _ = client.join();
        }
    }
}
