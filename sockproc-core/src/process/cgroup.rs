//! A cgroup for each run, where the server has a part of the cgroup tree for itself (cgroups(7),
//! version 2). Nothing leaves it: it names all that a command has started, and the kernel kills it as one.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{Mode, OFlags, getxattr, open};
use rustix::process::{Pid, getpid};
use tokio::sync::Notify;

/// systemd's mark on a cgroup that was handed to its service (systemd.resource-control(5),
/// `Delegate=`); the first needs no privilege to be read.
const DELEGATION_MARKS: [&str; 2] = ["user.delegate", "trusted.delegate"];

/// The leaf that the server itself moves to: processes stand in leaves only.
const SERVER_LEAF: &str = "server";

/// The part of the cgroup tree that belongs to this server. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Delegation(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    dir: PathBuf,
    next: AtomicU64,
    /// Cgroups of runs that have ended, whose survivors have not.
    leftovers: Mutex<Vec<PathBuf>>,
    /// Told when there is one more.
    left: Notify,
}

/// The cgroup of one run. Dropped, it is removed as soon as it is empty.
#[derive(Debug)]
pub(crate) struct RunCgroup {
    delegation: Delegation,
    dir: PathBuf,
}

impl Delegation {
    /// The cgroup of this process, if it is marked as handed to it.
    ///
    /// # Errors
    /// It is handed to it, but cannot be used.
    pub(crate) fn find() -> io::Result<Option<Self>> {
        let Some(dir) = own_cgroup() else {
            return Ok(None);
        };
        let is_marked = DELEGATION_MARKS.iter().any(|mark| {
            let mut value = [0; 1];
            getxattr(&dir, *mark, &mut value) == Ok(1) && &value == b"1"
        });
        is_marked.then(|| Self::at(dir)).transpose()
    }

    /// Takes over the cgroup `dir`: this process moves to a leaf of its own below it.
    ///
    /// # Errors
    /// `dir` is no cgroup of version 2, or this process may not change it; the message names it.
    pub(crate) fn at(dir: PathBuf) -> io::Result<Self> {
        let take_over = || {
            // Only cgroups have this file, and only those below the root.
            fs::metadata(dir.join("cgroup.events"))?;
            let leaf = dir.join(SERVER_LEAF);
            make_dir(&leaf)?;
            fs::write(leaf.join("cgroup.procs"), "0")
        };
        take_over().map_err(|error| {
            let dir = dir.display();
            io::Error::new(
                error.kind(),
                format!("cgroup {dir} cannot be used: {error}"),
            )
        })?;
        Ok(Self(Arc::new(Inner {
            dir,
            next: AtomicU64::new(1),
            leftovers: Mutex::default(),
            left: Notify::new(),
        })))
    }

    /// Makes a cgroup for a run. The descriptor is for the child: it enters by writing `0` to it.
    pub(super) fn add(&self) -> io::Result<(RunCgroup, OwnedFd)> {
        let number = self.0.next.fetch_add(1, Relaxed);
        let pid = getpid().as_raw_nonzero();
        let dir = self.0.dir.join(format!("run-{pid}-{number}"));
        make_dir(&dir)?;
        let cgroup = RunCgroup {
            delegation: self.clone(),
            dir,
        };
        let flags = OFlags::WRONLY | OFlags::CLOEXEC;
        let procs = open(cgroup.dir.join("cgroup.procs"), flags, Mode::empty())?;
        Ok((cgroup, procs))
    }

    /// Removes what ended runs have left behind and is empty now. Returns whether anything is left: a
    /// process that has just ended is in its cgroup for a moment longer.
    pub(crate) fn sweep(&self) -> bool {
        let mut leftovers = self.leftovers();
        leftovers.retain(|dir| remove_tree(dir).is_err());
        !leftovers.is_empty()
    }

    /// Resolves when a run leaves a cgroup behind after this call, or has since the last.
    pub(super) async fn wait_for_leftover(&self) {
        self.0.left.notified().await;
    }

    fn leftovers(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        let leftovers = self.0.leftovers.lock();
        leftovers.unwrap_or_else(PoisonError::into_inner)
    }
}

impl RunCgroup {
    /// Kills every process in it, those that are being born too.
    pub(super) fn kill(&self) {
        // Linux 5.14; before that its processes are killed one by one.
        let _ = fs::write(self.dir.join("cgroup.kill"), "1");
    }

    /// The processes in it and below it.
    pub(super) fn pids(&self) -> HashSet<Pid> {
        let mut pids = HashSet::new();
        each_cgroup(&self.dir, &mut |dir| {
            let list = fs::read_to_string(dir.join("cgroup.procs")).unwrap_or_default();
            pids.extend(
                list.lines()
                    .filter_map(|line| Pid::from_raw(line.parse().ok()?)),
            );
        });
        pids
    }
}

impl Drop for RunCgroup {
    fn drop(&mut self) {
        // Locked before the look: what is in it may end meanwhile, and that sweep must find it.
        let mut leftovers = self.delegation.leftovers();
        if remove_tree(&self.dir).is_err() {
            leftovers.push(self.dir.clone());
            self.delegation.0.left.notify_one();
        }
    }
}

/// Where this process stands in the tree of version 2, in the file system.
fn own_cgroup() -> Option<PathBuf> {
    let memberships = fs::read_to_string("/proc/self/cgroup").ok()?;
    let path = memberships
        .lines()
        .find_map(|line| line.strip_prefix("0::/"))?;
    let mounts = fs::read_to_string("/proc/self/mounts").ok()?;
    let mount = mounts.lines().find_map(|line| {
        let mut words = line.split(' ');
        let (place, kind) = (words.nth(1)?, words.next()?);
        (kind == "cgroup2").then_some(place)
    })?;
    Some(Path::new(mount).join(path))
}

fn make_dir(dir: &Path) -> io::Result<()> {
    match fs::create_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        result => result,
    }
}

/// Removes a cgroup and those that its processes have made below it; fails while one has processes.
fn remove_tree(dir: &Path) -> io::Result<()> {
    for below in fs::read_dir(dir)?.flatten() {
        if below.file_type()?.is_dir() {
            remove_tree(&below.path())?;
        }
    }
    fs::remove_dir(dir)
}

fn each_cgroup(dir: &Path, visit: &mut impl FnMut(&Path)) {
    visit(dir);
    for below in fs::read_dir(dir).into_iter().flatten().flatten() {
        if below.file_type().is_ok_and(|kind| kind.is_dir()) {
            each_cgroup(&below.path(), visit);
        }
    }
}
