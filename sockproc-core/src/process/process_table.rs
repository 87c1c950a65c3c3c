//! All processes at one moment, as /proc shows them.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::str::SplitAsciiWhitespace;

use rustix::process::Pid;

/// One process: who it is, and where it stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) pid: Pid,
    /// `None` for the first process of a pid namespace, and for a parent outside of ours.
    pub(super) parent: Option<Pid>,
    pub(super) group: i32,
    pub(super) session: i32,
    /// In clock ticks since boot. The number of a process can be given again, but not this pair.
    pub(super) started: u64,
    /// Whether it has exited and only waits to be reaped.
    pub(super) is_zombie: bool,
}

/// The end of a pipe that a command holds: of its stdin, stdout or stderr.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ChildEnd {
    pub(super) inode: u64,
    /// Whether it can be written to; else it can be read.
    pub(super) is_for_writing: bool,
}

/// A snapshot of /proc. Processes that begin or end while it is read may be missing.
#[derive(Debug, Default)]
pub(super) struct ProcessTable {
    entries: HashMap<Pid, Entry>,
    children: HashMap<Pid, Vec<Pid>>,
    /// The ends of pipes that a process holds, read when they are first asked for: many runs may ask.
    pipes: RefCell<HashMap<Pid, Vec<ChildEnd>>>,
}

impl ProcessTable {
    pub(super) fn read() -> Self {
        let numbers = fs::read_dir("/proc").into_iter().flatten().flatten();
        let pids = numbers.filter_map(|entry| {
            let number = entry.file_name().to_str()?.parse().ok()?;
            Pid::from_raw(number)
        });
        pids.filter_map(Entry::read).collect()
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values()
    }

    pub(super) fn get(&self, pid: Pid) -> Option<&Entry> {
        self.entries.get(&pid)
    }

    /// The processes whose parent is `pid`.
    pub(super) fn children(&self, pid: Pid) -> &[Pid] {
        self.children.get(&pid).map_or(&[], Vec::as_slice)
    }

    /// Whether a process holds its end of a pipe that was made for it. The server's own ends do
    /// not count: between clone and exec, a child of the server holds copies of them all.
    pub(super) fn holds(&self, pid: Pid, pipes: &[ChildEnd]) -> bool {
        let mut known = self.pipes.borrow_mut();
        let held = known.entry(pid).or_insert_with(|| ChildEnd::of(pid));
        held.iter().any(|end| pipes.contains(end))
    }
}

/// The children of a process, of whichever thread of it (proc_pid_children(5)).
pub(super) fn children_of(pid: Pid) -> Vec<Pid> {
    let tasks = fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()));
    let tasks = tasks.into_iter().flatten().flatten();
    let lists = tasks.filter_map(|task| fs::read_to_string(task.path().join("children")).ok());
    let pids = lists.flat_map(|list| {
        let pids = list.split_ascii_whitespace();
        let pids = pids.map(|pid| pid.parse().ok().and_then(Pid::from_raw));
        pids.flatten().collect::<Vec<_>>()
    });
    pids.collect()
}

/// What descends from a process at this moment, [`MAX_DESCENDANTS`] of them at most. The parents' own lists say
/// so: where there are few of them, that takes less time than to read all of /proc.
pub(super) fn descendants(pid: Pid) -> Vec<Entry> {
    let mut found: Vec<Entry> = Vec::new();
    let mut parents = vec![pid];
    while let Some(parent) = parents.pop().filter(|_| found.len() < MAX_DESCENDANTS) {
        let children = children_of(parent).into_iter();
        let children = children.take(MAX_DESCENDANTS - found.len());
        // The number of a child that has been reaped meanwhile may be another's.
        let children = children
            .filter_map(|child| Entry::read(child).filter(|entry| entry.parent == Some(parent)));
        let first = found.len();
        found.extend(children);
        parents.extend(found[first..].iter().map(|entry| entry.pid));
    }
    found
}

/// More than most runs have. They are read before the first signal, while the command goes on.
const MAX_DESCENDANTS: usize = 64;

impl FromIterator<Entry> for ProcessTable {
    fn from_iter<T: IntoIterator<Item = Entry>>(entries: T) -> Self {
        let mut table = Self::default();
        for entry in entries {
            if let Some(parent) = entry.parent {
                table.children.entry(parent).or_default().push(entry.pid);
            }
            table.entries.insert(entry.pid, entry);
        }
        table
    }
}

impl Entry {
    /// Looks at one process; `None` if there is no such process.
    pub(super) fn read(pid: Pid) -> Option<Self> {
        let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).ok()?;
        Self::parse(pid, &stat)
    }

    /// Reads a line of proc_pid_stat(5).
    fn parse(pid: Pid, stat: &[u8]) -> Option<Self> {
        /// `starttime` is field 22; fields 3 to 6 are read before it.
        const BEFORE_STARTED: usize = 22 - 7;
        let mut fields = fields(stat)?;
        let is_zombie = matches!(fields.next()?, "Z" | "X");
        let mut number = || fields.next()?.parse::<i32>().ok();
        let (parent, group, session) = (number()?, number()?, number()?);
        Some(Self {
            pid,
            parent: Pid::from_raw(parent),
            group,
            session,
            started: fields.nth(BEFORE_STARTED)?.parse().ok()?,
            is_zombie,
        })
    }
}

