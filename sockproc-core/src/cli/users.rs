//! Users and groups as they are typed: by name or by number.

use std::env;
use std::ffi::{CString, OsString};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Command;

use nix::unistd::{self, Group, User};

/// What a process that starts as another user keeps of its environment.
const KEPT: [&str; 5] = ["PATH", "LANG", "LC_ALL", "TZ", "SOCKPROC_LOG"];

/// A user to serve as.
#[derive(Clone)]
pub(super) struct Account(User);

impl Account {
    pub(super) fn find(text: &str) -> Result<Self, String> {
        let look_up = match text.parse::<u32>() {
            Ok(uid) => User::from_uid(uid.into()),
            Err(_) => User::from_name(text),
        };
        match look_up {
            Ok(Some(user)) => Ok(Self(user)),
            Ok(None) => Err(format!("there is no user {text:?}")),
            Err(errno) => Err(errno.desc().to_owned()),
        }
    }

    /// Becomes this user, and `program` again with `words` but for `--user`. Returns only with the error.
    ///
    /// A new program, not only new ids: it is dumpable again (prctl(2)), so that its user may look at it,
    /// and the environment can be replaced.
    pub(super) fn start(&self, program: &[OsString], words: &[OsString]) -> io::Error {
        if let Err(errno) = self.assume() {
            let error = io::Error::from(errno);
            return annotated(
                error,
                format_args!("cannot serve as user {:?}", self.0.name),
            );
        }
        let [program, first_args @ ..] = program else {
            return io::Error::other("no program to start");
        };
        let kept = KEPT
            .iter()
            .filter_map(|name| Some((name, env::var_os(name)?)));
        let error = Command::new(program)
            .args(first_args)
            .args(without_user(words))
            .env_clear()
            .envs(kept)
            .env("HOME", &self.0.dir)
            .env("SHELL", &self.0.shell)
            .env("USER", &self.0.name)
            .env("LOGNAME", &self.0.name)
            .exec();
        annotated(
            error,
            format_args!("cannot start {program:?} as user {:?}", self.0.name),
        )
    }

    /// Whoever is this user already keeps the groups that it has: only root may change them.
    fn assume(&self) -> nix::Result<()> {
        if unistd::geteuid() == self.0.uid && unistd::getuid() == self.0.uid {
            return Ok(());
        }
        let name = CString::new(self.0.name.as_str()).map_err(|_| nix::errno::Errno::EINVAL)?;
        unistd::initgroups(&name, self.0.gid)?;
        unistd::setgid(self.0.gid)?;
        unistd::setuid(self.0.uid)
    }
}

fn annotated(error: io::Error, what: std::fmt::Arguments) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

fn without_user(words: &[OsString]) -> Vec<&OsString> {
    let mut rest = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if word == "--user" {
            words.next();
        } else if !word.as_encoded_bytes().starts_with(b"--user=") {
            rest.push(word);
        }
    }
    rest
}

/// User and group ids, either of which may be left as it is.
#[derive(Clone, Copy)]
pub(super) struct Owner {
    pub(super) user: Option<u32>,
    pub(super) group: Option<u32>,
}

impl Owner {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (user, group) = text.split_once(':').unwrap_or((text, ""));
        if user.is_empty() && group.is_empty() {
            return Err("neither a user nor a group".to_owned());
        }
        let id = |name: &str, look_up: &dyn Fn() -> Option<u32>, what| match name {
            "" => Ok(None),
            _ => match name.parse().ok().or_else(look_up) {
                Some(id) => Ok(Some(id)),
                None => Err(format!("there is no {what} {name:?}")),
            },
        };
        Ok(Owner {
            user: id(
                user,
                &|| Some(User::from_name(user).ok()??.uid.as_raw()),
                "user",
            )?,
            group: id(
                group,
                &|| Some(Group::from_name(group).ok()??.gid.as_raw()),
                "group",
            )?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_is_a_user_a_group_or_both_by_name_or_number() {
        let ids = |text| Owner::parse(text).map(|owner| (owner.user, owner.group));
        assert_eq!(ids("root"), Ok((Some(0), None)));
        assert_eq!(ids(":root"), Ok((None, Some(0))));
        assert_eq!(ids("12:34"), Ok((Some(12), Some(34))));
        assert_eq!(ids("root:"), Ok((Some(0), None)));
        assert!(ids("no-such-user").unwrap_err().contains("no-such-user"));
        assert!(ids(":").is_err() && ids("").is_err());
    }

    #[test]
    fn only_the_option_user_is_left_out() {
        let words = [
            "serve", "--user", "x", "--listen", "a", "--user=y", "--daemon",
        ];
        let words = words.map(OsString::from);
        let rest = without_user(&words);
        assert_eq!(rest, ["serve", "--listen", "a", "--daemon"]);
    }
}
