//! A terminal for the command: `sockproc run -t`.

use std::process::{Command, Stdio};

use rustix::process::Signal;

use super::screen::Screen;
use super::{OWN_FAILURE, complained, run_with, said, sockproc};
use crate::support::{
    Doomed, TestServer, Transport, descendants, is_alive, poll_until, send_signal, state_of,
};

fn server() -> TestServer {
    Transport::Unix.server()
}

/// `sockproc run -t` on this server, with these words.
fn on(server: &TestServer, words: &[&str]) -> Screen {
    let address = server.address.full();
    let options = ["--server", address.to_str().unwrap(), "-t", "--"];
    Screen::run(&[&options[..], words].concat())
}

/// Waits until a process of this name runs in the foreground of its terminal.
fn wait_for_foreground(server: &TestServer, name: &str) {
    let is_it = |pid: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        let (head, tail) = stat.rsplit_once(") ").unwrap_or_default();
        // State, parent, group, session, terminal, its foreground group (proc_pid_stat(5)).
        let fields: Vec<_> = tail.split(' ').collect();
        head.ends_with(&format!("({name}")) && fields[0] != "T" && fields[2] == fields[5]
    };
    poll_until(|| descendants(server.pid()).iter().any(is_it));
}

#[test]
fn a_command_has_a_terminal_of_its_own_of_our_size_and_type() {
    let server = server();
    let line = "tty; stty size; echo $TERM; ps -o pgid=,tpgid= -p $$ | tr -s ' ' , ; exit 5";
    let mut screens = [on(&server, &[line]), Screen::run(&["-t", "--", line])];
    for screen in &mut screens {
        screen.wait_for("/dev/pts/");
        screen.wait_for("30 90\r\nxterm\r\n");
        let (status, rest) = screen.finish();
        let rest = String::from_utf8(rest).unwrap();
        // It is in the foreground.
        let groups: Vec<_> = rest.trim().trim_matches(',').split(',').collect();
        assert!(groups.len() == 2 && groups[0] == groups[1], "{rest:?}");
        assert_eq!(status.code(), Some(5));
        assert!(screen.is_cooked());
    }
}

#[test]
fn ctrl_c_is_for_the_command() {
    let server = server();
    let line = "trap 'echo caught; exit 6' INT; echo ready; while :; do sleep 0.01; done";
    let mut screen = on(&server, &[line]);
    screen.wait_for("ready");
    screen.type_in("\x03");
    screen.wait_for("caught");
    assert_eq!(screen.finish().0.code(), Some(6));
}

#[test]
fn the_terminal_has_our_size_after_it_has_changed() {
    let server = server();
    let line = "trap 'stty size; exit' WINCH; echo ready; while :; do sleep 0.01; done";
    let mut screen = on(&server, &[line]);
    screen.wait_for("ready");
    screen.resize(12, 34);
    screen.wait_for("12 34");
    assert!(screen.finish().0.success());
}

#[test]
fn what_is_written_last_is_shown_whole() {
    let server = server();
    for _ in 0..10 {
        let mut screen = on(&server, &["seq 20000"]);
        let (status, shown) = screen.finish();
        assert!(status.success());
        let expected: String = (1..=20_000).map(|n| format!("{n}\r\n")).collect();
        assert_eq!(shown.len(), expected.len());
        assert!(shown == expected.as_bytes());
    }
}

#[test]
fn a_shell_stops_and_continues_its_jobs() {
    let server = server();
    let mut screen = on(&server, &["env", "PS1=+ready+", "sh", "-i"]);
    screen.wait_for("+ready+");
    screen.type_in("sleep 1000\r");
    screen.wait_for("sleep 1000\r\n");
    wait_for_foreground(&server, "sleep");
    screen.type_in("\x1a");
    screen.wait_for("Stopped");
    screen.wait_for("+ready+");
    screen.type_in("fg\r");
    screen.wait_for("sleep 1000\r\n");
    wait_for_foreground(&server, "sleep");
    screen.type_in("\x03");
    screen.wait_for("+ready+");
    screen.type_in("exit 7\r");
    assert_eq!(screen.finish().0.code(), Some(7));
    assert!(screen.is_cooked());
}

