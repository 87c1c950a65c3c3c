//! What to start: a [`Request`] in the words of the kernel.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::{CString, OsString, c_int};
use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::ffi::OsStringExt;

use bytes::Bytes;

use super::pipes::TheirEnds;
use super::spawn::{Identity, Place, Source};
use super::start_error::{StartError, StartStep};
use crate::proto::{Environment, Invocation, Request, StreamMode};

const SHELL: &str = "/bin/sh";

/// Where programs are looked for without a `PATH`, as glibc's execvp(3) does.
const DEFAULT_PATH: &[u8] = b"/bin:/usr/bin";

/// A descriptor that the command is given. Whatever holds it is dropped once the command has it.
pub(crate) type Passed = Box<dyn AsFd + Send + Sync>;

/// What to start.
pub(crate) struct Spec {
    programs: Vec<Bytes>,
    pub(super) argv: Vec<CString>,
    environment: Environment,
    pub(super) cwd: Option<CString>,
    pub(super) streams: [StreamMode; 3],
    pub(super) is_stdin_empty: bool,
    passed: Vec<Passed>,
    /// The command's numbers of those that are no standard streams.
    numbers: Vec<c_int>,
    pub(super) place: Place,
    pub(super) umask: Option<u32>,
    pub(super) identity: Option<Identity>,
    pub(super) ignored: Vec<c_int>,
}

impl Spec {
    /// What starts `request`. `passed` are the descriptors of its streams, in their order, and then its
    /// further ones.
    ///
    /// # Errors
    /// At step `prepare`: the request holds something that no system call takes.
    pub(crate) fn new(request: &Request, passed: Vec<Passed>) -> Result<Self, StartError> {
        let (programs, argv) = match &request.invocation {
            Invocation::Line(line) => {
                // No `--`: a command that begins with `-` is an option to the shell.
                let words = [SHELL.as_bytes(), b"-c", line];
                (vec![SHELL.into()], strings(words)?)
            }
            Invocation::Argv(argv) => {
                let words = argv.words();
                let programs = match &request.programs[..] {
                    [] => vec![words[0].clone()],
                    programs => programs.to_vec(),
                };
                (programs, strings(words)?)
            }
        };
        let streams = [request.stdin, request.stdout, request.stderr];
        let wanted = streams
            .iter()
            .filter(|mode| **mode == StreamMode::Descriptor);
        if wanted.count() + request.fds.len() != passed.len() {
            return Err(invalid());
        }
        let number = |number: &u32| c_int::try_from(*number).map_err(|_| invalid());
        Ok(Self {
            programs,
            argv,
            environment: request.environment.clone(),
            cwd: request.cwd.as_deref().map(string).transpose()?,
            streams,
            is_stdin_empty: request.stdin_len == Some(0),
            passed,
            numbers: request.fds.iter().map(number).collect::<Result<_, _>>()?,
            place: place(request)?,
            umask: request.umask,
            identity: identity(request),
            ignored: request
                .ignored_signals
                .iter()
                .map(number)
                .collect::<Result<_, _>>()?,
        })
    }

    /// What becomes which of the command's descriptors, in the order in which they are to be set.
    pub(super) fn fds(&self, pipes: &TheirEnds) -> Result<Vec<(Source, c_int)>, StartError> {
        let mut passed = self.passed.iter().map(|fd| fd.as_fd().as_raw_fd());
        let mut fds = Vec::with_capacity(3 + self.numbers.len());
        for ((mode, pipe), number) in self.streams.iter().zip(&pipes.0).zip(0..) {
            let source = match mode {
                StreamMode::Null => Source::Null,
                StreamMode::Piped => Source::Ours(pipe.as_ref().ok_or_else(invalid)?.as_raw_fd()),
                StreamMode::Descriptor => Source::Ours(passed.next().ok_or_else(invalid)?),
                StreamMode::Stdout if self.streams[1] != StreamMode::Closed => Source::Child(1),
                StreamMode::Stdout | StreamMode::Closed => Source::Closed,
            };
            fds.push((source, number));
        }
        fds.extend(passed.map(Source::Ours).zip(self.numbers.iter().copied()));
        // What is opened after a descriptor was closed would take its number.
        fds.sort_by_key(|(source, _)| matches!(source, Source::Closed));
        Ok(fds)
    }

    /// Whether all of the command's descriptors are the server's own.
    pub(super) fn passes_nothing(&self) -> bool {
        self.passed.is_empty()
    }

    /// The numbers of further descriptors, sorted.
    pub(super) fn kept(&self) -> Vec<c_int> {
        let mut kept = self.numbers.clone();
        kept.sort_unstable();
        kept
    }

