//! What a command finds as a child of this process would: the working directory and the environment.

use std::collections::HashSet;
use std::env;
use std::ffi::OsString;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::stat;

use super::file_id::FileId;
use crate::proto::Request;

/// The working directory and the environment at one moment.
#[derive(Debug)]
pub(super) struct Inherited {
    /// Not a path, which someone may rename.
    directory: Option<FileId>,
    environment: Vec<(OsString, OsString)>,
}

impl Inherited {
    pub(super) fn now() -> Self {
        Self {
            directory: directory(),
            environment: env::vars_os().collect(),
        }
    }

    /// In the form of environ(7).
    pub(super) fn environment(&self) -> Vec<u8> {
        let variables = self.environment.iter();
        variables
            .flat_map(|variable| record(variable, b"\0"))
            .collect()
    }

    pub(super) fn is_of_now(&self) -> bool {
        self.is_in_the_same_directory() && self.has_the_same_environment()
    }

    /// Adds to `request` what is no longer so.
    pub(super) fn complete(&self, request: &mut Request) {
        match &request.cwd {
            Some(path) if path.starts_with(b"/") => {}
            // The kernel says that an empty path leads nowhere.
            Some(path) if path.is_empty() => {}
            Some(path) => request.cwd = Some(below(path)),
            None if self.is_in_the_same_directory() => {}
            None => request.cwd = Some(here()),
        }
        if !request.environment.is_cleared && !self.has_the_same_environment() {
            replace_environment(request);
        }
    }

    fn is_in_the_same_directory(&self) -> bool {
        self.directory.is_some() && self.directory == directory()
    }

    fn has_the_same_environment(&self) -> bool {
        env::vars_os().eq(self.environment.iter().cloned())
    }
}

fn directory() -> Option<FileId> {
    stat(".").ok().map(|here| FileId::of(&here))
}

/// A path to the working directory. If that has none, because it was removed, the kernel still leads
/// there.
fn here() -> Bytes {
    let path = env::current_dir().map(|path| path.into_os_string().into_vec());
    let by_process = || format!("/proc/{}/cwd", std::process::id()).into_bytes();
    path.unwrap_or_else(|_| by_process()).into()
}

fn below(relative: &Bytes) -> Bytes {
    let here = here();
    let path =
        Path::new(std::ffi::OsStr::from_bytes(&here)).join(std::ffi::OsStr::from_bytes(relative));
    path.into_os_string().into_vec().into()
}

/// The whole environment of this process, changed as the request says: unset, then set.
fn replace_environment(request: &mut Request) {
    let changes = &mut request.environment;
    let set = changes.set.iter().map(name);
    let others: HashSet<&[u8]> = changes
        .unset
        .iter()
        .map(|name| &name[..])
        .chain(set)
        .collect();
    let kept = env::vars_os().filter(|(name, _)| !others.contains(name.as_bytes()));
    let kept = kept.map(|variable| Bytes::from(record(&variable, b"")));
    let all = kept.chain(changes.set.iter().cloned()).collect();
    changes.set = all;
    changes.unset.clear();
    changes.is_cleared = true;
}

fn name(entry: &Bytes) -> &[u8] {
    entry.split(|&byte| byte == b'=').next().unwrap_or_default()
}

fn record((name, value): &(OsString, OsString), end: &[u8]) -> Vec<u8> {
    [name.as_bytes(), b"=", value.as_bytes(), end].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A process with another environment, in another directory.
    fn elsewhere() -> Inherited {
        Inherited {
            directory: None,
            environment: Vec::new(),
        }
    }

    fn completed(inherited: &Inherited, change: impl FnOnce(&mut Request)) -> Request {
        let mut request = Request::line("true");
        change(&mut request);
        inherited.complete(&mut request);
        request
    }

    #[test]
    fn what_is_as_it_was_is_not_sent() {
        let request = completed(&Inherited::now(), |_| {});
        assert_eq!(request, Request::line("true"));
    }

    #[test]
    fn what_has_changed_is_sent_whole() {
        let request = completed(&elsewhere(), |_| {});
        assert_eq!(request.cwd, Some(here()));
        assert!(request.environment.is_cleared);
        assert_eq!(request.environment.set.len(), env::vars_os().count());
    }

    #[test]
    fn the_requests_own_changes_count_on_top() {
        let request = completed(&elsewhere(), |request| {
            request.environment.unset.push("PATH".into());
            request.environment.set = vec!["HOME=/x".into(), "EMPTY=".into()];
        });
        let set = &request.environment.set;
        assert!(request.environment.unset.is_empty());
        assert!(!set.iter().any(|entry| entry.starts_with(b"PATH=")));
        let homes: Vec<_> = set.iter().filter(|entry| name(entry) == b"HOME").collect();
        assert_eq!(homes, ["HOME=/x"]);
        assert!(set.contains(&Bytes::from("EMPTY=")));
        let cleared = completed(&elsewhere(), |request| {
            request.environment.is_cleared = true
        });
        assert!(cleared.environment.set.is_empty());
    }

    #[test]
    fn a_relative_directory_is_below_the_one_of_this_process() {
        let request = completed(&Inherited::now(), |request| {
            request.cwd = Some("src/x".into())
        });
        let expected = env::current_dir().unwrap().join("src/x");
        assert_eq!(request.cwd.unwrap(), expected.as_os_str().as_bytes());
        let request = completed(&elsewhere(), |request| request.cwd = Some("/x".into()));
        assert_eq!(request.cwd.unwrap(), "/x");
    }
}
