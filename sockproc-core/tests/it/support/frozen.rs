//! A disk that can be made to hang.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};
use tempfile::TempDir;

/// A small file system of the test's own; it goes with this value.
pub(crate) struct FrozenDisk {
    dir: TempDir,
}

impl FrozenDisk {
    /// Makes one that is not frozen yet; `None` if the test may not mount.
    pub(crate) fn new() -> Option<FrozenDisk> {
        let disk = FrozenDisk {
            dir: tempfile::tempdir().unwrap(),
        };
        let image = disk.dir.path().join("image");
        std::fs::create_dir(disk.path()).unwrap();
        std::fs::File::create(&image)
            .unwrap()
            .set_len(1 << 30)
            .unwrap();
        let made = run("mkfs.ext4", &["-q".as_ref(), &image])
            && run(
                "mount",
                &["-o".as_ref(), "loop".as_ref(), &image, &disk.path()],
            );
        if !made {
            eprintln!("not tried: no file system can be mounted here");
        }
        made.then_some(disk)
    }

    /// Where it is mounted.
    pub(crate) fn path(&self) -> PathBuf {
        self.dir.path().join("mounted")
    }

    /// From now on writers wait, uninterruptibly, until the result is dropped. Drop it before the server,
    /// whose end the test waits for. If the test is killed, the disk thaws after a minute.
    pub(crate) fn freeze(&self) -> Frozen {
        let path = self.path();
        let thaw = format!("sleep 60; fsfreeze -u {}", path.display());
        let mut watchdog = Command::new("sh");
        watchdog.args(["-c", &thaw]).process_group(0);
        watchdog.stdout(Stdio::null()).stderr(Stdio::null());
        let watchdog = watchdog.spawn().unwrap();
        assert!(run("fsfreeze", &["-f".as_ref(), &path]));
        Frozen { path, watchdog }
    }
}

impl Drop for FrozenDisk {
    fn drop(&mut self) {
        run("umount", &["-l".as_ref(), &self.path()]);
    }
}

/// A disk that hangs; dropped, it goes on.
pub(crate) struct Frozen {
    path: PathBuf,
    watchdog: Child,
}

impl Drop for Frozen {
    fn drop(&mut self) {
        run("fsfreeze", &["-u".as_ref(), &self.path]);
        let _ = kill_process_group(Pid::from_child(&self.watchdog), Signal::KILL);
        let _ = self.watchdog.wait();
    }
}

fn run(program: &str, args: &[&Path]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