    /// The environment, made of the server's.
    pub(super) fn environment<'a>(
        &self,
        inherited: &'a [CString],
    ) -> Result<Cow<'a, [CString]>, StartError> {
        let changes = &self.environment;
        if changes.is_unchanged() {
            return Ok(Cow::Borrowed(inherited));
        }
        let stays = |entry: &&CString| {
            let name = name_of(entry.to_bytes());
            !changes.is_cleared && !changes.unset.iter().any(|unset| unset == name)
        };
        let mut entries: Vec<CString> = inherited.iter().filter(stays).cloned().collect();
        let names = entries.iter().enumerate();
        let mut places: HashMap<Vec<u8>, usize> = names
            .map(|(place, entry)| (name_of(entry.to_bytes()).to_vec(), place))
            .collect();
        for entry in &changes.set {
            match places.get(name_of(entry)) {
                Some(&place) => entries[place] = string(entry)?,
                None => {
                    places.insert(name_of(entry).to_vec(), entries.len());
                    entries.push(string(entry)?);
                }
            }
        }
        Ok(Cow::Owned(entries))
    }

    /// The files to try, one after another: a program without a slash is looked for in the `PATH` of
    /// the command's own environment.
    pub(super) fn programs(&self, environment: &[CString]) -> Result<Vec<CString>, StartError> {
        let mut files = Vec::with_capacity(1);
        for program in &self.programs {
            if program.contains(&b'/') || program.is_empty() {
                files.push(string(program)?);
                continue;
            }
            let path = environment
                .iter()
                .find_map(|entry| entry.to_bytes().strip_prefix(b"PATH="));
            for dir in path.unwrap_or(DEFAULT_PATH).split(|&byte| byte == b':') {
                let dir = if dir.is_empty() { b"." } else { dir };
                files.push(string([dir, b"/", program].concat())?);
            }
        }
        Ok(files)
    }
}

/// Where the command is put among processes.
fn place(request: &Request) -> Result<Place, StartError> {
    Ok(match request.process_group {
        _ if request.terminal => Place::Terminal,
        _ if request.session => Place::Session,
        0 => Place::OwnGroup,
        group => Place::Group(group.try_into().map_err(|_| invalid())?),
    })
}

/// The user and groups that it runs as. Another user does not get the groups of this one.
fn identity(request: &Request) -> Option<Identity> {
    let wanted = &request.identity;
    let is_wanted =
        wanted.user.is_some() || wanted.group.is_some() || wanted.supplementary_groups.is_some();
    let is_other = wanted
        .user
        .is_some_and(|user| user != rustix::process::geteuid().as_raw());
    is_wanted.then(|| Identity {
        user: wanted.user,
        group: wanted.group,
        supplementary: wanted
            .supplementary_groups
            .clone()
            .or_else(|| is_other.then(Vec::new)),
    })
}

/// `NAME=value` strings of variables; those that no process can be given are left out.
pub(super) fn environment(variables: impl Iterator<Item = (OsString, OsString)>) -> Vec<CString> {
    let entries = variables.map(|(name, value)| {
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.append(&mut value.into_vec());
        CString::new(entry)
    });
    entries.flatten().collect()
}

fn name_of(entry: &[u8]) -> &[u8] {
    let end = entry.iter().position(|&byte| byte == b'=');
    &entry[..end.unwrap_or(entry.len())]
}

fn strings<B: AsRef<[u8]>>(words: impl IntoIterator<Item = B>) -> Result<Vec<CString>, StartError> {
    words
        .into_iter()
        .map(|word| string(word.as_ref()))
        .collect()
}

fn string(bytes: impl AsRef<[u8]>) -> Result<CString, StartError> {
    CString::new(bytes.as_ref()).map_err(|_| invalid())
}

/// Something that no request may hold.
fn invalid() -> StartError {
    let errno = io::Error::from_raw_os_error(libc::EINVAL);
    StartError::new(StartStep::Prepare, errno)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::Argv;

    fn inherited() -> Vec<CString> {
        strings(["A=1", "PATH=/x::y", "B=2"]).unwrap()
    }

    fn request(words: &[&'static str]) -> Request {
        Request::argv(Argv::new(words.iter().copied()).unwrap())
    }

    fn text(entries: &[CString]) -> Vec<&str> {
        entries
            .iter()
            .map(|entry| entry.to_str().unwrap())
            .collect()
    }

    #[test]
    fn an_environment_is_cleared_then_unset_then_set() {
        let mut request = request(&["true"]);
        request.environment.unset = vec!["A".into(), "C".into()];
        request.environment.set = vec!["C=3".into(), "B=4".into(), "C=5".into()];
        let made = |request: &Request| {
            let spec = Spec::new(request, Vec::new()).unwrap();
            spec.environment(&inherited()).unwrap().into_owned()
        };
        assert_eq!(text(&made(&request)), ["PATH=/x::y", "B=4", "C=5"]);
        request.environment.is_cleared = true;
        assert_eq!(text(&made(&request)), ["C=5", "B=4"]);
    }

    #[test]
    fn a_program_is_looked_for_in_the_path_of_its_own_environment() {
        let mut request = request(&["ls"]);
        request.programs = vec!["ls".into(), "/bin/ls".into()];
        let spec = Spec::new(&request, Vec::new()).unwrap();
        let programs = spec.programs(&inherited()).unwrap();
        assert_eq!(text(&programs), ["/x/ls", "./ls", "y/ls", "/bin/ls"]);
        let programs = spec.programs(&[]).unwrap();
        assert_eq!(text(&programs), ["/bin/ls", "/usr/bin/ls", "/bin/ls"]);
    }

    #[test]
    fn descriptors_that_are_closed_are_closed_last() {
        let mut request = request(&["true"]);
        request.stdin = StreamMode::Closed;
        request.stdout = StreamMode::Null;
        request.stderr = StreamMode::Stdout;
        let spec = Spec::new(&request, Vec::new()).unwrap();
        let fds = spec.fds(&TheirEnds([None, None, None])).unwrap();
        assert!(matches!(
            fds[..],
            [
                (Source::Null, 1),
                (Source::Child(1), 2),
                (Source::Closed, 0)
            ]
        ));
    }
}
