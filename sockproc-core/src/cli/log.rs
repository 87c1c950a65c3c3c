//! The log on stderr, written by a thread of its own: a reader of stderr that is slow or gone costs
//! lines, never a request.

use std::io::{self, Write};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;

use super::signals::HeldSignals;

/// The log level where no option tells it.
const VARIABLE: &str = "SOCKPROC_LOG";

/// At most this many lines wait for a slow reader; more are counted and dropped.
const MAX_WAITING: usize = 1024;

/// The longest that [`Log::flush`] waits.
const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// The way to the thread that writes.
#[derive(Clone)]
pub(super) struct Log {
    lines: SyncSender<Message>,
    dropped: Arc<AtomicU64>,
}

enum Message {
    Line(Vec<u8>),
    /// Everything before has been written once this is answered.
    Flush(Sender<()>),
}

impl Log {
    /// Begins to log from `level` on, for the whole process.
    pub(super) fn begin(level: LevelFilter) -> Self {
        let (lines, waiting) = sync_channel(MAX_WAITING);
        let log = Self {
            lines,
            dropped: Arc::default(),
        };
        let dropped = log.dropped.clone();
        // Its thread hears no signal that somebody else waits for. Without a thread there is no log.
        let _held = HeldSignals::hold();
        let _ = thread::Builder::new().spawn(move || write_lines(&waiting, &dropped));
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(level)
            .with_writer(move || writer.clone())
            .with_target(false)
            .with_ansi(false)
            .log_internal_errors(false)
            .finish();
        // Fails when a host of this library has set its own before: then that one is used.
        let _ = tracing::subscriber::set_global_default(subscriber);
        log
    }

    /// Waits until what has been logged is written, if that takes no longer than [`FLUSH_TIMEOUT`].
    pub(super) fn flush(&self) {
        let (tell, told) = channel();
        if self.lines.try_send(Message::Flush(tell)).is_ok() {
            let _ = told.recv_timeout(FLUSH_TIMEOUT);
        }
    }
}

/// One call is one event: the formatter writes whole lines.
impl Write for Log {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.lines.try_send(Message::Line(line.to_vec())).is_err() {
            self.dropped.fetch_add(1, Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `$SOCKPROC_LOG`, or warnings only.
pub(super) fn level_from_environment() -> LevelFilter {
    level_or(LevelFilter::WARN)
}

/// The level that the environment names, else `level`.
pub(super) fn level_or(level: LevelFilter) -> LevelFilter {
    let named = std::env::var(VARIABLE).ok();
    named
        .and_then(|named| LevelFilter::from_str(&named).ok())
        .unwrap_or(level)
}

fn write_lines(waiting: &Receiver<Message>, dropped: &AtomicU64) {
    // A reader that has gone is no reason to stop: stderr may be replaced.
    for message in waiting {
        match message {
            Message::Line(line) => drop(io::stderr().write_all(&line)),
            Message::Flush(tell) => drop(tell.send(())),
        }
        match dropped.swap(0, Relaxed) {
            0 => {}
            count => drop(writeln!(
                io::stderr(),
                "sockproc: {count} log lines were dropped"
            )),
        }
    }
}
