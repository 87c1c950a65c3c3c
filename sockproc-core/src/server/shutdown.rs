//! The stages of a shut-down, as every connection sees them.

use std::time::Duration;

use tokio::sync::watch;

/// How far a shut-down has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Serving,
    /// Nothing new is taken; what runs goes on.
    Draining,
    /// Clients are no longer waited for; what runs goes on.
    Hurrying,
    /// What still runs is ended.
    Killing,
}

/// Told by the server, watched by its connections.
pub(crate) struct Shutdown(watch::Sender<Stage>);

impl Shutdown {
    pub(crate) fn new() -> Self {
        Self(watch::Sender::new(Stage::Serving))
    }

    pub(crate) fn drain(&self) {
        self.0.send_replace(Stage::Draining);
    }

    pub(crate) fn hurry(&self) {
        self.0.send_replace(Stage::Hurrying);
    }

    pub(crate) fn kill(&self) {
        self.0.send_replace(Stage::Killing);
    }

    /// Resolves once idle connections are to end.
    pub(crate) async fn draining(&self) {
        self.reached(Stage::Draining).await;
    }

    /// Resolves once a client that lets the server wait is to be left: at once when that was asked for,
    /// else after `patience`, counted from the beginning of the shut-down or from now.
    pub(crate) async fn leaving(&self, patience: Duration) {
        tokio::select! {
            () = self.reached(Stage::Hurrying) => {}
            () = async {
                self.draining().await;
                tokio::time::sleep(patience).await;
            } => {}
        }
    }

    /// Resolves once running commands are to be ended.
    pub(crate) async fn killing(&self) {
        self.reached(Stage::Killing).await;
    }

    /// Whether clients are no longer waited for.
    pub(crate) fn is_hurrying(&self) -> bool {
        *self.0.borrow() >= Stage::Hurrying
    }

    /// Whether running commands are to be ended: at once, when those who wait are still being told.
    pub(crate) fn is_killing(&self) -> bool {
        *self.0.borrow() == Stage::Killing
    }

    async fn reached(&self, stage: Stage) {
        // Fails only without a sender, which `self` is.
        let _ = self.0.subscribe().wait_for(|now| *now >= stage).await;
    }
}
