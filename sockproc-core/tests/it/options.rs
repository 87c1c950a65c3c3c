//! What the command line refuses, and how it says so.

use std::process::{Command, Output};

use crate::support::{Address, Transport, binary, finish, poll_until};

#[test]
fn addresses_other_than_loopback_are_refused() {
    for address in [
        "0.0.0.0:0",
        "0.0.0.0:8080",
        "192.0.2.1:8080",
        "[::]:8080",
        "127.0.0.1:0",
        "127.0.0.1:70000",
        "unix:",
        "",
    ] {
        let output = serve(&["--listen", address]);
        assert!(!output.status.success(), "{address}");
        assert!(
            String::from_utf8_lossy(&output.stderr).contains(address),
            "{output:?}"
        );
    }
}

#[test]
fn options_that_mean_nothing_are_refused_by_name() {
    let cases: &[&[&str]] = &[
        &["--mode", "999"],
        &["--mode", "rwx"],
        &["--owner", "no-such-user"],
        &["--owner", ":no-such-group"],
        &["--classic-linger", "soon"],
        &["--classic-linger=-1"],
        &["--classic-on-disconnect", "explode"],
        &["--max-spill", "much"],
        &["--max-spill=-1"],
        &["--drain-timeout", "never"],
        &["--log", "loud"],
        &["--nosuch"],
    ];
    for words in cases {
        let output = serve(&[&["--listen", "/nonexistent/s.sock"], *words].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {said}");
        let mut named = words.iter().flat_map(|word| word.split('='));
        assert!(named.all(|word| said.contains(word)), "{words:?}: {said}");
    }
    assert_eq!(serve(&[]).status.code(), Some(2));
    let help = serve(&["--help"]);
    assert!(
        help.status.success() && String::from_utf8_lossy(&help.stdout).contains("--max-spill"),
        "{help:?}"
    );
}

#[test]
fn help_and_version_are_told_on_stdout() {
    for (word, says) in [
        ("--help", "serve"),
        ("-h", "ping"),
        ("--version", env!("CARGO_PKG_VERSION")),
        ("-V", "sockproc"),
    ] {
        let mut command = Command::new(binary());
        command.arg(word);
        let output = finish(command);
        assert!(
            output.status.success() && output.stderr.is_empty(),
            "{output:?}"
        );
        assert!(
            String::from_utf8_lossy(&output.stdout).contains(says),
            "{output:?}"
        );
    }
}

#[test]
fn a_path_that_is_named_like_a_subcommand_is_served_by_its_path() {
    let mut setup = Transport::Unix.setup();
    setup.address = Address::Unix("./serve".into());
    let dir = setup.dir.path().to_owned();
    let mut process = setup.command().arg("--foreground").spawn().unwrap();
    setup.address = Address::Unix(dir.join("serve"));
    poll_until(|| setup.address.is_served());
    process.kill().unwrap();
    process.wait().unwrap();
}

fn serve(words: &[&str]) -> Output {
    let mut command = Command::new(binary());
    command.arg("serve").args(words);
    finish(command)
}
