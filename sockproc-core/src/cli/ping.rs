//! `sockproc ping`: does a server answer?

use std::io::{self, Write};
use std::time::{Duration, Instant};

use clap::Args;

use super::{Chain, Failed};
use crate::blocking::Client;
use crate::{Address, Error};

/// Ask whether a server answers: runs a command that does nothing.
#[derive(Args)]
pub(super) struct Arguments {
    /// The server [default: $SOCKPROC_SOCKET]
    #[arg(long, value_name = "ADDRESS")]
    server: Option<Address>,
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
    let address = Address::or_from_env(arguments.server)?;
    let client = Client::new(address.clone()).timeout(Duration::from_millis(arguments.timeout));
    let begin = Instant::now();
    client.run(":", "")?;
    Ok((address, begin.elapsed()))
}
