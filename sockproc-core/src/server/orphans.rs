//! Children that died parents leave to this process.

use std::time::Duration;

use rustix::process::getpid;
use tokio::signal::unix::{SignalKind, signal};

use crate::process::Spawner;

/// Waits for the children that died parents leave to this process.
///
/// Strangers' children come to PID 1 at any time, and each exit is a signal. All other orphans come of
/// commands; a signal for each run would cost more than a look now and then, while there are children.
pub(super) async fn reap(spawner: Spawner) {
    /// One look serves all that come in this time.
    const PAUSE: Duration = Duration::from_millis(100);
    const LOOK: Duration = Duration::from_secs(1);
    let mut child_exited = match getpid().is_init() {
        true => signal(SignalKind::child()).ok(),
        false => None,
    };
    loop {
        let looking = spawner.clone();
        let looked = tokio::task::spawn_blocking(move || looking.reap_orphans()).await;
        match &mut child_exited {
            Some(signal) => drop(signal.recv().await),
            None if looked.unwrap_or(true) => tokio::time::sleep(LOOK).await,
            None => spawner.wait_for_orphans().await,
        }
        tokio::time::sleep(PAUSE).await;
    }
}
