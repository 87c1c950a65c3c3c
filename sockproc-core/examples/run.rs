//! Runs one shell command on a server: `cargo run --example run -- /run/sockproc.sock 'uname -a'`.

use std::error::Error;
use std::io::{self, Write};

use sockproc_core::blocking::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(line)) = (arguments.next(), arguments.next()) else {
        return Err("usage: run ADDRESS COMMAND".into());
    };
    let output = Command::shell(line).server(server.parse()?).output()?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    eprintln!("{}", output.status);
    Ok(())
}
