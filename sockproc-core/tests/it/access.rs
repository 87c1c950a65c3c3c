//! Which addresses a server takes, and takes over.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::{Output, Stdio};

use rustix::process::Signal;

use crate::support::{Address, Setup, Transport, finish, on_both_transports, poll_until};

on_both_transports!(a_live_address_is_refused_and_goes_on_living);

const EPERM: i32 = 1;
const EEXIST: i32 = 17;
const ENOENT: i32 = 2;
const ENOTDIR: i32 = 20;
const EADDRINUSE: i32 = 98;

fn a_live_address_is_refused_and_goes_on_living(on: Transport) {
    let server = on.server();
    let taken = if on == Transport::Unix {
        EEXIST
    } else {
        EADDRINUSE
    };
    for words in [&[][..], &["--foreground"]] {
        let mut second = on.setup();
        second.address = server.address.clone();
        refused(
            second.args(words),
            taken,
            &server.address.word().to_string_lossy(),
        );
        assert_eq!(server.run("echo first").out(), "first\n");
    }
}

#[test]
fn a_live_socket_that_cannot_be_executed_is_refused_and_goes_on_living() {
    let server = Transport::Unix.server();
    for mode in [0o666, 0o600, 0] {
        fs::set_permissions(server.path("s.sock"), fs::Permissions::from_mode(mode)).unwrap();
        let mut second = Transport::Unix.setup();
        second.address = server.address.clone();
        refused(second, EEXIST, "s.sock");
    }
    fs::set_permissions(server.path("s.sock"), fs::Permissions::from_mode(0o700)).unwrap();
    assert_eq!(server.run("echo first").out(), "first\n");
}

#[test]
fn a_live_socket_of_another_program_is_refused_and_goes_on_living() {
    let setup = Transport::Unix.setup();
    let path = setup.dir.path().join("s.sock");
    let listener = UnixListener::bind(&path).unwrap();
    let _dir = refused(setup, EEXIST, "s.sock");
    // The probe may have left a connection: ours is behind it.
    listener.set_nonblocking(true).unwrap();
    while listener.accept().is_ok() {}
    let _client = std::os::unix::net::UnixStream::connect(&path).unwrap();
    assert!(listener.accept().is_ok());
}

#[test]
fn a_plain_file_at_the_path_is_refused_and_intact() {
    for mode in [0o644, 0o755, 0] {
        let setup = Transport::Unix.setup();
        let path = setup.dir.path().join("s.sock");
        let kept = setup.dir.path().join("kept");
        fs::write(&path, "precious").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        fs::hard_link(&path, &kept).unwrap();
        let dir = refused(setup, EEXIST, "s.sock");
        assert_eq!(fs::read(dir.path().join("s.sock")).unwrap(), b"precious");
    }
}

#[test]
fn other_files_at_the_path_are_refused_and_intact() {
    let directory = Transport::Unix.setup();
    fs::create_dir(directory.dir.path().join("s.sock")).unwrap();
    let dir = refused(directory, EEXIST, "s.sock");
    assert!(dir.path().join("s.sock").is_dir());

    let link = Transport::Unix.setup();
    fs::write(link.dir.path().join("target"), "precious").unwrap();
    std::os::unix::fs::symlink("target", link.dir.path().join("s.sock")).unwrap();
    let dir = refused(link, EEXIST, "s.sock");
    assert_eq!(fs::read(dir.path().join("target")).unwrap(), b"precious");
    assert!(dir.path().join("s.sock").is_symlink());
}

#[test]
fn a_stale_socket_is_taken_over() {
    // The dead stay in the list: the directory of the first holds the socket.
    let mut servers = vec![Transport::Unix.server()];
    for _ in 0..3 {
        let server = servers.last_mut().unwrap();
        server.signal(Signal::KILL);
        server.wait();
        assert!(servers[0].path("s.sock").exists());
        let mut next = Transport::Unix.setup();
        next.address = servers[0].address.clone();
        servers.push(next.start());
        assert_eq!(servers.last().unwrap().run("echo next").out(), "next\n");
    }
}

#[test]
fn one_of_many_that_start_at_once_on_a_stale_socket_wins() {
    let setup = Transport::Unix.setup();
    let path = setup.dir.path().join("s.sock");
    drop(UnixListener::bind(&path).unwrap());
    let mut starts: Vec<_> = (0..8)
        .map(|number| {
            setup
                .command()
                .args([&format!("pid{number}"), "--foreground"])
                .stderr(Stdio::null())
                .spawn()
                .unwrap()
        })
        .collect();
    poll_until(|| {
        starts
            .iter_mut()
            .filter_map(|start| start.try_wait().unwrap())
            .count()
            == 7
    });
    let codes: Vec<_> = starts
        .iter_mut()
        .filter_map(|start| start.try_wait().unwrap())
        .map(|end| end.code())
        .collect();
    assert_eq!(codes, [Some(EEXIST); 7]);
    assert!(setup.address.is_served());
    for start in &mut starts {
        let _ = start.kill();
        start.wait().unwrap();
    }
}

