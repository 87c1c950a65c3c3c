//! The first bytes of a connection: which protocol it speaks.

use std::time::Instant;

use bytes::Bytes;
use tracing::debug;

use super::accepted::Accepted;
use super::budget::eviction::IdleGuard;
use super::native::Descriptors;
use super::{Common, classic, native};
use crate::proto::opening::FirstBytes;

/// What a connection begins with.
enum Opening<'a> {
    /// All that came belongs to the classic protocol.
    Classic(Vec<u8>),
    /// What came behind the opening, and the descriptors that came with it.
    Native {
        version: u32,
        rest: Bytes,
        descriptors: Descriptors<'a>,
    },
    /// There is no one to answer, or nothing to answer to.
    Gone,
}

/// Reads a request and answers it. Returns when the connection can be closed.
pub(crate) async fn serve(common: &Common, socket: Accepted, id: u64) {
    let accepted = Instant::now();
    // From its first moment on: single bytes now and then keep no connection alive.
    let idle = common.budget.waiting();
    // Each step is on the heap, and freed before the next: what only waits takes little memory.
    match Box::pin(read(common, &socket, &idle)).await {
        Opening::Classic(first) => {
            Box::pin(classic::serve(common, socket, id, idle, first)).await;
        }
        Opening::Native {
            version,
            rest,
            descriptors,
        } => {
            let opened = native::Opened {
                accepted,
                version,
                rest,
                descriptors,
            };
            if let Some(begun) = Box::pin(native::begin(common, socket, id, idle, opened)).await {
                Box::pin(native::finish(begun)).await;
            }
        }
        Opening::Gone => debug!(id, "client gone before it has said anything"),
    }
}

/// Reads until it is clear which protocol the client speaks.
async fn read<'a>(common: &'a Common, socket: &Accepted, idle: &IdleGuard<'_>) -> Opening<'a> {
    let mut first = Vec::new();
    loop {
        let read = tokio::select! {
            biased;
            read = socket.receive_with_descriptors(|data| first.extend_from_slice(data)) => read,
            // What has come before that is still heard: the client may have sent its request.
            () = idle.evicted_or_draining(common) => {
                socket.receive_last_with_descriptors(|data| first.extend_from_slice(data)).await
            }
        };
        let received = match read {
            // A half-close: what came is all.
            Ok(received) if received.len == 0 && !socket.is_hung_up() => {
                return Opening::Classic(first);
            }
            Ok(received) if received.len > 0 => received,
            Ok(_) | Err(_) => return Opening::Gone,
        };
        let mut descriptors = Descriptors::new(common, socket);
        descriptors.take(received);
        match FirstBytes::of(&first) {
            // Descriptors that came with this are closed: nothing but a request has any.
            FirstBytes::Unfinished => {}
            FirstBytes::Native { version, len } => {
                let rest = Bytes::from(first).slice(len..);
                if rest.is_empty() {
                    descriptors = Descriptors::new(common, socket);
                }
                return Opening::Native {
                    version,
                    rest,
                    descriptors,
                };
            }
            _ => return Opening::Classic(first),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::Shutdown;
    use std::os::fd::OwnedFd;
    use std::os::unix::net::UnixStream;
    use std::pin::pin;
    use std::task::{Context, Waker};

    use crate::server::accepted::Transport;
    use crate::server::budget::eviction::MIN_WAITING;
    use crate::server::{Config, Server};

    /// On a busy machine the server may look at its clients late: bytes have come, and the reactor has
    /// not said so yet. Here nothing lets the reactor have its turn.
    #[tokio::test]
    async fn a_request_that_has_come_before_its_client_must_give_way_is_answered() {
        let server = Server::new(Config::default()).unwrap();
        for (begin, rest) in [("", "echo hi\r\n0\r\n"), ("echo hi", "\r\n0\r\n")] {
            let (mut client, socket) = UnixStream::pair().unwrap();
            socket.set_nonblocking(true).unwrap();
            client.write_all(begin.as_bytes()).unwrap();
            let mut served = pin!(server.common.serve(
                OwnedFd::from(socket),
                Transport::Unix,
                None
            ));
            let mut context = Context::from_waker(Waker::noop());
            assert!(served.as_mut().poll(&mut context).is_pending());
            // From this age on it can be told to.
            std::thread::sleep(MIN_WAITING);
            client.write_all(rest.as_bytes()).unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut evicting = pin!(server.common.budget.evict_idle());
            assert!(evicting.as_mut().poll(&mut context).is_pending());
            served.await.unwrap();
            let mut reply = String::new();
            client.read_to_string(&mut reply).unwrap();
            assert_eq!(reply, "status:0\r\n3\r\nhi\n0\r\n");
        }
    }
}
