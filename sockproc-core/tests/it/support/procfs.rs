//! What /proc tells of a process.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

/// How many descriptors `pid` has open.
pub(crate) fn fd_count(pid: u32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).unwrap().count()
}

/// The inodes of the sockets that `pid` has open, each once.
pub(crate) fn sockets(pid: u32) -> HashSet<String> {
    let links = fs::read_dir(format!("/proc/{pid}/fd")).unwrap().flatten();
    let targets = links.filter_map(|link| {
        fs::read_link(link.path())
            .ok()?
            .into_os_string()
            .into_string()
            .ok()
    });
    targets
        .filter_map(|target| {
            Some(
                target
                    .strip_prefix("socket:[")?
                    .strip_suffix(']')?
                    .to_owned(),
            )
        })
        .collect()
}

/// What /proc/net/unix tells of a socket.
pub(crate) struct UnixSocket {
    is_connected: bool,
    path: Option<String>,
}

impl UnixSocket {
    /// Whether it is the server's end of a connection to `path`.
    pub(crate) fn is_accepted_at(&self, path: &Path) -> bool {
        self.is_connected
            && self
                .path
                .as_deref()
                .is_some_and(|own| Path::new(own) == path)
    }
}

/// All unix sockets, by their inodes.
pub(crate) fn unix_sockets() -> HashMap<String, UnixSocket> {
    let table = fs::read_to_string("/proc/net/unix").unwrap();
    let socket = |line: &str| {
        let mut fields = line.split_whitespace().skip(5);
        let is_connected = fields.next()? == "03";
        let inode = fields.next()?.to_owned();
        let path = fields.next().map(str::to_owned);
        Some((inode, UnixSocket { is_connected, path }))
    };
    table.lines().skip(1).filter_map(socket).collect()
}

/// The figure of `/proc/PID/status` under `key` (`VmRSS`, `VmHWM`), in KiB.
pub(crate) fn memory_kib(pid: u32, key: &str) -> u64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with(key)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// The signals that each thread of `pid` blocks, by its number: signal n is bit n - 1.
pub(crate) fn blocked_signals(pid: u32) -> HashMap<u32, u64> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let blocked = threads.filter_map(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).ok()?;
        let mask = status
            .lines()
            .find_map(|line| line.strip_prefix("SigBlk:"))?;
        let number = thread.file_name().to_str()?.parse().ok()?;
        Some((number, u64::from_str_radix(mask.trim(), 16).ok()?))
    });
    blocked.collect()
}

/// The state letter of `pid` (`R`, `S`, `T`, `Z`, …); `None` once it is gone.
pub(crate) fn state_of(pid: u32) -> Option<char> {
    Some(stat(pid)?.0)
}

/// The session that `pid` is in.
pub(crate) fn session_of(pid: u32) -> Option<u32> {
    field(pid, 3)?.try_into().ok()
}

/// How long the processors have worked for `pid`, which is there, to 10 ms.
pub(crate) fn cpu_time(pid: u32) -> Duration {
    let [user, system] = [11, 12].map(|nth| field(pid, nth).unwrap());
    Duration::from_millis(10 * (user + system))
}

/// A figure of `/proc/PID/stat`, counted from the state on.
fn field(pid: u32, nth: usize) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let fields = stat.rsplit_once(')')?.1;
    fields.split_whitespace().nth(nth)?.parse().ok()
}

/// Every process that descends from `pid`, itself excluded, zombies included.
pub(crate) fn descendants(pid: u32) -> Vec<u32> {
    let mut children: HashMap<u32, Vec<u32>> = HashMap::new();
    for entry in fs::read_dir("/proc").unwrap().flatten() {
        let Some(child) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if let Some((_, parent)) = stat(child) {
            children.entry(parent).or_default().push(child);
        }
    }
    let mut found = children.remove(&pid).unwrap_or_default();
    let mut next = 0;
    while next < found.len() {
        found.extend(children.remove(&found[next]).unwrap_or_default());
        next += 1;
    }
    found
}

/// The living processes that were started with this value of `SOCKPROC_TEST_MARK`, in order.
pub(crate) fn marked(value: &str) -> Vec<u32> {
    let entry = format!("SOCKPROC_TEST_MARK={value}");
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut pids: Vec<u32> = pids
        .filter(|pid| {
            let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
            let mut entries = environment.split(|&byte| byte == 0);
            entries.any(|found| found == entry.as_bytes())
        })
        .filter(|&pid| !matches!(state_of(pid), None | Some('Z' | 'X')))
        .collect();
    pids.sort_unstable();
    pids
}

/// State and parent of `pid`. The program's name before them may hold blanks and brackets.
fn stat(pid: u32) -> Option<(char, u32)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let mut fields = stat.rsplit_once(')')?.1.split_whitespace();
    Some((fields.next()?.chars().next()?, fields.next()?.parse().ok()?))
}
