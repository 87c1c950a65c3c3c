//! The `sockproc` binary.

use std::env;

fn main() {
    let args: Vec<_> = env::args_os().skip(1).collect();
    let itself = env::current_exe().unwrap_or_else(|_| "/proc/self/exe".into());
    std::process::exit(sockproc_core::cli::main(&[itself.into()], args));
}
