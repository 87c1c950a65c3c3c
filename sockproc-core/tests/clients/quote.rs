//! Quoted words, in the hands of the shell that runs them.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::process::Command;

use sockproc_core::proto::classic::ClientSession;
use sockproc_core::proto::{Argv, Request};

#[test]
fn the_shell_gets_every_word_as_it_was() {
    let every_byte: Vec<u8> = (1..=255).collect();
    let words: [&[u8]; 8] = [
        b"printf",
        b"%s\\0",
        b"",
        b" ",
        b"'",
        b"''a'\\'",
        b"\n\r\r\n",
        &every_byte,
    ];
    let argv = Argv::new(words.map(<[u8]>::to_vec)).unwrap();
    let head = ClientSession::new().send_run(&Request::argv(argv)).unwrap();
    let line = head.strip_suffix(b"\r\n0\r\n").unwrap();
    let output = Command::new("/bin/sh")
        .arg("-c")
        .arg(OsStr::from_bytes(line))
        .output()
        .unwrap();
    let expected: Vec<u8> = words[2..]
        .iter()
        .flat_map(|word| word.iter().copied().chain([0]))
        .collect();
    assert_eq!(output.stdout, expected);
}
