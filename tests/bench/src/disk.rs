//! A disk that can be made to hang.

use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

/// A small file system in a file, mounted until this is dropped.
pub struct Disk {
    directory: TempDir,
    /// Unmounts it once its stdin ends: when this process has ended too, however that came.
    keeper: Child,
}

/// A disk that hangs; dropped, it goes on.
pub struct Frozen<'a>(&'a Disk);

impl Disk {
    /// Makes and mounts one.
    ///
    /// # Errors
    /// What this machine does not allow or lacks: root, `mkfs.ext4`, a loop device, `fsfreeze`.
    pub fn mount() -> io::Result<Self> {
        let directory = tempfile::Builder::new()
            .prefix("sockproc-bench-")
            .tempdir()?;
        let (image, mounted) = (
            directory.path().join("image"),
            directory.path().join("mounted"),
        );
        std::fs::create_dir(&mounted)?;
        std::fs::File::create(&image)?.set_len(SIZE)?;
        run(Command::new("mkfs.ext4").arg("-q").arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mounted]))?;
        let mut keeper = Command::new("/bin/sh");
        keeper
            .args(["-c", KEEP, "sh"])
            .arg(&mounted)
            .stdin(Stdio::piped())
            .stderr(Stdio::null())
            // Ctrl-C ends us, not it.
            .process_group(0);
        let disk = Self {
            keeper: keeper.spawn()?,
            directory,
        };
        drop(disk.freeze()?);
        Ok(disk)
    }

    /// Where it is mounted.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.directory.path().join("mounted")
    }

    /// From now on who writes to it waits, until the result is dropped.
    ///
    /// # Errors
    /// It cannot be frozen.
    pub fn freeze(&self) -> io::Result<Frozen<'_>> {
        fsfreeze("--freeze", &self.path())?;
        Ok(Frozen(self))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        drop(self.keeper.stdin.take());
        let _ = self.keeper.wait();
    }
}

impl Drop for Frozen<'_> {
    fn drop(&mut self) {
        if let Err(error) = fsfreeze("--unfreeze", &self.0.path()) {
            eprintln!("{} hangs: {error}", self.0.path().display());
        }
    }
}

fn fsfreeze(what: &str, path: &Path) -> io::Result<()> {
    run(Command::new("fsfreeze").arg(what).arg(path))
}

fn run(command: &mut Command) -> io::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        .output()
        .map_err(|error| io::Error::new(error.kind(), format!("{program}: {error}")))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let first = said.lines().next().unwrap_or_default();
    Err(io::Error::other(format!("{program} failed: {first}")))
}

const KEEP: &str = r#"read -r line; fsfreeze --unfreeze "$1"; umount --lazy "$1""#;

/// More than all the runs of a round spill.
const SIZE: u64 = 1 << 30;
