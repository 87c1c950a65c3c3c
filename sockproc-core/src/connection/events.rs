//! A run's events, as they come.

use std::collections::VecDeque;
use std::io::{self, Read, Take};

use bytes::{Bytes, BytesMut};

use super::Receiver;
use crate::Error;
use crate::proto::{ClientEvent, Exit, Limits, Stream};

/// Keeps the events of a run until they are taken: take them all after each call of
/// [`Connection::on_ready`](super::Connection::on_ready), which brings at most 1 MiB.
#[derive(Debug, Default)]
pub struct Events {
    waiting: VecDeque<ClientEvent>,
    exit: Exit,
    buf: BytesMut,
}

impl Events {
    /// Takes the next event that has come, but for the last: that one is the run's outcome.
    pub fn next_event(&mut self) -> Option<ClientEvent> {
        self.waiting.pop_front()
    }
}

impl Receiver for Events {
    type Outcome = Exit;

    fn receive(&mut self, event: ClientEvent) -> Result<(), Error> {
        match event {
            ClientEvent::Exited(exit) => self.exit = exit,
            event => self.waiting.push_back(event),
        }
        Ok(())
    }

    fn read_from(&mut self, stream: Stream, source: &mut Take<&mut dyn Read>) -> io::Result<()> {
        let len = source.limit().min(CHUNK_LEN as u64) as usize;
        self.buf.resize(len, 0);
        let got = source.read(&mut self.buf)?;
        let data: Bytes = self.buf.split_to(got).freeze();
        if !data.is_empty() {
            self.waiting.push_back(ClientEvent::Data { stream, data });
        }
        Ok(())
    }

    fn finish(&mut self, _limits: &Limits) -> Result<Exit, Error> {
        Ok(std::mem::take(&mut self.exit))
    }
}

/// What is read at once.
const CHUNK_LEN: usize = 64 * 1024;
