//! Who may say what when: the transitions that both sessions allow.

use super::frame::FrameType::{self, *};
use crate::proto::{ProtocolError, Request, StreamMode};

/// Where a conversation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Nothing was asked.
    Idle,
    /// The server has the request, or is about to.
    Asked,
    /// The command has been started.
    Running,
    /// The last frame was sent.
    Over,
}

/// All frames that have a place: in this phase, these frames, which lead to that phase.
const PHASES: [(Phase, &[FrameType], Phase); 8] = [
    (Phase::Idle, &[Run], Phase::Asked),
    (Phase::Idle, &[Refused, Error], Phase::Over),
    (
        Phase::Asked,
        &[Stdin, StdinEnd, Signal, Cancel],
        Phase::Asked,
    ),
    (Phase::Asked, &[Started], Phase::Running),
    (Phase::Asked, &[Refused, Error], Phase::Over),
    (
        Phase::Running,
        &[Stdin, StdinEnd, Signal, Cancel],
        Phase::Running,
    ),
    (
        Phase::Running,
        &[Stdout, StdoutEnd, Stderr, StderrEnd, Credit, StdinClosed],
        Phase::Running,
    ),
    (Phase::Running, &[Exited, Error], Phase::Over),
];

/// Some frames need a channel too, which is open from RUN to the frame that ends it: the end, and what
/// may come before it. Stdin has two, since each side ends it for itself. CREDIT needs none: it may
/// have waited to be written while the command closed its stdin.
const CHANNELS: [(FrameType, Option<FrameType>); 4] = [
    (StdinEnd, Some(Stdin)),
    (StdinClosed, None),
    (StdoutEnd, Some(Stdout)),
    (StderrEnd, Some(Stderr)),
];

/// Which end of the conversation a session is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Side {
    Client,
    Server,
}

/// What was said so far, as far as it matters to what may be said next.
#[derive(Debug)]
pub(super) struct Conversation {
    side: Side,
    phase: Phase,
    /// Which of [`CHANNELS`] are open.
    open: [bool; CHANNELS.len()],
}

impl Conversation {
    pub(super) fn new(side: Side) -> Self {
        Self {
            side,
            phase: Phase::Idle,
            open: [false; CHANNELS.len()],
        }
    }

    /// Opens the channels of a request: they are those of its streams that go in frames.
    pub(super) fn open(&mut self, request: &Request) {
        let in_frames = |mode| mode == StreamMode::Piped;
        let stdin = in_frames(request.stdin);
        self.open = [
            stdin,
            stdin,
            in_frames(request.stdout),
            in_frames(request.stderr),
        ];
    }

    /// Takes in that we send a frame.
    ///
    /// # Errors
    /// Ours: it has no place here.
    pub(super) fn send(&mut self, frame: FrameType) -> Result<(), ProtocolError> {
        let ours = frame.is_from_client() == (self.side == Side::Client);
        match self.after(frame) {
            Some(next) if ours => {
                self.take(frame, next);
                Ok(())
            }
            _ => Err(ProtocolError::WrongState { call: frame.name() }),
        }
    }

    /// Whether the peer may send a frame, of which only the header has come yet.
    ///
    /// # Errors
    /// The peer's: it has no place here.
    pub(super) fn expect(&self, frame: FrameType) -> Result<(), ProtocolError> {
        let theirs = frame.is_from_client() == (self.side == Side::Server);
        match self.after(frame) {
            Some(_) if theirs => Ok(()),
            _ => Err(ProtocolError::UnexpectedFrame {
                frame: frame.name(),
            }),
        }
    }

    /// Takes in that the peer has sent a frame which was [expected](Self::expect).
    pub(super) fn receive(&mut self, frame: FrameType) {
        if let Some(next) = self.after(frame) {
            self.take(frame, next);
        }
    }

    /// Whether the last frame was sent: nothing after it counts.
    pub(super) fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }

    pub(super) fn is_running(&self) -> bool {
        self.phase == Phase::Running
    }

    /// Whether the channel that this frame ends is open.
    pub(super) fn is_open(&self, end: FrameType) -> bool {
        let mut channels = CHANNELS.iter().zip(self.open);
        channels.any(|((ends, _), open)| *ends == end && open)
    }

    /// The phase after this frame, `None` if it has no place here.
    fn after(&self, frame: FrameType) -> Option<Phase> {
        let mut phases = PHASES.iter();
        let (.., next) =
            phases.find(|(phase, frames, _)| *phase == self.phase && frames.contains(&frame))?;
        let mut channels = CHANNELS.iter().zip(self.open);
        let closed = channels
            .any(|((end, before), open)| !open && (*end == frame || *before == Some(frame)));
        // The end of a run is told after the ends of its streams.
        let unended = frame == Exited && (self.is_open(StdoutEnd) || self.is_open(StderrEnd));
        (!closed && !unended).then_some(*next)
    }

    fn take(&mut self, frame: FrameType, next: Phase) {
        self.phase = next;
        for ((end, _), open) in CHANNELS.iter().zip(&mut self.open) {
            *open &= *end != frame;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn running(change: impl FnOnce(&mut Request)) -> Conversation {
        let mut request = Request::line("cat");
        change(&mut request);
        let mut server = Conversation::new(Side::Server);
        server.expect(Run).unwrap();
        server.receive(Run);
        server.open(&request);
        server.send(Started).unwrap();
        server
    }

    #[test]
    fn a_run_is_over_only_after_the_ends_of_its_streams() {
        let mut server = running(|request| request.stderr = StreamMode::Null);
        assert!(server.send(Stderr).is_err() && server.send(StderrEnd).is_err());
        server.send(Stdout).unwrap();
        assert!(server.send(Exited).is_err());
        server.send(StdoutEnd).unwrap();
        assert!(server.send(StdoutEnd).is_err() && server.send(Stdout).is_err());
        server.send(Exited).unwrap();
        assert!(server.is_over() && server.send(Error).is_err());
    }

    #[test]
    fn each_side_ends_stdin_for_itself() {
        let mut server = running(|request| request.stdin = StreamMode::Piped);
        server.send(StdinClosed).unwrap();
        assert!(server.send(StdinClosed).is_err());
        server.expect(Stdin).unwrap();
        server.receive(StdinEnd);
        assert!(server.expect(Stdin).is_err() && server.expect(StdinEnd).is_err());
    }

    #[test]
    fn no_side_may_say_what_is_the_others() {
        let mut server = running(|_| {});
        assert!(server.send(Cancel).is_err() && server.expect(Stdout).is_err());
        assert!(server.expect(Run).is_err() && server.expect(Stdin).is_err());
        server.expect(Cancel).unwrap();
        assert!(Conversation::new(Side::Client).expect(Run).is_err());
        assert!(Conversation::new(Side::Server).expect(Signal).is_err());
    }

    #[test]
    fn after_the_start_there_is_no_refusal() {
        assert!(running(|_| {}).send(Refused).is_err());
        assert!(running(|_| {}).send(Started).is_err());
    }
}