#[test]
fn bind_errors_are_told_before_it_daemonizes_with_errno_as_exit_code() {
    for (path, errno) in [("nosuch/s.sock", ENOENT), ("file/s.sock", ENOTDIR)] {
        for words in [&[][..], &["--foreground"]] {
            let mut setup = Transport::Unix.setup();
            fs::write(setup.dir.path().join("file"), "").unwrap();
            setup.address = Address::Unix(setup.dir.path().join(path));
            refused(setup.args(words), errno, path);
        }
    }
}

#[test]
fn what_begins_with_digits_and_is_no_number_is_a_path() {
    for path in ["13000x", "2024/x.sock", "1.5", "0x10", "8080 "] {
        let mut setup = Transport::Unix.setup();
        fs::create_dir(setup.dir.path().join("2024")).unwrap();
        setup.address = Address::Unix(path.into());
        let dir = setup.dir.path().to_owned();
        let mut process = setup.command().arg("--foreground").spawn().unwrap();
        setup.address = Address::Unix(dir.join(path));
        poll_until(|| setup.address.is_served());
        process.kill().unwrap();
        process.wait().unwrap();
    }
}

#[test]
fn a_port_that_is_no_port_is_refused_by_its_digits() {
    for port in ["0", "65536", "70000", "4294967376", "99999999999999999999"] {
        let output = finish_with(Transport::Unix.setup(), port);
        assert!(says(&output, port), "{output:?}");
    }
}

#[test]
fn an_empty_address_is_refused() {
    let output = finish_with(Transport::Unix.setup(), "");
    assert!(!output.stderr.is_empty());
}

#[test]
fn a_path_of_107_bytes_is_served_and_one_of_108_is_refused() {
    let mut setup = Transport::Unix.setup();
    let room = 107 - setup.dir.path().as_os_str().len() - 1;
    let longest = setup.dir.path().join("x".repeat(room));
    assert_eq!(longest.as_os_str().as_bytes().len(), 107);
    setup.address = Address::Unix(longest.clone());
    let server = setup.start();
    assert_eq!(server.run("echo hi").out(), "hi\n");
    for more in 1..4 {
        let path = format!("{}{}", longest.display(), "y".repeat(more));
        let output = finish_with(Transport::Unix.setup(), &path);
        assert!(says(&output, &path) || says(&output, "10"), "{output:?}");
        assert!(!Path::new(&path).exists());
    }
    // Cut to what fits, it would have been the live server's.
    assert_eq!(server.run("echo hi").out(), "hi\n");
}

#[test]
fn an_owner_that_cannot_be_set_is_told_at_once_and_leaves_no_socket() {
    let dir = tempfile::tempdir().unwrap();
    let (owner, shell) = if rustix::process::getuid().is_root() {
        let without_chown = "setpriv --inh-caps -chown --bounding-set -chown";
        ("12345", format!("set -- {without_chown} \"$@\""))
    } else {
        ("root", ":".to_owned())
    };
    // While one waits for the directory's lock, which it holds itself, the others give up theirs.
    let starts: Vec<_> = (0..4)
        .map(|number| {
            let mut setup = Transport::Unix
                .setup()
                .shell(&shell)
                .serve(["--owner", owner]);
            setup.address = Address::Unix(dir.path().join(format!("{number}.sock")));
            std::thread::spawn(move || finish(setup.command()))
        })
        .collect();
    for start in starts {
        let output = start.join().unwrap();
        assert_eq!(output.status.code(), Some(EPERM), "{output:?}");
        assert!(says(&output, "cannot change its owner"), "{output:?}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

/// The start fails with this exit code and a message that names the address; its directory is given back.
#[track_caller]
fn refused(setup: Setup, code: i32, name: &str) -> tempfile::TempDir {
    let output = finish(setup.command());
    assert_eq!(output.status.code(), Some(code), "{output:?}");
    assert!(says(&output, name), "{output:?}");
    setup.dir
}

/// What comes of starting on this address, which must be refused without a panic.
#[track_caller]
fn finish_with(mut setup: Setup, word: &str) -> Output {
    setup.address = Address::Unix(word.into());
    let output = finish(setup.command());
    assert!(
        matches!(output.status.code(), Some(1..=100)),
        "{word}: {output:?}"
    );
    output
}

fn says(output: &Output, name: &str) -> bool {
    String::from_utf8_lossy(&output.stderr).contains(name)
}