/// Whether a process has executed a program since it was cloned. It must not have been waited for.
pub(super) fn has_executed(pid: Pid) -> bool {
    /// `PF_FORKNOEXEC`, in the field `flags` of proc_pid_stat(5).
    const ONLY_CLONED: u32 = 0x40;
    let stat = fs::read(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    let flags = fields(&stat).and_then(|mut fields| fields.nth(9 - FIRST_FIELD)?.parse().ok());
    flags.is_none_or(|flags: u32| flags & ONLY_CLONED == 0)
}

/// The fields of a line of proc_pid_stat(5), from the third on. The program's name before that may hold
/// blanks and brackets, so they are counted from its last bracket.
fn fields(stat: &[u8]) -> Option<SplitAsciiWhitespace<'_>> {
    let name_end = stat.iter().rposition(|&byte| byte == b')')?;
    let fields = std::str::from_utf8(&stat[name_end + 1..]).ok()?;
    Some(fields.split_ascii_whitespace())
}

/// The number of the first of [`fields`].
const FIRST_FIELD: usize = 3;

impl ChildEnd {
    /// All that a process holds.
    fn of(pid: Pid) -> Vec<Self> {
        let fds = format!("/proc/{}/fd", pid.as_raw_nonzero());
        let links = fs::read_dir(fds).into_iter().flatten().flatten();
        let ends = links.filter_map(|link| Self::of_link(&link.path()));
        ends.collect()
    }

    /// What a link in /proc/PID/fd leads to, if it is a pipe. Its permission bits say how the
    /// descriptor was opened (proc_pid_fd(5)).
    fn of_link(link: &Path) -> Option<Self> {
        let target = fs::read_link(link).ok()?;
        let digits = target.to_str()?.strip_prefix("pipe:[")?.strip_suffix(']')?;
        Some(Self {
            inode: digits.parse().ok()?,
            is_for_writing: link.symlink_metadata().ok()?.mode() & 0o200 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;

    use rustix::process::{getpid, getppid};

    use super::*;

    #[test]
    fn this_process_is_in_the_table_with_its_child_below_it() {
        let mut child = std::process::Command::new("sleep")
            .arg("31")
            .process_group(0)
            .spawn()
            .unwrap();
        let table = ProcessTable::read();
        child.kill().unwrap();
        child.wait().unwrap();
        let ours = table.get(getpid()).unwrap();
        assert_eq!(ours.parent, getppid());
        assert!(!ours.is_zombie);
        assert_eq!(Entry::read(getpid()).as_ref(), Some(ours));

        let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
        assert!(table.children(getpid()).contains(&pid));
        let child = table.get(pid).unwrap();
        assert_eq!(child.parent, Some(getpid()));
        assert_eq!(child.group, pid.as_raw_nonzero().get());
        // Of a session whose leader is in another pid namespace, both show 0.
        assert_eq!(child.session, ours.session);
    }

    #[test]
    fn a_name_with_blanks_and_brackets_moves_no_field() {
        let line = b"7 (a) R (b) Z 3 5 6 0 -1 4 0 0 0 0 1 2 0 0 20 0 1 0 4711 0 0";
        let pid = Pid::from_raw(7).unwrap();
        let entry = Entry::parse(pid, line).unwrap();
        assert_eq!(
            entry,
            Entry {
                pid,
                parent: Pid::from_raw(3),
                group: 5,
                session: 6,
                started: 4711,
                is_zombie: true,
            }
        );
        for cut in 0..line.len() - 8 {
            assert_eq!(Entry::parse(pid, &line[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn a_pipe_is_found_by_its_inode_and_its_end() {
        let (read, write) = rustix::pipe::pipe().unwrap();
        let inode = rustix::fs::fstat(&read).unwrap().st_ino;
        let end = |is_for_writing| ChildEnd {
            inode,
            is_for_writing,
        };
        let holds = |pipes: &[_]| ProcessTable::default().holds(getpid(), pipes);
        assert!(holds(&[end(true)]) && holds(&[end(false)]));
        drop(write);
        assert!(!holds(&[end(true)]) && holds(&[end(false)]));
        assert!(!holds(&[]));
    }

    #[test]
    fn no_more_than_so_many_descendants_are_read() {
        let sleeps = "for i in $(seq 100); do sleep 1000 & done; echo ready; wait";
        let mut shell = std::process::Command::new("sh")
            .args(["-c", sleeps])
            .stdout(std::process::Stdio::piped())
            .process_group(0)
            .spawn()
            .unwrap();
        let mut ready = [0; 6];
        let stdout = shell.stdout.as_mut().unwrap();
        std::io::Read::read_exact(stdout, &mut ready).unwrap();
        let leader = Pid::from_child(&shell);
        let found = descendants(leader);
        let _ = rustix::process::kill_process_group(leader, rustix::process::Signal::KILL);
        shell.wait().unwrap();
        assert_eq!(found.len(), MAX_DESCENDANTS);
        assert!(found.iter().all(|entry| entry.parent == Some(leader)));
    }
}
