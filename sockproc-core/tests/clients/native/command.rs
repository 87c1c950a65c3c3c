//! A command that copies its stdin to its stdout, as far as both have room.

use std::collections::VecDeque;

use sockproc_core::proto::{ExitStatus, Stream};

/// What the pipe of stdout holds.
const PIPE: usize = 5000;

#[derive(Debug)]
pub(super) struct Command {
    /// What its pipes hold, and what it has yet to write to stderr.
    output: [VecDeque<u8>; 2],
    /// Whether the end of each stream was told.
    told: [bool; 2],
    /// After so many bytes it closes its stdin.
    reads: Option<usize>,
    is_stdin_closed: bool,
    is_killed: bool,
    /// Whether it writes no more.
    is_done: bool,
}

impl Command {
    pub(super) fn new(stderr: Vec<u8>, reads: Option<usize>) -> Self {
        Self {
            output: [VecDeque::new(), stderr.into()],
            told: [false; 2],
            reads,
            is_stdin_closed: false,
            is_killed: false,
            is_done: false,
        }
    }

    pub(super) fn kill(&mut self) {
        self.is_killed = true;
        self.is_done = true;
    }

    /// Reads from its stdin, where no more follow than `stdin` if `ends`. Tells how many bytes, and
    /// whether that has made it close its stdin.
    pub(super) fn read(
        &mut self,
        stdin: &mut VecDeque<u8>,
        ends: bool,
        most: usize,
    ) -> (usize, bool) {
        if self.is_done {
            return (0, false);
        }
        if self.reads == Some(0) {
            self.is_stdin_closed = true;
            self.is_done = true;
            return (0, true);
        }
        let room = PIPE.saturating_sub(self.output[0].len()).min(most);
        let len = self
            .reads
            .map_or(room, |reads| reads.min(room))
            .min(stdin.len());
        self.output[0].extend(stdin.drain(..len));
        if let Some(reads) = &mut self.reads {
            *reads -= len;
        }
        self.is_done = ends && stdin.is_empty();
        (len, false)
    }

    pub(super) fn has_closed_stdin(&self) -> bool {
        self.is_stdin_closed
    }

    pub(super) fn output(&mut self, stream: Stream, most: usize) -> Vec<u8> {
        let output = &mut self.output[stream as usize];
        output.drain(..most.min(output.len())).collect()
    }

    /// Whether the end of a stream is to be told now; it is told once.
    pub(super) fn ends(&mut self, stream: Stream) -> bool {
        let told = &mut self.told[stream as usize];
        let now = self.is_done && !*told;
        *told |= now;
        now
    }

    /// How it ended, once the ends of its streams were told.
    pub(super) fn exit_status(&self) -> Option<ExitStatus> {
        let status = if self.is_killed {
            ExitStatus::Signal {
                signal: 15,
                core_dumped: false,
            }
        } else {
            ExitStatus::Code(0)
        };
        (self.told == [true; 2]).then_some(status)
    }
}
