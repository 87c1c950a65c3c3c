//! A client, a server and a command in one thread: both sessions with the least drivers that obey the
//! protocol, and two sockets with little room between them.

use std::collections::VecDeque;

use bytes::Bytes;
use sockproc_core::proto::native::{ClientSession, ServerSession, WINDOW};
use sockproc_core::proto::{
    ClientEvent, Exit, ProtocolError, Refusal, RefusalKind, Request, ServerEvent, SignalTo, Stream,
};

use super::command::Command;
use super::plan::{End, Plan, Step};
use super::wire::Wire;
use crate::replay_native::everything_in_frames;

#[derive(Debug)]
pub(super) struct World {
    plan: Plan,
    up: Wire,
    down: Wire,
    client: ClientSession,
    /// Stdin that the client has not sent; `None` once its end was sent.
    stdin: Option<Bytes>,
    pub(super) end: Option<End>,
    pub(super) output: [Vec<u8>; 2],
    pub(super) ended: Vec<Stream>,
    server: ServerSession,
    is_asked: bool,
    pub(super) is_gone: bool,
    /// Stdin that waits for the command.
    waiting: VecDeque<u8>,
    waiting_ends: bool,
    credit: Option<Bytes>,
    pub(super) command: Option<Command>,
    pub(super) signals: Vec<(u8, SignalTo)>,
}

impl World {
    pub(super) fn new(plan: Plan) -> Self {
        let mut client = ClientSession::new();
        let run = client.send_run(&request()).unwrap();
        let mut up = Wire::new(plan.client_lasts);
        up.write(&run);
        Self {
            up,
            down: Wire::new(plan.server_lasts),
            client,
            stdin: Some(plan.stdin.bytes().into()),
            end: None,
            output: [Vec::new(), Vec::new()],
            ended: Vec::new(),
            server: ServerSession::new(),
            is_asked: false,
            is_gone: false,
            waiting: VecDeque::new(),
            waiting_ends: false,
            credit: None,
            command: None,
            signals: Vec::new(),
            plan,
        }
    }

    /// Takes a step; tells whether anything came of it.
    pub(super) fn step(&mut self, step: Step) -> bool {
        let client_is_there = self.end.is_none() && self.up.lasts != Some(0);
        let server_is_there = !self.is_gone && self.down.lasts != Some(0);
        match step {
            Step::ClientWrites(most) => client_is_there && self.client_writes(most),
            Step::ClientReads(most) => client_is_there && self.client_reads(most),
            Step::ClientSignals(number) => {
                client_is_there
                    && self.client_sends(|client| client.send_signal(number, SignalTo::Group))
            }
            Step::ClientCancels => client_is_there && self.client_sends(ClientSession::send_cancel),
            Step::ServerReads(most) => server_is_there && self.server_reads(most),
            Step::ServerStarts => server_is_there && self.server_starts(),
            Step::ServerWrites(most) => server_is_there && self.server_writes(most),
            Step::CommandReads(most) => server_is_there && self.command_reads(most),
        }
    }

    /// Lets all of them take turns until nothing more happens.
    pub(super) fn settle(&mut self, most: usize) {
        let turns = [
            Step::ClientWrites(most),
            Step::ServerReads(most),
            Step::ServerStarts,
            Step::CommandReads(most),
            Step::ServerWrites(most),
            Step::ClientReads(most),
        ];
        while turns.iter().filter(|step| self.step(**step)).count() > 0 {}
    }

    fn client_writes(&mut self, most: usize) -> bool {
        let Some(stdin) = &mut self.stdin else {
            return false;
        };
        if !self.up.has_room() {
            return false;
        }
        if stdin.is_empty() {
            self.stdin = None;
            let end = self.client.send_stdin_end().unwrap();
            self.up.write(&end);
            return true;
        }
        let len = most.min(stdin.len()).min(self.client.stdin_credit());
        let frame = self.client.send_stdin(stdin.split_to(len)).unwrap();
        self.up.write(&frame.concat());
        len > 0
    }

    fn client_sends(
        &mut self,
        frame: impl Fn(&mut ClientSession) -> Result<Bytes, ProtocolError>,
    ) -> bool {
        let frame = frame(&mut self.client).unwrap();
        self.up.write(&frame);
        true
    }

