//! Whole RUN frames that no server can run: each is refused, and the refusal names what is wrong.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use rustix::io::Errno;

use super::bystanders::Bystanders;
use super::wire::*;
use crate::support::{TestServer, Transport, on_both_transports};

on_both_transports!(
    a_bad_request_is_refused_by_the_name_of_its_record,
    a_start_that_fails_says_its_step_and_the_number_of_the_kernel,
    a_request_of_great_numbers_is_run,
    another_version_is_refused_as_unsupported,
);

/// Records, the kind of the refusal, and how its message begins.
const BAD: &[(&str, &str, &str)] = &[
    ("", "bad-request", "arg: "),
    ("stdin=null|", "bad-request", "arg: "),
    ("arg=ls", "bad-request", "RUN: no NUL"),
    ("arg=ls|cwd", "bad-request", "RUN: no NUL"),
    ("arg|", "bad-request", "RUN: no = "),
    ("|arg=ls|", "bad-request", "RUN: no = "),
    ("arg=ls||", "bad-request", "RUN: no = "),
    ("=ls|", "unsupported", "RUN: unknown record"),
    (
        "arg=ls|colour=red|",
        "unsupported",
        r#"RUN: unknown record "colour""#,
    ),
    ("arg=ls|line=ls|", "bad-request", "line: "),
    ("line=a|line=b|", "bad-request", "line: it comes twice"),
    ("arg=ls|cwd=/|cwd=/|", "bad-request", "cwd: it comes twice"),
    (
        "arg=ls|timeout=9|timeout=9|",
        "bad-request",
        "timeout: it comes twice",
    ),
    ("line=a|program=ls|", "bad-request", "program: "),
    ("arg=ls|env=|", "bad-request", "env: "),
    ("arg=ls|env=A|", "bad-request", "env: "),
    ("arg=ls|env==b|", "bad-request", "env: "),
    ("arg=ls|unenv=|", "bad-request", "unenv: "),
    ("arg=ls|unenv=A=b|", "bad-request", "unenv: "),
    ("arg=ls|clear_env=yes|", "bad-request", "clear_env: "),
    ("arg=ls|stdin=|", "bad-request", "stdin: "),
    ("arg=ls|stdin=stdout|", "bad-request", "stdin: "),
    ("arg=ls|stdout=stdout|", "bad-request", "stdout: "),
    ("arg=ls|stderr=stderr|", "bad-request", "stderr: "),
    ("arg=ls|fd=2|", "bad-request", "fd: "),
    ("arg=ls|fd=1048576|", "bad-request", "fd: "),
    ("arg=ls|fd=3|fd=3|", "bad-request", "fd: 3 comes twice"),
    ("arg=ls|timeout=0|", "bad-request", "timeout: "),
    ("arg=ls|timeout=|", "bad-request", "timeout: "),
    ("arg=ls|timeout=-1|", "bad-request", "timeout: "),
    ("arg=ls|timeout=+1|", "bad-request", "timeout: "),
    ("arg=ls|timeout= 1|", "bad-request", "timeout: "),
    ("arg=ls|timeout=1.5|", "bad-request", "timeout: "),
    ("arg=ls|timeout=1s|", "bad-request", "timeout: "),
    ("arg=ls|timeout=0x10|", "bad-request", "timeout: "),
    ("arg=ls|idle_timeout=0|", "bad-request", "idle_timeout: "),
    ("arg=ls|queue_timeout=0|", "bad-request", "queue_timeout: "),
    ("arg=ls|grace=0|", "bad-request", "grace: "),
    ("arg=ls|linger=0|", "bad-request", "linger: "),
    (
        "arg=ls|max_output=9223372036854775808|",
        "bad-request",
        "max_output: ",
    ),
    (
        "arg=ls|max_output=99999999999999999999|",
        "bad-request",
        "max_output: ",
    ),
    ("arg=ls|max_output=-1|", "bad-request", "max_output: "),
    ("arg=ls|past_max=stop|", "bad-request", "past_max: "),
    (
        "arg=ls|on_disconnect=ignore|",
        "bad-request",
        "on_disconnect: ",
    ),
    ("arg=ls|session=2|", "bad-request", "session: "),
    (
        "arg=ls|process_group=2147483648|",
        "bad-request",
        "process_group: ",
    ),
    (
        "arg=ls|process_group=9|session=1|",
        "bad-request",
        "process_group: ",
    ),
    ("arg=ls|terminal=1|", "bad-request", "terminal: "),
    (
        "arg=ls|terminal=1|stdin=frames|",
        "bad-request",
        "terminal: ",
    ),
    ("arg=ls|umask=0o22|", "bad-request", "umask: "),
    ("arg=ls|umask=512|", "bad-request", "umask: "),
    ("arg=ls|user=4294967295|", "bad-request", "user: "),
    ("arg=ls|group=root|", "bad-request", "group: "),
    (
        "arg=ls|supplementary_group=|supplementary_group=1|",
        "bad-request",
        "supplementary_group: ",
    ),
    ("arg=ls|ignore_signal=65|", "bad-request", "ignore_signal: "),
    ("arg=ls|pidfd=|", "bad-request", "pidfd: "),
    (
        "arg=ls|token=t|",
        "bad-request",
        "token: it is not the first record",
    ),
    ("token=t|arg=ls|", "policy", "token: "),
    (
        "arg=ls|stdout=fd|max_output=9|",
        "bad-request",
        "max_output: ",
    ),
    ("arg=ls|stderr=fd|linger=9|", "bad-request", "linger: "),
    (
        "arg=ls|stdout=fd|idle_timeout=9|",
        "bad-request",
        "idle_timeout: ",
    ),
];

