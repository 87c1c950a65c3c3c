//! `sockproc ping`: does a server answer?

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Args;

use super::{Chain, Failed};
use crate::blocking::Client;
use crate::{Address, Error, Token};

/// Ask whether a server answers: runs a command that does nothing.
#[derive(Args)]
pub(super) struct Arguments {
    /// The server [default: $SOCKPROC_SOCKET]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Address>,
    /// The file with the token that the server wants [default: for $SOCKPROC_SOCKET,
    /// $SOCKPROC_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Milliseconds to wait for the answer
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    timeout: u64,
}

pub(super) fn main(arguments: Arguments) -> Result<i32, Failed> {
    match ping(arguments) {
        Ok((address, elapsed)) => {
            let ms = elapsed.as_secs_f64() * 1e3;
            let _ = writeln!(io::stdout(), "{address} answered in {ms:.1} ms");
            Ok(0)
        }
        Err(error) => Err(Failed::new(Chain(&error), 1)),
    }
}

fn ping(arguments: Arguments) -> Result<(Address, Duration), Error> {
    let named = match arguments.server {
        Some(address) => Some(address),
        None => Address::from_env()?,
    };
    let reason = "a helper of our own would always answer";
    let address = named.ok_or_else(|| Error::NoServer {
        reason: reason.to_owned(),
    })?;
    let mut client = Client::new(address.clone()).timeout(Duration::from_millis(arguments.timeout));
    if let Some(path) = arguments.token_file {
        client = client.token(Token::read(path)?);
    }
    let begin = Instant::now();
    client.run(":", "")?;
    Ok((address, begin.elapsed()))
}
