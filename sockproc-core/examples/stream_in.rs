//! Feeds a file of any size to a command: `cargo run --example stream_in -- /run/sockproc.sock FILE wc -c`.
//!
//! The file is read in pieces while it is sent, and the words are passed on as they are, past the
//! shell's quoting.

use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::time::Duration;

use sockproc_core::client::Command;
use sockproc_core::{Address, Stdin};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args_os().skip(1);
    let (Some(server), Some(file), Some(program)) =
        (arguments.next(), arguments.next(), arguments.next())
    else {
        return Err("usage: stream_in ADDRESS FILE PROGRAM [ARGUMENT]...".into());
    };
    let mut command = Command::new(program);
    command
        .args(arguments)
        .server(Address::parse(&server)?)
        .stdin(Stdin::from_file(File::open(file)?)?)
        .timeout(Duration::from_secs(60));
    let output = command.output().await?;
    io::stdout().write_all(&output.stdout)?;
    io::stderr().write_all(&output.stderr)?;
    eprintln!("{}", output.status);
    Ok(())
}
