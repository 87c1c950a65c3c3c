//! Clients that send as fast as they can.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::thread::{self, JoinHandle};
use std::time::Duration;

/// Threads that flood until this is dropped.
pub struct Flood {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    over: AtomicBool,
    sent: AtomicU64,
}

impl Flood {
    /// Starts `count` clients that ask for `command` with more stdin than they can ever send. One that is
    /// closed on comes again.
    #[must_use]
    pub fn start(address: SocketAddr, count: usize, command: &str) -> Self {
        let shared = Arc::<Shared>::default();
        let head = format!("{command}\r\n{ENDLESS}\r\n");
        let client = |_| {
            let (shared, head) = (shared.clone(), head.clone());
            thread::spawn(move || {
                while !shared.over.load(Relaxed) {
                    let _ = shared.flood(address, head.as_bytes());
                    thread::sleep(Duration::from_millis(1));
                }
            })
        };
        let threads = (0..count).map(client).collect();
        Self { shared, threads }
    }

    /// Bytes of stdin that all of them have sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.shared.sent.load(Relaxed)
    }
}

impl Shared {
    fn flood(&self, address: SocketAddr, head: &[u8]) -> io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.write_all(head)?;
        // Where it cannot send it looks now and then whether it is over.
        stream.set_write_timeout(Some(Duration::from_millis(50)))?;
        while !self.over.load(Relaxed) {
            match stream.write(&[0; CHUNK]) {
                Ok(sent) => drop(self.sent.fetch_add(sent as u64, Relaxed)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.shared.over.store(true, Relaxed);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

const ENDLESS: u64 = 1 << 62;

const CHUNK: usize = 64 * 1024;