    fn client_reads(&mut self, most: usize) -> bool {
        let may_write = self.stdin.is_some() && self.client.stdin_credit() > 0;
        // A write to a server that has died fails.
        if self.plan.is_stubborn && may_write && self.down.lasts != Some(0) {
            return false;
        }
        let data = self.down.read(most);
        self.client.receive_data(&data);
        if self.down.is_at_end() {
            self.client.receive_eof();
        }
        while self.end.is_none() {
            match self.client.next_event() {
                Ok(Some(event)) => self.client_hears(event),
                Ok(None) => return !data.is_empty(),
                Err(error) => self.end = Some(End::Broken(error)),
            }
        }
        true
    }

    fn client_hears(&mut self, event: ClientEvent) {
        match event {
            ClientEvent::Started { .. } => {}
            ClientEvent::Data { stream, data } => self.output[stream as usize].extend(data),
            ClientEvent::End(stream) => self.ended.push(stream),
            ClientEvent::StdinClosed => self.stdin = None,
            ClientEvent::Exited(exit) => self.end = Some(End::Exited(exit.status)),
            ClientEvent::Refused(refusal) => self.end = Some(End::Refused(refusal.kind)),
            other => panic!("{other:?}"),
        }
    }

    fn server_reads(&mut self, most: usize) -> bool {
        let data = self.up.read(most);
        self.server.receive_data(&data);
        if self.up.is_at_end() {
            self.server.receive_eof();
        }
        while let Some(event) = self.server.next_event().unwrap() {
            match event {
                ServerEvent::Run(run) => self.is_asked = run.invocation == request().invocation,
                ServerEvent::Stdin(data) => self.waiting.extend(data),
                ServerEvent::StdinEnd => self.waiting_ends = true,
                ServerEvent::Signal { number, to } => {
                    assert!(self.command.is_some());
                    self.signals.push((number, to));
                }
                ServerEvent::Cancel => self.cancel(),
                ServerEvent::Gone => self.is_gone = true,
                other => panic!("{other:?}"),
            }
        }
        assert!(self.waiting.len() as u64 <= WINDOW);
        !data.is_empty() || self.is_gone
    }

    fn cancel(&mut self) {
        match &mut self.command {
            Some(command) => command.kill(),
            None => self.refuse(RefusalKind::Cancelled),
        }
    }

    fn refuse(&mut self, kind: RefusalKind) {
        let refusal = Refusal::new(kind, "no");
        let frame = self.server.send_refused(&refusal).unwrap();
        self.down.write(&frame);
    }

    fn server_starts(&mut self) -> bool {
        if !self.is_asked || self.command.is_some() || self.server.is_over() {
            return false;
        }
        if self.plan.is_refused {
            self.refuse(RefusalKind::Busy);
            return true;
        }
        let started = self.server.send_started(7).unwrap();
        self.down.write(&started);
        self.command = Some(Command::new(self.plan.stderr.bytes(), self.plan.reads));
        self.taken(0);
        // Signals that were held.
        self.server_reads(0);
        true
    }

    /// The command has got bytes of its stdin. The CREDIT frame of that waits for room.
    fn taken(&mut self, len: usize) {
        if let Some(credit) = self.server.stdin_taken(len as u64) {
            assert!(self.credit.replace(credit).is_none());
        }
    }

    fn command_reads(&mut self, most: usize) -> bool {
        let Some(command) = &mut self.command else {
            return false;
        };
        if command.has_closed_stdin() {
            self.waiting.clear();
            return false;
        }
        let (read, closed) = command.read(&mut self.waiting, self.waiting_ends, most);
        if closed && !self.server.is_over() {
            let frame = self.server.send_stdin_closed().unwrap();
            self.down.write(&frame);
        }
        self.taken(read);
        read > 0 || closed
    }

    fn server_writes(&mut self, most: usize) -> bool {
        let Some(command) = &mut self.command else {
            return false;
        };
        if self.server.is_over() || !self.down.has_room() {
            return false;
        }
        if let Some(credit) = self.credit.take() {
            self.down.write(&credit);
            self.credit = self.server.credit_written();
            return true;
        }
        let mut any = false;
        for stream in [Stream::Stdout, Stream::Stderr] {
            let data = command.output(stream, most);
            if !data.is_empty() {
                let header = self.server.send_data(stream, data.len()).unwrap();
                self.down.write(&[&header, &data[..]].concat());
                any = true;
            } else if command.ends(stream) {
                let end = self.server.send_end(stream).unwrap();
                self.down.write(&end);
                any = true;
            }
        }
        if let Some(status) = command.exit_status() {
            let exited = self.server.send_exited(&Exit::new(status)).unwrap();
            self.down.write(&exited);
            any = true;
        }
        any
    }
}

fn request() -> Request {
    everything_in_frames()
}
