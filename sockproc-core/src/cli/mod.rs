//! The `sockproc` command line: what was typed → what is done.
//!
//! A first word that is no subcommand is an address: the command line of the C daemon.

mod classic;
mod daemon;
mod embedded;
mod log;
mod pidfile;
mod ping;
mod run;
mod serve;
mod server_process;
mod signals;
mod users;

use std::ffi::{OsStr, OsString};
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

/// As in [`Cli`].
const SUBCOMMANDS: [&str; 3] = ["serve", "run", "ping"];

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
    Serve(Box<serve::Arguments>),
    Run(Box<run::Arguments>),
    Ping(ping::Arguments),
}

/// Why a command line came to nothing.
#[derive(Debug)]
pub struct Failed {
    /// Whole lines for stderr.
    pub told: String,
    /// What to exit with.
    pub code: i32,
}

impl Failed {
    fn new(error: impl fmt::Display, code: i32) -> Self {
        let told = format!("sockproc: {error}\n");
        Self { told, code }
    }
}

/// Runs the command line `args`, without the program's own name, and gives its exit code.
///
/// As [`try_main`]; what went wrong is told on stderr.
#[must_use]
pub fn main(program: &[OsString], args: Vec<OsString>) -> i32 {
    try_main(program, args).unwrap_or_else(|failed| {
        // A reader that has gone changes nothing.
        let _ = io::stderr().write_all(failed.told.as_bytes());
        failed.code
    })
}

/// Runs the command line `args`, without the program's own name, and gives its exit code.
///
/// `program` starts this program again: the path of the binary, or an interpreter and what it needs.
/// Blocks for as long as the server runs; the classic command line ends by the signal that stopped it
/// and does not return then.
///
/// # Errors
/// What there is to tell of a command line that means nothing, or could not be followed.
pub fn try_main(program: &[OsString], args: Vec<OsString>) -> Result<i32, Failed> {
    let Some(first) = args.first() else {
        return Ok(usage());
    };
    let is_ours = match first.to_str() {
        Some("-h" | "--help" | "-V" | "--version") => true,
        Some("help") => return try_main(program, vec!["--help".into()]),
        Some(text) if text.starts_with('-') => return Ok(usage()),
        Some(text) => SUBCOMMANDS.contains(&text),
        None => false,
    };
    if first == crate::embedded::ARGUMENT {
        return embedded::main();
    }
    if let (false, Some(meant)) = (is_ours, misspelt(first)) {
        let error = format!(
            "no command {first:?}, but {meant:?}; for a socket of that name give a path: ./"
        );
        return Err(Failed::new(error, USAGE_EXIT_CODE));
    }
    if !is_ours {
        return classic::main(program, &args);
    }
    match Cli::try_parse_from([OsString::from("sockproc")].into_iter().chain(args.clone())) {
        Ok(Cli::Serve(arguments)) => serve::main(program, &args, *arguments),
        Ok(Cli::Run(arguments)) => run::main(*arguments),
        Ok(Cli::Ping(arguments)) => ping::main(arguments),
        Err(error) if error.use_stderr() => Err(Failed {
            told: error.to_string(),
            code: match first == "run" {
                // Its exit code is the command's: 2 would be taken for that.
                true => run::OWN_FAILURE,
                false => error.exit_code(),
            },
        }),
        Err(help) => {
            let _ = help.print();
            Ok(help.exit_code())
        }
    }
}

/// The subcommand that `word` is one letter away from, or two if it is long. Whatever is no plain word
/// is a path.
fn misspelt(word: &OsStr) -> Option<&'static str> {
    let word = word.to_str()?;
    let is_plain = word.len() > 2 && word.bytes().all(|byte| byte.is_ascii_alphabetic());
    let most = if word.len() > 4 { 2 } else { 1 };
    let near = |command: &&str| strsim::osa_distance(word, command) <= most;
    let known = SUBCOMMANDS.into_iter().chain(["help"]);
    known.filter(|_| is_plain).find(near)
}

fn usage() -> i32 {
    // A reader that has gone changes nothing.
    let _ = io::stdout().write_all(USAGE.as_bytes());
    USAGE_EXIT_CODE
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
