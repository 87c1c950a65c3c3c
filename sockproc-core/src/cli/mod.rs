//! The `sockproc` command line: what was typed → what is done.
//!
//! A first word that is no subcommand is an address: the command line of the C daemon.

mod classic;
mod daemon;
mod log;
mod pidfile;
mod ping;
mod run;
mod serve;
mod serving;

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write};

use clap::Parser;

/// `EX_USAGE`-like: what the C daemon and clap exit with on a wrong command line.
const USAGE_EXIT_CODE: i32 = 2;

/// What the C daemon printed, and the way to all the rest.
const USAGE: &str = "\
Usage: sockproc (<unix-socket-path>|<tcp-port>) [pidfile] [--foreground]
       sockproc <COMMAND> [OPTIONS]    (sockproc --help lists the commands)
";

/// Runs commands for programs that must not block or fork.
#[derive(Parser)]
#[command(
    name = "sockproc",
    bin_name = "sockproc",
    version,
    disable_help_subcommand = true,
    override_usage = "sockproc (<unix-socket-path>|<tcp-port>) [pidfile] [--foreground]\n       sockproc <COMMAND> [OPTIONS]",
    after_help = "Without a command, sockproc serves the given address as a daemon, or in the \
                  foreground if told so."
)]
enum Cli {
    Serve(serve::Arguments),
    Run(run::Arguments),
    Ping(ping::Arguments),
}

/// Runs the command line `args`, without the program's own name, and gives its exit code.
///
/// `program` starts this program again: the path of the binary, or an interpreter and what it needs.
/// Blocks for as long as the server runs; the classic command line ends by the signal that stopped it
/// and does not return then.
#[must_use]
pub fn main(program: &[OsString], args: Vec<OsString>) -> i32 {
    let Some(first) = args.first() else {
        return usage();
    };
    let is_ours = match first.to_str() {
        Some("-h" | "--help" | "-V" | "--version" | "serve" | "run" | "ping") => true,
        Some(text) if text.starts_with('-') => {
            return usage();
        }
        _ => false,
    };
    if !is_ours {
        return classic::main(program, &args);
    }
    match Cli::try_parse_from([OsString::from("sockproc")].into_iter().chain(args)) {
        Ok(Cli::Serve(arguments)) => serve::main(arguments),
        Ok(Cli::Run(arguments)) => run::main(arguments),
        Ok(Cli::Ping(arguments)) => ping::main(arguments),
        Err(error) => {
            // Help and version go to stdout, errors to stderr.
            let _ = error.print();
            error.exit_code()
        }
    }
}

fn usage() -> i32 {
    // A reader that has gone changes nothing.
    let _ = io::stdout().write_all(USAGE.as_bytes());
    USAGE_EXIT_CODE
}

/// Tells an error on stderr, and gives `code` to exit with.
fn fail(error: impl fmt::Display, code: i32) -> i32 {
    let _ = writeln!(io::stderr(), "sockproc: {error}");
    code
}

/// Prints an error with all that caused it.
struct Chain<'a>(&'a dyn std::error::Error);

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)?;
        let mut cause = self.0.source();
        while let Some(error) = cause {
            write!(f, ": {error}")?;
            cause = error.source();
        }
        Ok(())
    }
}
