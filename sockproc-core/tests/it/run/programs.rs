//! Programs that take over the terminal, where they are installed.

use std::fs;

use super::screen::Screen;
use crate::support::{TestServer, Transport};

/// A screen with `words` on it, unless the program is missing.
fn screen(server: &TestServer, words: &[&str]) -> Option<Screen> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed = std::env::split_paths(&path).any(|dir| dir.join(words[0]).is_file());
    let address = server.address.full();
    let options = ["--server", address.to_str().unwrap(), "-t", "--"];
    is_installed.then(|| Screen::run(&[&options[..], words].concat()))
}

#[test]
fn vim_edits_a_file() {
    let server = Transport::Unix.server();
    let file = server.path("edited.txt");
    let words = [
        "vim",
        "-u",
        "NONE",
        "-i",
        "NONE",
        "-N",
        file.to_str().unwrap(),
    ];
    let Some(mut screen) = screen(&server, &words) else {
        return;
    };
    screen.wait_for("edited.txt");
    screen.type_in("ihello\x1b:wq\r");
    assert!(screen.finish().0.success());
    assert_eq!(fs::read_to_string(file).unwrap(), "hello\n");
    assert!(screen.is_cooked());
}

#[test]
fn less_shows_a_file_and_its_end() {
    let server = Transport::Unix.server();
    let file = server.path("long.txt");
    let lines: String = (1..=1000).map(|n| format!("line {n}.\n")).collect();
    fs::write(&file, lines).unwrap();
    let Some(mut screen) = screen(&server, &["less", file.to_str().unwrap()]) else {
        return;
    };
    screen.wait_for("line 1.");
    screen.type_in("G");
    screen.wait_for("line 1000.");
    screen.type_in("q");
    assert!(screen.finish().0.success());
    assert!(screen.is_cooked());
}

#[test]
fn top_shows_processes_until_it_is_quit() {
    let server = Transport::Unix.server();
    let Some(mut screen) = screen(&server, &["top"]) else {
        return;
    };
    screen.wait_for("PID");
    screen.type_in("q");
    assert!(screen.finish().0.success());
    assert!(screen.is_cooked());
}
