//! A directory that the commands of a run share with the benchmark: marks that they leave, and a gate that
//! holds them.

use std::fs::{self, File};
use std::io;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode, mknodat};
use tempfile::TempDir;

/// Dropped, it lets the commands that it holds end.
pub struct Stage {
    directory: TempDir,
    /// A reader of the other end waits as long as this is open.
    _gate: File,
}

impl Stage {
    /// A stage without marks, with its gate closed.
    ///
    /// # Errors
    /// The directory or the FIFO in it cannot be made.
    pub fn new() -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("sockproc-bench-")
            .tempdir()?;
        let gate = directory.path().join("gate");
        mknodat(CWD, &gate, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0)?;
        let _gate = File::options().read(true).write(true).open(&gate)?;
        Ok(Self { directory, _gate })
    }

    /// Shell words that end when this is dropped, and use no CPU until then.
    #[must_use]
    pub fn held(&self) -> String {
        format!("exec cat '{}/gate'", self.path().display())
    }

    /// Shell words that leave a mark of this name.
    #[must_use]
    pub fn mark(&self, name: &str) -> String {
        format!("echo >>'{}/{name}'", self.path().display())
    }

    /// Waits until `count` marks of this name are left; returns whether they were in time.
    ///
    /// # Errors
    /// The marks cannot be read.
    pub fn wait_for(&self, name: &str, count: usize, patience: Duration) -> io::Result<bool> {
        wait_until(patience, || match fs::metadata(self.path().join(name)) {
            Ok(metadata) => Ok(metadata.len() >= count as u64),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        })
    }

    fn path(&self) -> &Path {
        self.directory.path()
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // A command that opens the gate after its last writer has gone would wait for ever.
        let _ = fs::remove_file(self.path().join("gate"));
    }
}

/// Asks now and then whether `done`; returns what it said last.
///
/// # Errors
/// What `done` fails with.
pub fn wait_until(
    patience: Duration,
    mut done: impl FnMut() -> io::Result<bool>,
) -> io::Result<bool> {
    let deadline = Instant::now() + patience;
    while !done()? {
        if Instant::now() > deadline {
            return Ok(false);
        }
        thread::sleep(Duration::from_millis(5));
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::Command;

    #[test]
    fn a_held_command_ends_with_its_stage() {
        let stage = Stage::new().unwrap();
        let script = format!("{}; {}", stage.mark("started"), stage.held());
        let mut command = Command::new("/bin/sh")
            .args(["-c", &script])
            .spawn()
            .unwrap();
        assert!(stage.wait_for("started", 1, PATIENCE).unwrap());
        assert!(!stage.wait_for("started", 2, Duration::ZERO).unwrap());
        assert!(command.try_wait().unwrap().is_none());
        // It may not have opened the gate yet.
        let opened = format!("/proc/{}/exe", command.id());
        wait_until(PATIENCE, || Ok(fs::read_link(&opened)?.ends_with("cat"))).unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(stage);
        assert!(command.wait().unwrap().code().is_some());
    }

    const PATIENCE: Duration = Duration::from_secs(10);
}
