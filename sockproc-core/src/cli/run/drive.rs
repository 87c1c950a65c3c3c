//! The loop that joins the connection, our streams and the signals that come to us.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use super::options::Arguments;
use super::outcome::{Outcome, RunError};
use super::signals::{Caught, Interrupts, Signals};
use super::streams::Streams;
use super::waiting::WaitingLine;
use crate::Error;
use crate::connection::{
    Connection, Deadline, Events, Interest, Progress, TimeLimit, wait_for_each,
};
use crate::proto::{ClientEvent, Exit, Millis, RefusalKind, SignalTo, Stream};

/// One run, and all that is ours of it.
pub(super) struct Drive<'a> {
    run: Connection<Events>,
    streams: Streams,
    signals: &'a mut Signals,
    interrupts: Interrupts,
    /// The signal for which the run was cancelled, or will be.
    cancelled_by: Option<i32>,
    /// When to cancel a run that has not been started until then.
    cancel_at: Deadline,
    waiting: WaitingLine,
    time: TimeLimit,
    /// Bytes of output that a classic server has announced.
    announced: u64,
    /// The most bytes of output; a classic server does not count them itself.
    max_output: Option<u64>,
    /// Whether it is over for us once the command has started.
    is_detached: bool,
}

impl<'a> Drive<'a> {
    pub(super) fn new(
        run: Connection<Events>,
        streams: Streams,
        signals: &'a mut Signals,
        arguments: &Arguments,
    ) -> Self {
        let timeout = arguments.timeout.map(Millis::get);
        Self {
            run,
            streams,
            signals,
            interrupts: Interrupts::default(),
            cancelled_by: None,
            cancel_at: Deadline::NEVER,
            waiting: WaitingLine::begin(),
            time: TimeLimit::new(timeout.map(Duration::from_millis)),
            announced: 0,
            max_output: arguments.max_output,
            is_detached: arguments.detach,
        }
    }

    /// Goes on to the end of the run. The connection is closed then.
    pub(super) fn drive_to_end(mut self) -> Result<Outcome, RunError> {
        match self.drive() {
            Err(RunError::Run(Error::Refused { kind, .. }))
                if kind == RefusalKind::Cancelled && self.cancelled_by.is_some() =>
            {
                Err(RunError::Signal(self.cancelled_by.unwrap_or_default()))
            }
            result => result,
        }
    }

    fn drive(&mut self) -> Result<Outcome, RunError> {
        let mut ready = Interest::NONE;
        loop {
            let progress = self.run.on_ready(ready)?;
            self.take_events()?;
            let until = match progress {
                Progress::Done(exit) => return self.finish(exit),
                _ if self.is_detached && self.run.pid().is_some() => return Ok(self.outcome(None)),
                Progress::Retry(delay) => Deadline::after(Some(delay)),
                Progress::Reconnect => Deadline::after(Some(Duration::ZERO)),
                Progress::Wait | Progress::Yield => Deadline::NEVER,
            };
            self.time.check(&self.run)?;
            self.waiting.update();
            ready = self.wait(until)?;
        }
    }

    fn take_events(&mut self) -> Result<(), RunError> {
        while let Some(event) = self.run.receiver_mut().next_event() {
            match event {
                ClientEvent::Started { .. } => {
                    self.waiting.end();
                    self.streams.begin()?;
                    // The signal is on its way to the command.
                    if self.cancel_at != Deadline::NEVER {
                        self.cancel_at = Deadline::NEVER;
                        self.cancelled_by = None;
                    }
                }
                ClientEvent::Announced { stream, len } => self.announce(stream, len)?,
                ClientEvent::Data { stream, data } => self.streams.push(stream, data),
                _ => {}
            }
        }
        // A classic server does not say when the command starts.
        if self.run.is_classic() && self.run.sent() {
            self.waiting.end();
        }
        Ok(())
    }

    fn announce(&mut self, stream: Stream, len: u64) -> Result<(), RunError> {
        self.announced = self.announced.saturating_add(len);
        match self.max_output {
            Some(limit) if self.announced > limit => {
                Err(Error::OutputTooLarge { stream, len, limit }.into())
            }
            _ => Ok(()),
        }
    }

    /// Waits until something can be moved, `until` at most, and moves what is ours. Returns what the
    /// connection is ready for.
    fn wait(&mut self, until: Deadline) -> Result<Interest, RunError> {
        let mut interest = Interest::NONE;
        if until == Deadline::NEVER {
            interest = self.run.interest();
            // The server's bytes wait where they are until ours are written.
            interest.readable &= self.streams.is_drained();
        }
        let until = until.or_earlier(self.time.deadline(&self.run));
        let until = until.or_earlier(self.waiting.deadline());
        let until = until.or_earlier(self.cancel_at);
        let [mut ready, signal, ours @ ..] = self.poll(interest, until)?;
        ready.writable |= self.streams.on_ready(ours, &mut self.run)?;
        if signal.readable {
            ready.writable |= self.take_signals()?;
        }
        ready.writable |= self.take_back()?;
        Ok(ready)
    }

