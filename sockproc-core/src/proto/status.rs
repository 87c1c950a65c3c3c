//! How a command ended.

use std::fmt;

/// The raw word in which the kernel packs how a process ended, as `waitpid(2)` gives it and as the
/// classic protocol sends it: exit code 1 is 256, SIGKILL is 9.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct WaitStatus(i32);

/// How a process ended: what a [`WaitStatus`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ExitStatus {
    /// The leader called `exit` with this code, 0–255.
    Code(u8),
    /// A signal ended the leader.
    Signal {
        /// The signal's number.
        signal: u8,
        /// Whether the kernel dumped core.
        core_dumped: bool,
    },
    /// Unknown. The word, if there is one, is what the peer sent: it stands for no way in which a process ends.
    Unknown(Option<WaitStatus>),
}

impl Default for ExitStatus {
    fn default() -> Self {
        Self::Unknown(None)
    }
}

impl ExitStatus {
    /// Whether the command ended with exit code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        matches!(self, Self::Code(0))
    }

    /// The exit code, unless a signal ended the command.
    #[must_use]
    pub const fn code(self) -> Option<u8> {
        match self {
            Self::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended the command, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<u8> {
        match self {
            Self::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }

    /// Whether the kernel dumped core.
    #[must_use]
    pub const fn core_dumped(self) -> bool {
        matches!(
            self,
            Self::Signal {
                core_dumped: true,
                ..
            }
        )
    }

    /// The word in which the kernel packs this; `None` if it is unknown.
    #[must_use]
    pub const fn wait_status(self) -> Option<WaitStatus> {
        match self {
            Self::Code(code) => Some(WaitStatus::from_code(code)),
            Self::Signal {
                signal,
                core_dumped,
            } => {
                let core = if core_dumped { 0x80 } else { 0 };
                Some(WaitStatus(signal as i32 | core))
            }
            Self::Unknown(word) => word,
        }
    }
}

impl From<WaitStatus> for ExitStatus {
    fn from(status: WaitStatus) -> Self {
        status.decode()
    }
}

impl fmt::Display for ExitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.wait_status() {
            Some(status) => status.fmt(f),
            None => f.write_str("unknown"),
        }
    }
}

impl WaitStatus {
    /// A status from the kernel's raw word.
    #[must_use]
    pub const fn from_raw(raw: i32) -> Self {
        Self(raw)
    }

    /// The status of a process that called `exit(code)`.
    #[must_use]
    pub const fn from_code(code: u8) -> Self {
        Self((code as i32) << 8)
    }

    /// The kernel's raw word.
    #[must_use]
    pub const fn raw(self) -> i32 {
        self.0
    }

    /// What the word says; the macros of `wait(2)` on Linux and the BSDs.
    #[must_use]
    pub const fn decode(self) -> ExitStatus {
        let [low, code, high, top] = self.0.to_le_bytes();
        match (low & 0x7f, low, high, top) {
            (0, 0, 0, 0) => ExitStatus::Code(code),
            (1..=0x7e, _, 0, 0) if code == 0 => ExitStatus::Signal {
                signal: low & 0x7f,
                core_dumped: low & 0x80 != 0,
            },
            _ => ExitStatus::Unknown(Some(self)),
        }
    }

    /// Whether the command ended with exit code 0.
    #[must_use]
    pub const fn success(self) -> bool {
        self.0 == 0
    }

    /// The exit code, unless a signal ended the command.
    #[must_use]
    pub const fn code(self) -> Option<u8> {
        match self.decode() {
            ExitStatus::Code(code) => Some(code),
            _ => None,
        }
    }

    /// The signal that ended the command, if one did.
    #[must_use]
    pub const fn signal(self) -> Option<u8> {
        match self.decode() {
            ExitStatus::Signal { signal, .. } => Some(signal),
            _ => None,
        }
    }
}

impl fmt::Display for WaitStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            ExitStatus::Code(code) => write!(f, "exit code {code}"),
            ExitStatus::Signal {
                signal,
                core_dumped,
            } => {
                write!(
                    f,
                    "signal {signal}{}",
                    if core_dumped { " (core dumped)" } else { "" }
                )
            }
            ExitStatus::Unknown(_) => write!(f, "unknown wait status {}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_status_decodes_as_wait_2_says() {
        assert_eq!(WaitStatus::from_raw(256).code(), Some(1));
        assert_eq!(WaitStatus::from_raw(32512).code(), Some(127));
        assert_eq!(WaitStatus::from_raw(9).signal(), Some(9));
        assert_eq!(
            WaitStatus::from_raw(6 | 0x80).decode(),
            ExitStatus::Signal {
                signal: 6,
                core_dumped: true
            }
        );
        assert!(WaitStatus::from_code(0).success());
    }

    #[test]
    fn a_word_that_names_no_end_is_unknown_and_no_success() {
        for raw in [0x137f, 0xffff, 0x1_0000, -1, 0x80, 0x0209] {
            let status = WaitStatus::from_raw(raw);
            assert_eq!(status.decode(), ExitStatus::Unknown(Some(status)));
            assert_eq!(status.decode().wait_status(), Some(status), "{raw:#x}");
            assert!(!status.success() && status.code().is_none() && status.signal().is_none());
        }
    }
}
