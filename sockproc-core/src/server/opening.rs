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
    match read(common, &socket, &idle).await {
        Opening::Classic(first) => classic::serve(common, socket, id, idle, first).await,
        // On the heap, so that a connection that only waits takes less memory.
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
            Box::pin(native::serve(common, socket, id, idle, opened)).await;
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
            () = idle.evicted() => return Opening::Gone,
            () = common.shutdown.draining() => return Opening::Gone,
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
