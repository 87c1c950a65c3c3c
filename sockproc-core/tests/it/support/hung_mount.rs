//! A file system that hangs: its server, the test, does not answer.

use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{Setup, TestServer};

/// A mount that only one server sees; dropped, everything that waits for it fails.
pub(crate) struct HungMount {
    fuse: File,
    namespace: u32,
    place: PathBuf,
}

impl Setup {
    /// Gives the server a mount namespace of its own; `None` if the test may not make one.
    pub(crate) fn with_own_mounts(self) -> Option<Setup> {
        let may_mount = rustix::process::getuid().is_root();
        if !may_mount {
            eprintln!("not tried: only root may mount");
        }
        may_mount.then(|| self.shell("set -- unshare --mount \"$@\""))
    }
}

impl HungMount {
    /// Mounts over a file or directory. Who waits for it can be killed.
    #[track_caller]
    pub(crate) fn over(place: &Path, server: &TestServer) -> Self {
        let fuse = OpenOptions::new().read(true).write(true).open("/dev/fuse");
        let mount = Self {
            fuse: fuse.unwrap(),
            namespace: server.pid(),
            place: place.to_owned(),
        };
        let mode = if place.is_dir() { "40755" } else { "100755" };
        let options = format!("fd=0,rootmode={mode},user_id=0,group_id=0");
        let place = place.to_str().unwrap();
        mount.run(&["mount", "-i", "-t", "fuse", "none", place, "-o", &options]);
        mount
    }

    /// Takes in `requests` requests from now on. Who has made one of them cannot even be killed.
    #[track_caller]
    pub(crate) fn take_in(&mut self, requests: usize) {
        /// The kernel wants room for the largest write.
        const ROOM: usize = 2 << 20;
        let mut request = vec![0; ROOM];
        let mut next = |mut fuse: &File| {
            assert!(fuse.read(&mut request).unwrap() >= 40, "each has a header");
            u64::from_ne_bytes(request[8..16].try_into().unwrap())
        };
        let unique = next(&self.fuse);
        self.fuse.write_all(&init_answer(unique)).unwrap();
        for _ in 0..requests {
            next(&self.fuse);
        }
    }

    /// Takes it away for those that come; who waits for it goes on waiting.
    #[track_caller]
    pub(crate) fn hide(&self) {
        self.run(&["umount", "-l", self.place.to_str().unwrap()]);
    }

    #[track_caller]
    fn run(&self, command: &[&str]) {
        let status = Command::new("nsenter")
            .args(["--mount", "--target", &self.namespace.to_string()])
            .args(command)
            .stdin(self.fuse.try_clone().unwrap())
            .status();
        assert!(status.unwrap().success());
    }
}

/// What makes a mount work: version 7.31, and small writes.
fn init_answer(unique: u64) -> [u8; 80] {
    let mut answer = [0; 80];
    answer[..4].copy_from_slice(&80_u32.to_ne_bytes());
    answer[8..16].copy_from_slice(&unique.to_ne_bytes());
    answer[16..20].copy_from_slice(&7_u32.to_ne_bytes());
    answer[20..24].copy_from_slice(&31_u32.to_ne_bytes());
    answer[36..40].copy_from_slice(&4096_u32.to_ne_bytes());
    answer
}
