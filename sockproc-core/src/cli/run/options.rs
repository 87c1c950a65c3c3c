//! What `sockproc run` takes on its command line.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use bytes::Bytes;
use clap::Args;
use clap::builder::{OsStringValueParser, TypedValueParser};

use crate::Address;
use crate::cli::serve::size;
use crate::connection::Protocol;
use crate::proto::Millis;

/// Run a command: its streams are ours, its exit code is ours, 128+n if signal n ended it.
#[derive(Debug, Args)]
#[command(after_help = EXIT_CODES)]
pub(crate) struct Arguments {
    /// The server [default: $SOCKPROC_SOCKET, else one inside this process]
    #[arg(long, value_name = "ADDRESS")]
    pub(super) server: Option<Address>,
    /// What to speak with it: auto, native or classic [default: auto]
    #[arg(long, value_name = "PROTOCOL", value_parser = protocol, default_value = "auto", hide_default_value = true)]
    pub(super) protocol: Protocol,
    /// The file with the token that the server wants [default: for $SOCKPROC_SOCKET,
    /// $SOCKPROC_TOKEN_FILE]
    #[arg(long, value_name = "FILE")]
    pub(super) token_file: Option<PathBuf>,
    /// The command's stdin: a file, or - for ours [default: ours unless it is a terminal]
    #[arg(long, value_name = "FILE")]
    pub(super) stdin: Option<OsString>,
    /// Set a variable in the command's environment; can be given several times
    #[arg(short, long, value_name = "NAME=VALUE", value_parser = variable_parser())]
    pub(super) env: Vec<Bytes>,
    /// Remove a variable from the command's environment; can be given several times
    #[arg(short, long, value_name = "NAME", value_parser = name_parser())]
    pub(super) unset: Vec<Bytes>,
    /// The command's working directory [default: the server's]
    #[arg(short = 'C', long, value_name = "DIR")]
    pub(super) chdir: Option<OsString>,
    /// End the command after this time, as 10, 0.5, 300ms, 5m or 1h; seconds without a unit
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) timeout: Option<Millis>,
    /// End the command once it has written nothing for this time
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) idle_timeout: Option<Millis>,
    /// The time from SIGTERM to SIGKILL when the command is ended [default: the server's]
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(super) grace: Option<Millis>,
    /// End the command once it has written more than this, in bytes or with K, M, G
    #[arg(long, value_name = "BYTES", value_parser = size)]
    pub(super) max_output: Option<u64>,
    /// Join the command's stderr to its stdout
    #[arg(long)]
    pub(super) merge: bool,
    /// Write how it ended as a line of JSON, on stderr or to a file
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true)]
    pub(super) json: Option<Option<PathBuf>>,
    /// Return once the command has started, and let it finish alone
    #[arg(short, long)]
    pub(super) detach: bool,
    /// Give the command a terminal of its own, joined to ours
    #[arg(short, long, conflicts_with_all = ["stdin", "merge", "detach", "idle_timeout", "max_output"])]
    pub(super) terminal: bool,
    /// One word is a shell command line, several are a program and its arguments
    #[arg(last = true, required = true, value_name = "COMMAND")]
    pub(super) command: Vec<OsString>,
}

const EXIT_CODES: &str = "\
Exit code: that of the command, or
  124    the command was ended at its timeout
  125    sockproc itself failed, or the command was ended for another reason
  126    the program was found, but it cannot be executed
  127    the program was not found
  128+n  signal n ended the command";

fn protocol(text: &str) -> Result<Protocol, &'static str> {
    match text {
        "auto" => Ok(Protocol::Auto),
        "native" => Ok(Protocol::Native),
        "classic" => Ok(Protocol::Classic),
        _ => Err("neither auto, native nor classic"),
    }
}

/// A number, with or without a fraction, and its unit. 0 is no limit to timeout(1); here the option is
/// left out for that.
fn duration(text: &str) -> Result<Millis, &'static str> {
    const WHY: &str = "not a time above 0, as 10, 0.5, 300ms, 5m or 1h";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let unit = match &text[digits.len()..] {
        "ms" => 1.0,
        "" | "s" => 1e3,
        "m" => 60e3,
        "h" => 3600e3,
        _ => return Err(WHY),
    };
    let is_plain = |byte: u8| byte.is_ascii_digit() || byte == b'.';
    let number = digits.parse::<f64>().ok();
    let ms = number.filter(|_| digits.bytes().all(is_plain)).ok_or(WHY)? * unit;
    // What is too long for the type is cut to the longest, as the protocol says.
    Millis::new(ms.ceil() as u64).ok_or(WHY)
}

fn variable_parser() -> impl TypedValueParser<Value = Bytes> {
    bytes_parser().try_map(|word| match word.iter().position(|&byte| byte == b'=') {
        Some(1..) => Ok(word),
        _ => Err("not NAME=VALUE"),
    })
}

fn name_parser() -> impl TypedValueParser<Value = Bytes> {
    bytes_parser().try_map(|word| match word.is_empty() || word.contains(&b'=') {
        true => Err("not the name of a variable"),
        false => Ok(word),
    })
}

fn bytes_parser() -> impl TypedValueParser<Value = Bytes> {
    OsStringValueParser::new().map(|word| Bytes::from(word.into_vec()))
}

/// A command line, for tests.
#[cfg(test)]
#[derive(Debug, clap::Parser)]
pub(super) struct Typed {
    #[command(flatten)]
    pub(super) arguments: Arguments,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_is_in_seconds_unless_it_has_a_unit() {
        let ms = |text| duration(text).map(Millis::get);
        assert_eq!(ms("10"), Ok(10_000));
        assert_eq!(ms("0.25s"), Ok(250));
        assert_eq!(ms("300ms"), Ok(300));
        assert_eq!(ms("1.5m"), Ok(90_000));
        assert_eq!(ms("2h"), Ok(7_200_000));
    }

    #[test]
    fn a_duration_is_never_rounded_to_nothing_and_has_a_longest() {
        assert_eq!(duration("0.0001ms").map(Millis::get), Ok(1));
        let longest = Ok(Millis::MAX);
        assert_eq!(duration("9".repeat(400).as_str()).map(Millis::get), longest);
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "", "0", "0ms", "-1", "+1", "1d", "1 s", "1e3", "inf", "NaN", ".", "s",
        ] {
            assert!(duration(text).is_err(), "{text:?}");
        }
    }
}
