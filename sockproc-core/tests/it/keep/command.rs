//! What a command sees of the world.

use std::process::{Command, Stdio};

use crate::support::{Reply, Transport, on_both_transports};

on_both_transports!(
    stdin_stdout_and_stderr_are_three_pipes,
    the_standard_streams_can_be_reopened,
    only_descriptors_0_to_2_are_open,
    the_environment_is_the_daemons,
    the_working_directory_is_the_daemons,
    the_umask_is_the_daemons,
    the_limits_are_the_daemons,
    a_soft_limit_of_descriptors_is_the_daemons,
    a_daemons_commands_see_the_launchers_world,
    no_signal_is_blocked_or_ignored,
    sigpipe_ends_a_writer,
);

fn stdin_stdout_and_stderr_are_three_pipes(on: Transport) {
    let reply = on
        .server()
        .run("cd /proc/$$/fd; for fd in 0 1 2; do readlink $fd; done");
    let out = reply.out();
    let pipes: std::collections::HashSet<&str> = out.lines().collect();
    assert_eq!(pipes.len(), 3, "{out}");
    assert!(pipes.iter().all(|pipe| pipe.starts_with("pipe:[")), "{out}");
}

fn the_standard_streams_can_be_reopened(on: Transport) {
    let command = "cat /dev/stdin; echo out > /dev/stdout; echo err > /dev/stderr";
    assert_eq!(
        on.server().run_with(command, "in\n"),
        Reply::new(0, "in\nout\n", "err\n")
    );
}

fn only_descriptors_0_to_2_are_open(on: Transport) {
    let server = on.server();
    let _idle: Vec<_> = (0..5).map(|_| server.connect()).collect();
    let _busy: Vec<_> = (0..5).map(|_| server.send("cat\r\n1\r\n")).collect();
    for _ in 0..10 {
        assert_eq!(server.run("ls /proc/$$/fd; :").out(), "0\n1\n2\n");
    }
}

fn the_environment_is_the_daemons(on: Transport) {
    let world = r#"unset HOME; PATH=/usr/bin:/bin:/nowhere; EMPTY=; LINES_="a
b"; BYTES=$(printf '\377\376'); export PATH EMPTY LINES_ BYTES"#;
    like_a_shell_of_the_same_origin(on, world, "env | LC_ALL=C sort; echo \"$BYTES\"");
}

fn the_working_directory_is_the_daemons(on: Transport) {
    like_a_shell_of_the_same_origin(on, "cd /usr/bin", "pwd; readlink /proc/$$/cwd");
}

fn the_umask_is_the_daemons(on: Transport) {
    like_a_shell_of_the_same_origin(on, "umask 0137", "umask");
    like_a_shell_of_the_same_origin(on, "umask 0", "umask");
}

fn the_limits_are_the_daemons(on: Transport) {
    let world =
        "ulimit -c 0; ulimit -S -s 4096; ulimit -H -s 16384; ulimit -f 1000000; ulimit -S -n 200";
    like_a_shell_of_the_same_origin(on, world, "cat /proc/self/limits");
}

fn a_soft_limit_of_descriptors_is_the_daemons(on: Transport) {
    let server = on.setup().shell("ulimit -n 500; ulimit -S -n 100").start();
    assert_eq!(server.run("ulimit -S -n; ulimit -H -n").out(), "100\n500\n");
}

fn a_daemons_commands_see_the_launchers_world(on: Transport) {
    // Only the working directory is the daemon's own, and PWD with it.
    let world = "cd /; unset OLDPWD; umask 0137; MARK=launchers; export MARK; ulimit -n 500; ulimit -S -n 100; ulimit -c 0";
    let command = "env | LC_ALL=C sort; umask; cat /proc/self/limits; pwd";
    let daemon = on.setup().shell(world).launch();
    let plain = Command::new("/bin/sh")
        .args(["-c", &format!("{world}; exec /bin/sh -c \"$0\""), command])
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert_eq!(
        daemon.run(command),
        Reply::new(0, plain.stdout, plain.stderr)
    );
    let signals = daemon.run("grep -E 'Sig(Blk|Ign)' /proc/self/status").out();
    assert_no_signal(&signals);
}

fn no_signal_is_blocked_or_ignored(on: Transport) {
    assert_no_signal(
        &on.server()
            .run("grep -E 'Sig(Blk|Ign)' /proc/self/status")
            .out(),
    );
}

fn assert_no_signal(masks: &str) {
    assert_eq!(masks.lines().count(), 2, "{masks}");
    for line in masks.lines() {
        let mask = u64::from_str_radix(line.split_whitespace().nth(1).unwrap(), 16).unwrap();
        // 32 and 33 are libc's own: the parent of this test may have left them ignored.
        assert_eq!(mask & !(0b11 << 31), 0, "{line}");
    }
}

fn sigpipe_ends_a_writer(on: Transport) {
    let server = on.server();
    assert_eq!(server.run("kill -PIPE $$").status, 13);
    assert_eq!(
        server.run("{ yes; echo $? >&2; } | head -n 1"),
        Reply::new(0, "y\n", "141\n")
    );
}

/// The command says the same through the server as from a shell that started where the server did.
fn like_a_shell_of_the_same_origin(on: Transport, world: &str, command: &str) {
    let server = on.setup().shell(world).start();
    let plain = Command::new("/bin/sh")
        .args(["-c", &format!("{world}; exec /bin/sh -c \"$0\""), command])
        .current_dir(server.dir.path())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(plain.status.success(), "{plain:?}");
    assert_eq!(
        server.run(command),
        Reply::new(0, plain.stdout, plain.stderr)
    );
}