    /// What is ready of the connection, the signals, and our three streams.
    fn poll(&self, interest: Interest, until: Deadline) -> Result<[Interest; 5], RunError> {
        let [input, stdout, stderr] = self.streams.wanted(&self.run);
        let all = [
            (self.run.as_fd(), interest),
            (self.signals.as_fd(), Interest::READABLE),
            input,
            stdout,
            stderr,
        ];
        // poll(2) tells of a hang-up whether it is asked for or not, again and again.
        let is_wanted = |wanted: &&(_, Interest)| wanted.1 != Interest::NONE;
        let wanted: Vec<_> = all.iter().filter(is_wanted).copied().collect();
        let found = match wait_for_each(&wanted, until) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(NOTHING),
            found => found.map_err(RunError::Wait)?,
        };
        let mut found = found.into_iter();
        Ok(all.map(|wanted| match is_wanted(&&wanted) {
            true => found.next().unwrap_or(Interest::NONE),
            false => Interest::NONE,
        }))
    }

    /// Returns whether the connection was given any of them.
    fn take_signals(&mut self) -> Result<bool, RunError> {
        let mut is_given = false;
        for caught in self.signals.take() {
            match caught {
                Caught::TerminalChange => self.streams.follow_terminal()?,
                Caught::ToPassOn(signal) => {
                    self.pass_on(signal)?;
                    is_given = true;
                }
            }
        }
        Ok(is_given)
    }

    /// A signal goes to the command's process group, the second interrupt in a row ends its whole tree, and
    /// the third does not wait for that. Where there is no server to ask, a signal ends this process.
    ///
    /// The server holds a signal until it has started the command. If it does not do so soon, there is no
    /// room: then the request is taken back.
    fn pass_on(&mut self, signal: i32) -> Result<(), RunError> {
        let interrupts = self.interrupts.count(signal, Instant::now());
        let is_started = self.run.pid().is_some();
        let is_alone = !self.run.sent() || self.run.is_classic();
        if is_alone || interrupts > 2 || (!is_started && self.cancelled_by.is_some()) {
            return Err(RunError::Signal(signal));
        }
        if interrupts == 2 {
            self.cancelled_by.get_or_insert(signal);
            return Ok(self.run.cancel()?);
        }
        if !is_started {
            self.cancelled_by = Some(signal);
            self.cancel_at = Deadline::after(Some(SOON));
        }
        let number = u8::try_from(signal).unwrap_or_default();
        Ok(self.run.signal(number, SignalTo::Group)?)
    }

    /// Takes a request back for which there is no room. Returns whether the connection was given that.
    fn take_back(&mut self) -> Result<bool, RunError> {
        let is_due = self.cancel_at.has_passed();
        if is_due {
            self.cancel_at = Deadline::NEVER;
            self.run.cancel()?;
        }
        Ok(is_due)
    }

    /// Writes what is left. Of a terminal that others still hold that is what comes until it is silent.
    fn finish(&mut self, exit: Exit) -> Result<Outcome, RunError> {
        self.streams.end();
        let mut silence = Deadline::after(Some(SILENCE));
        while !self.streams.is_over() {
            let until = match self.streams.is_drained() {
                true if silence.has_passed() => break,
                true => silence,
                false => Deadline::NEVER,
            };
            let [_, signal, ours @ ..] = self.poll(Interest::NONE, until)?;
            if ours != [Interest::NONE; 3] {
                self.streams.on_ready(ours, &mut self.run)?;
                silence = Deadline::after(Some(SILENCE));
            }
            if signal.readable {
                for caught in self.signals.take() {
                    if let Caught::ToPassOn(signal) = caught {
                        return Err(RunError::Signal(signal));
                    }
                }
            }
        }
        Ok(self.outcome(Some(exit)))
    }

    fn outcome(&self, exit: Option<Exit>) -> Outcome {
        Outcome {
            pid: self.run.pid(),
            exit,
            cancelled_by: self.cancelled_by,
            is_counted: self.streams.are_counted(),
        }
    }
}

const NOTHING: [Interest; 5] = [Interest::NONE; 5];

/// Within this a server with room has started a command.
const SOON: Duration = Duration::from_millis(200);

/// How long a terminal is silent when it is taken for finished, as a server does with pipes.
const SILENCE: Duration = Duration::from_millis(100);
