//! `sockproc run`: one command, with our streams as its own.

mod drive;
mod options;
mod outcome;
mod own_server;
mod record;
mod relay;
mod request;
mod signals;
mod sink;
mod streams;
mod terminal;
mod waiting;

use std::io::{self, Write};

use drive::Drive;
use outcome::{Outcome, RunError};
use own_server::OwnServer;
use record::Target;
use relay::Source;
use request::Way;
use signals::Signals;
use streams::{ForServer, Streams};

use super::{Chain, Failed, server_process};
use crate::connection::{Connection, Plan};
use crate::{Address, Error, Token};

pub(super) use options::Arguments;
pub(super) use outcome::OWN_FAILURE;

pub(super) fn main(arguments: Arguments) -> Result<i32, Failed> {
    let target = Target::open(arguments.json.as_ref());
    let target = target.map_err(|error| Failed::new(Chain(&error), error.exit_code()))?;
    let result = run(&arguments);
    let mut failed = match &result {
        Ok(outcome) => Failed {
            told: outcome.message().unwrap_or_default(),
            code: outcome.exit_code(),
        },
        Err(RunError::Signal(signal)) => Failed {
            told: String::new(),
            code: 128 + signal,
        },
        Err(error) => Failed::new(Chain(error), error.exit_code()),
    };
    match target.map(|target| target.write(&record::of(&result))) {
        Some(Ok(line)) => failed.told += &line,
        Some(Err(error)) => failed = Failed::new(Chain(&error), error.exit_code()),
        None => {}
    }
    match result {
        Err(RunError::Signal(signal)) => {
            // A reader that has gone changes nothing.
            let _ = io::stderr().write_all(failed.told.as_bytes());
            Ok(server_process::die_by(signal))
        }
        _ if failed.told.is_empty() => Ok(failed.code),
        _ => Err(failed),
    }
}

/// Runs the command the best way there is: a classic server takes no descriptors.
fn run(arguments: &Arguments) -> Result<Outcome, RunError> {
    let mut signals = Signals::catch().map_err(RunError::Wait)?;
    let address = match &arguments.server {
        Some(address) => Some(address.clone()),
        None => Address::from_env().map_err(Error::from)?,
    };
    let way = arguments.way(address.as_ref());
    let result = run_by(way, arguments, address.clone(), &mut signals);
    let Err(RunError::Run(Error::Unsupported { field, by })) = result else {
        return result;
    };
    let is_of_way = ["stdin", "stdout", "stderr", "session"].contains(&field);
    match way {
        Way::Passed if is_of_way => run_by(Way::Relayed, arguments, address, &mut signals),
        Way::Terminal if is_of_way => {
            let field = "terminal";
            Err(Error::Unsupported { field, by }.into())
        }
        _ => Err(Error::Unsupported { field, by }.into()),
    }
}

fn run_by(
    way: Way,
    arguments: &Arguments,
    address: Option<Address>,
    signals: &mut Signals,
) -> Result<Outcome, RunError> {
    let source = source(way, arguments)?;
    let mut request = arguments.request(way, way == Way::Terminal || source.is_some())?;
    if let Some(path) = &arguments.token_file {
        request.token = Some(Token::read(path).map_err(Error::from)?.into());
    }
    let (streams, ForServer { stdin, descriptors }) = Streams::open(way, source, arguments.merge)?;
    let (run, server) = match address {
        Some(address) => {
            let plan = Plan::new(request, arguments.protocol);
            let run = Connection::begin(address, plan, stdin, descriptors)?;
            (run, None)
        }
        None if arguments.detach => return Err(RunError::DetachedServer),
        None => {
            let (server, socket) = OwnServer::start().map_err(RunError::Serve)?;
            let plan = Plan::new(request, arguments.protocol);
            let run = Connection::begin_on(socket, plan, stdin, descriptors)?;
            (run, Some(server))
        }
    };
    let result = Drive::new(run, streams, signals, arguments).drive_to_end();
    if let Some(server) = server {
        server.join();
    }
    result.map_err(|error| error.named(arguments))
}

/// What the command reads, unless that is a terminal of its own.
fn source(way: Way, arguments: &Arguments) -> Result<Option<Source>, RunError> {
    match way {
        Way::Terminal => Ok(None),
        Way::Relayed if arguments.detach => match arguments.stdin {
            Some(_) => Err(RunError::DetachedStdin),
            None => Ok(None),
        },
        Way::Passed => Source::open(arguments.stdin.as_ref()),
        Way::Relayed => {
            let source = Source::open(arguments.stdin.as_ref())?;
            // nohup(1) makes one that cannot be read.
            Ok(source.filter(|source| arguments.stdin.is_some() || source.is_readable()))
        }
    }
}
