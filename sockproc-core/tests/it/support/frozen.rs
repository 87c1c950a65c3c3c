//! A disk that can be made to hang.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use tempfile::TempDir;

/// A small file system of the test's own; dropped, it goes on and goes away.
pub(crate) struct FrozenDisk {
    dir: TempDir,
}

impl FrozenDisk {
    /// Makes one, which works as yet; `None` where the test may not mount.
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

    /// From now on whoever writes to it waits, whatever signals come.
    pub(crate) fn freeze(&self) {
        assert!(run("fsfreeze", &["-f".as_ref(), &self.path()]));
    }

    pub(crate) fn thaw(&self) {
        run("fsfreeze", &["-u".as_ref(), &self.path()]);
    }
}

impl Drop for FrozenDisk {
    fn drop(&mut self) {
        self.thaw();
        run("umount", &["-l".as_ref(), &self.path()]);
    }
}

fn run(program: &str, args: &[&Path]) -> bool {
    let mut command = Command::new(program);
    command.args(args).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