#[test]
fn our_terminal_has_its_settings_back_when_the_server_is_killed() {
    let mut server = server();
    let mut screen = on(&server, &["stty raw; echo ready; exec sleep 1000"]);
    screen.wait_for("ready");
    assert!(!screen.is_cooked());
    server.signal(Signal::KILL);
    server.wait();
    let (status, shown) = screen.finish();
    assert_eq!(status.code(), Some(OWN_FAILURE));
    assert!(String::from_utf8_lossy(&shown).contains("sockproc: "));
    assert!(screen.is_cooked());
}

#[test]
fn our_terminal_has_its_settings_back_when_a_signal_ends_the_command() {
    let server = server();
    for signal in [Signal::TERM, Signal::HUP, Signal::QUIT] {
        let mut screen = on(&server, &["echo ready; exec sleep 1000"]);
        screen.wait_for("ready");
        send_signal(screen.pid(), signal);
        let (status, _) = screen.finish();
        assert_eq!(status.code(), Some(128 + signal.as_raw()));
        assert!(screen.is_cooked());
    }
}

#[test]
fn run_takes_the_terminal_again_when_it_continues() {
    let server = server();
    let mut screen = on(&server, &["echo ready; read line; echo got $line"]);
    screen.wait_for("ready");
    send_signal(screen.pid(), Signal::STOP);
    poll_until(|| state_of(screen.pid()) == Some('T'));
    // As a shell does when a job stops.
    screen.cook();
    screen.resize(11, 22);
    send_signal(screen.pid(), Signal::CONT);
    poll_until(|| !screen.is_cooked());
    screen.type_in("it\r");
    screen.wait_for("got it");
    assert!(screen.finish().0.success());
    assert!(screen.is_cooked());
}

#[test]
fn our_terminal_is_left_alone_when_the_command_cannot_be_started() {
    let server = server();
    let mut screen = on(&server, &["/nonexistent/program", "x"]);
    let (status, shown) = screen.finish();
    assert_eq!(status.code(), Some(127));
    assert!(String::from_utf8_lossy(&shown).ends_with("\r\n"));
    assert!(screen.is_cooked());
}

#[test]
fn a_terminal_is_made_only_beside_one_of_ours() {
    let server = server();
    let output = run_with(&server, &["-t"], &["true"]);
    assert_eq!(output.status.code(), Some(OWN_FAILURE), "{output:?}");
    assert!(complained(&output).contains("terminal"), "{output:?}");
}

#[test]
fn output_on_a_terminal_can_go_elsewhere() {
    let server = server();
    let line = format!(
        "'{}' run -t --server '{}' -- 'test -t 1 && echo yes' > shown",
        sockproc(&[]).get_program().to_str().unwrap(),
        server.address.full().to_str().unwrap()
    );
    let mut script = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .current_dir(server.dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // At its end script(1) would type it.
    let stdin = script.stdin.take();
    assert!(script.wait().unwrap().success());
    drop(stdin);
    assert_eq!(server.read("shown"), "yes\r\n");
}

#[test]
fn a_terminal_that_goes_takes_its_command_along() {
    let server = server();
    let screen = on(
        &server,
        &["echo $$ > pid.tmp; mv pid.tmp pid; exec sleep 1000"],
    );
    let pid: u32 = server.wait_for("pid").trim().parse().unwrap();
    let command = Doomed(pid);
    screen.hang_up();
    poll_until(|| !is_alive(command.0));
}

#[test]
fn a_wait_for_the_server_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("s.sock");
    // It accepts nothing, as a server without a free place does.
    let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
    let mut screen = Screen::run(&["--server", path.to_str().unwrap(), "--", "true"]);
    screen.wait_for("waiting for the server: 1 s");
    screen.wait_for("\rsockproc: waiting for the server: 2 s");
    screen.type_in("\x03");
    let (status, shown) = screen.finish();
    let by_signal = std::os::unix::process::ExitStatusExt::signal(&status);
    assert_eq!(by_signal, Some(Signal::INT.as_raw()));
    assert!(shown.ends_with(b"\n"), "{}", shown.escape_ascii());
    let output = run_with(&server(), &[], &["sleep 1.2; echo said"]);
    assert_eq!(
        (said(&output).as_str(), &output.stderr[..]),
        ("said", &b""[..])
    );
}
