//! Starting in directories where others can write, under low limits, and with misspelt words.

use std::fs::{self, File};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::fs::{FlockOperation, flock};

use crate::support::{Transport, binary, finish, poll_until, request};

/// Someone who can write to the directory puts a link in the socket's place at any moment.
#[test]
fn no_file_that_a_stranger_puts_in_the_place_of_a_socket_gets_its_mode_or_owner() {
    let dir = tempfile::tempdir().unwrap();
    let victim = dir.path().join("victim");
    fs::write(&victim, "").unwrap();
    fs::set_permissions(&victim, PermissionsExt::from_mode(0o600)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let mut setup = Transport::Unix.setup();
        let (socket, link) = (
            setup.dir.path().join("s.sock"),
            setup.dir.path().join("link"),
        );
        let (victim, is_over) = (&victim, &is_over);
        scope.spawn(move || {
            while !is_over.load(Relaxed) {
                if socket
                    .symlink_metadata()
                    .is_ok_and(|found| !found.is_symlink())
                {
                    let _ = symlink(victim, &link);
                    let _ = fs::rename(&link, &socket);
                }
                let _ = fs::remove_file(&socket);
            }
        });
        setup = setup.serve(["--mode", "666"]);
        for _ in 0..40 {
            let mut server = setup.command().spawn().unwrap();
            std::thread::sleep(std::time::Duration::from_millis(20));
            server.kill().unwrap();
            server.wait().unwrap();
        }
        is_over.store(true, Relaxed);
    });
    let mode = fs::metadata(&victim).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_mode_is_exact_whatever_the_umask() {
    for umask in ["000", "077", "777"] {
        for mode in [0o777, 0o660, 0o600, 0o1] {
            let octal = format!("{mode:o}");
            let server = Transport::Unix
                .setup()
                .shell(&format!("umask {umask}"))
                .serve(["--mode", &octal])
                .start();
            let found = fs::metadata(server.path("s.sock")).unwrap().permissions();
            assert_eq!(found.mode() & 0o777, mode, "{umask} {octal}");
            // What it runs has the server's own.
            let umask = format!("0{umask}\n");
            assert_eq!(server.run("umask").out(), umask);
        }
    }
}

#[test]
fn a_locked_directory_keeps_no_server_from_starting_or_ending() {
    let setup = Transport::Unix.setup();
    let directory = File::open(setup.dir.path()).unwrap();
    flock(&directory, FlockOperation::LockExclusive).unwrap();
    let mut server = setup.start();
    server.signal(rustix::process::Signal::TERM);
    server.wait();
    assert!(!server.path("s.sock").exists());
}

#[test]
fn what_a_stranger_puts_where_the_lock_belongs_keeps_no_server_from_starting() {
    let setup = Transport::Unix.setup();
    let lock = setup.dir.path().join("s.sock.lock");
    let theirs = File::create(&lock).unwrap();
    flock(&theirs, FlockOperation::LockExclusive).unwrap();
    // Its mode lets others lock it, with any owner.
    fs::set_permissions(&lock, PermissionsExt::from_mode(0o666)).unwrap();
    let server = setup.start();
    assert_eq!(server.run("echo hi").out(), "hi\n");
    assert!(lock.exists());
}

#[test]
fn a_fifo_as_pidfile_is_ignored() {
    let setup = Transport::Unix.setup();
    let fifo = setup.dir.path().join("fifo");
    assert!(
        Command::new("mkfifo")
            .arg(&fifo)
            .status()
            .unwrap()
            .success()
    );
    let server = setup.args([&fifo]).start();
    assert_eq!(server.run("echo hi").out(), "hi\n");
    let reasons = ["not a regular file", "No such device"];
    poll_until(|| reasons.iter().any(|reason| server.log().contains(reason)));
}

#[test]
fn help_is_a_word_that_helps() {
    let output = finish({
        let mut command = Command::new(binary());
        command.arg("help");
        command
    });
    assert_eq!(output.status.code(), Some(0));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        text.contains("Usage: sockproc") && text.contains("serve"),
        "{text}"
    );
    assert!(!Path::new("help").exists());
}

#[test]
fn a_misspelt_command_is_answered_and_not_listened_on() {
    let dir = tempfile::tempdir().unwrap();
    for (word, meant) in [
        ("serv", "serve"),
        ("sreve", "serve"),
        ("server", "serve"),
        ("Serve", "serve"),
        ("runn", "run"),
        ("pnig", "ping"),
        ("hepl", "help"),
    ] {
        let mut command = Command::new(binary());
        command.arg(word).current_dir(&dir);
        let output = finish(command);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(text.contains(word) && text.contains(meant), "{text}");
        assert_eq!(fs::read_dir(&dir).unwrap().count(), 0, "{word}");
    }
}

/// A daemon has no terminal; here its absence is an error at once, where a background group would stop.
#[test]
fn a_command_of_run_that_wants_the_terminal_gets_an_error() {
    let mut command = Command::new("script");
    let run = format!(
        "{} run -- 'read x </dev/tty; echo read: $?'",
        binary().display()
    );
    command.args(["-qec", &run, "/dev/null"]);
    let output = finish(command);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(text.contains("/dev/tty"), "{text}");
}

#[test]
fn too_few_threads_are_told_in_words() {
    if !rustix::process::getuid().is_root() {
        // Only root can become a user without processes, and only others have such a limit.
        return;
    }
    for limit in 1..5 {
        let setup = Transport::Unix.setup().shell("chmod 777 .").shell(&format!(
            "set -- setpriv --reuid 54321 --clear-groups prlimit --nproc={limit} \"$@\""
        ));
        let output = finish(setup.args(["--foreground"]).command());
        let text = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        assert!(
            text.contains("threads") && !text.contains("panicked"),
            "{text}"
        );
    }
}

#[test]
fn a_peer_outside_of_the_pid_namespace_is_logged_with_its_uid() {
    let unshare = match rustix::process::getuid().is_root() {
        true => "unshare",
        false => "unshare --map-root-user",
    };
    let server = Transport::Unix
        .setup()
        .shell(&format!(
            "set -- {unshare} --pid --fork --kill-child \"$@\""
        ))
        .serve(["--log", "info"])
        .start();
    let mut client = server.send(request("echo hi", ""));
    assert_eq!(client.read_last_reply().out(), "hi\n");
    poll_until(|| server.log().contains("outside of this pid namespace"));
    assert!(!server.log().contains("unknown (Success)"));
}
