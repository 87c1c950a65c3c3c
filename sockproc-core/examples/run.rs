//! Runs one shell command: `cargo run --example run -- 'uname -a'`, or on a server, whose address is the
//! second argument.

use std::error::Error;
use std::io::{self, Write};

use sockproc_core::blocking::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut command = Command::shell(arguments.next().ok_or("usage: run COMMAND [ADDRESS]")?);
    if let Some(server) = arguments.next() {
        command.server(server.parse()?);
    }
    let output = command.output()?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    eprintln!("{}", output.status);
    Ok(())
}