fn a_bad_request_is_refused_by_the_name_of_its_record(on: Transport) {
    let server = on.server();
    let bystanders = Bystanders::of(&server);
    for (run, kind, message) in BAD {
        let heard = Heard::parse(&server.exchange(ask(run)));
        assert_eq!(heard.kinds(), [REFUSED], "{run}");
        let refused = heard.last(REFUSED);
        let told = &refused["message"];
        assert_eq!(&refused["kind"], kind, "{run}: {told}");
        assert!(
            told.starts_with(message) && !told.contains('\n'),
            "{run}: {told}"
        );
    }
    bystanders.are_untouched();
}

/// Records, the step that fails, and the kernel's number.
const FAILING: &[(&str, &str, Errno)] = &[
    ("arg=true|cwd=/no/such|", "chdir", Errno::NOENT),
    ("arg=true|cwd=|", "chdir", Errno::NOENT),
    ("arg=true|cwd=file|", "chdir", Errno::NOTDIR),
    ("arg=no-such-program|", "exec", Errno::NOENT),
    ("arg=/no/such/program|", "exec", Errno::NOENT),
    ("arg=|", "exec", Errno::NOENT),
    ("arg=./dir|", "exec", Errno::ACCESS),
    ("arg=./file|", "exec", Errno::ACCESS),
    ("arg=./file/below|", "exec", Errno::NOTDIR),
    ("arg=./bad-interpreter|", "exec", Errno::NOENT),
    ("arg=./loop|", "exec", Errno::LOOP),
    ("arg=./no-program|", "exec", Errno::NOEXEC),
    ("arg=sh|env=PATH=/no/such|", "exec", Errno::NOENT),
    (
        "arg=ls|program=./file|program=./dir|",
        "exec",
        Errno::ACCESS,
    ),
    (
        "line=true|process_group=2147483647|",
        "setpgid",
        Errno::PERM,
    ),
];

fn a_start_that_fails_says_its_step_and_the_number_of_the_kernel(on: Transport) {
    let server = on.server();
    make_files(&server);
    let bystanders = Bystanders::of(&server);
    let long_name = format!("arg=./{}|", "x".repeat(256));
    let long_argument = format!("arg=true|arg={}|", "x".repeat(131_072));
    let long = [
        (long_name.as_str(), "exec", Errno::NAMETOOLONG),
        (long_argument.as_str(), "exec", Errno::TOOBIG),
    ];
    for (run, step, errno) in FAILING.iter().chain(&long) {
        let shown = &run[..run.len().min(60)];
        let heard = Heard::parse(&server.exchange(ask(run)));
        assert_eq!(heard.kinds(), [REFUSED], "{shown}");
        let refused = heard.last(REFUSED);
        assert_eq!(refused["kind"], "cannot-spawn", "{shown}: {refused:?}");
        assert_eq!(&refused["step"], step, "{shown}: {refused:?}");
        let number = errno.raw_os_error().to_string();
        assert_eq!(refused["errno"], number, "{shown}: {refused:?}");
        assert!(!refused["message"].is_empty());
    }
    bystanders.are_untouched();
}

fn make_files(server: &TestServer) {
    fs::create_dir(server.path("dir")).unwrap();
    std::os::unix::fs::symlink("loop", server.path("loop")).unwrap();
    let file = |name, text, mode| {
        fs::write(server.path(name), text).unwrap();
        fs::set_permissions(server.path(name), Permissions::from_mode(mode)).unwrap();
    };
    file("file", "#!/bin/sh\n", 0o600);
    file("bad-interpreter", "#!/no/such/interpreter\n", 0o700);
    file("no-program", "\u{7f}ELF is what it says", 0o700);
}

fn a_request_of_great_numbers_is_run(on: Transport) {
    let server = on.server();
    let all = "timeout idle_timeout queue_timeout grace linger".split(' ');
    let limit = |name, value| format!("{name}={value}|");
    for value in [
        "1099511627777",
        "18446744073709551615",
        "99999999999999999999999",
    ] {
        let limits: String = all.clone().map(|name| limit(name, value)).collect();
        let run = format!("line=echo hi|max_output=9223372036854775807|{limits}");
        let heard = Heard::parse(&server.exchange(ask(&run)));
        assert_eq!(heard.last(EXITED)["exit"], "0", "{value}");
        assert_eq!(heard.bytes(STDOUT), b"hi\n");
    }
    let zeros = format!("arg=echo|timeout={}9999|", "0".repeat(1000));
    let heard = Heard::parse(&server.exchange(ask(&zeros)));
    assert_eq!(heard.last(EXITED)["exit"], "0");
}

fn another_version_is_refused_as_unsupported(on: Transport) {
    let server = on.server();
    for version in ["0", "1", "3", "999999999"] {
        let opening = format!("#sockproc/{version}\r\n0\r\n");
        let run = records(RUN, "line=echo > ran|");
        let heard = Heard::parse(&server.exchange([opening.as_bytes(), &run].concat()));
        assert_eq!(heard.kinds(), [REFUSED], "{version}");
        assert_eq!(heard.last(REFUSED)["kind"], "unsupported", "{version}");
    }
    assert!(!server.path("ran").exists());
}
