//! Shows what a command writes as it comes: `cargo run --example stream_out -- /run/sockproc.sock 'vmstat 1 5'`.
//!
//! The command writes straight into this program's pipe, past the server.

use std::error::Error;
use std::io::{BufRead, BufReader};

use sockproc_core::Stdio;
use sockproc_core::blocking::Command;

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let (Some(server), Some(line)) = (arguments.next(), arguments.next()) else {
        return Err("usage: stream_out ADDRESS COMMAND".into());
    };
    let mut child = Command::shell(line)
        .server(server.parse()?)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()?;
    let stdout = child.stdout.take().ok_or("no pipe")?;
    for line in BufReader::new(stdout).lines() {
        println!("{}", line?);
    }
    eprintln!("{}", child.wait()?);
    Ok(())
}
