//! Which program becomes the helper.

use std::env;
use std::ffi::{OsStr, OsString};
use std::path::Path;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use rustix::fs::{Access, access};

use super::identity::Identity;
use crate::Error;

/// Says which program becomes the helper: the path of a `sockproc` binary, or an interpreter and what has
/// it run the command line of this crate, with the word [`ARGUMENT`](super::ARGUMENT) behind that. The next helper that is started is of this program, unless
/// `$SOCKPROC_BIN` names another. In a set-user-ID program that variable and the `PATH` do not count.
///
/// ```no_run
/// sockproc_core::embedded::set_program(["/opt/app/bin/sockproc"]);
/// ```
pub fn set_program<W: Into<OsString>>(words: impl IntoIterator<Item = W>) {
    let words = words.into_iter().map(Into::into).collect();
    PROGRAM.store(Some(Arc::new(words)));
}

static PROGRAM: ArcSwapOption<Vec<OsString>> = ArcSwapOption::const_empty();

/// The words that start a helper; the first is a path, and can be executed.
pub(super) fn find() -> Result<Vec<OsString>, Error> {
    if cfg!(not(target_os = "linux")) {
        let reason = "there are private helpers on Linux only";
        return Err(missing(reason.to_owned()));
    }
    // Who started a set-user-ID program chose its environment, and must not choose what runs as its user.
    let is_ours = Identity::now().is_plain();
    let named = env::var_os("SOCKPROC_BIN").filter(|named| is_ours && !named.is_empty());
    if let Some(named) = named {
        return match look_up(&named) {
            Some(path) => Ok(vec![path]),
            None => Err(missing(format!(
                "$SOCKPROC_BIN is {named:?}, which cannot be executed"
            ))),
        };
    }
    if let Some(words) = &*PROGRAM.load()
        && let Some((program, rest)) = words.split_first()
        && (is_ours || program.as_encoded_bytes().contains(&b'/'))
    {
        return match look_up(program) {
            Some(path) => Ok([path].into_iter().chain(rest.iter().cloned()).collect()),
            None => Err(missing(format!(
                "{program:?}, which would be its helper, cannot be executed"
            ))),
        };
    }
    match look_up(OsStr::new(BINARY)).filter(|_| is_ours) {
        Some(path) => Ok(vec![path]),
        None => Err(missing(format!(
            "there is no {BINARY:?} on the PATH to be a private helper, and $SOCKPROC_BIN names none"
        ))),
    }
}

/// A path as it is, a word by the `PATH`.
fn look_up(program: &OsStr) -> Option<OsString> {
    if program.as_encoded_bytes().contains(&b'/') {
        return is_executable(Path::new(program)).then(|| program.to_owned());
    }
    let directories = env::var_os("PATH")?;
    let paths = env::split_paths(&directories).map(|directory| directory.join(program));
    let found = paths.into_iter().find(|path| is_executable(path));
    found.map(Into::into)
}

fn is_executable(path: &Path) -> bool {
    path.is_file() && access(path, Access::EXEC_OK).is_ok()
}

fn missing(reason: String) -> Error {
    Error::NoServer { reason }
}

const BINARY: &str = "sockproc";
