//! Requests from the records of tests/vectors/native.txt, read without the codec that is under test.

use sockproc_core::proto::{Argv, Invocation, Millis, OnDisconnect, PastMax, Request, StreamMode};

/// What `name=value` records ask for.
pub(super) fn request(records: &[&str]) -> Request {
    let mut words = Vec::new();
    let mut request = Request::line("");
    request.on_disconnect = Some(OnDisconnect::Kill);
    for record in records {
        let (name, value) = record.split_once('=').unwrap();
        let bytes = || value.to_owned().into();
        let limits = &mut request.limits;
        match name {
            "arg" => words.push(value.to_owned()),
            "line" => request.invocation = Invocation::Line(bytes()),
            "program" => request.programs.push(bytes()),
            "cwd" => request.cwd = Some(bytes()),
            "token" => request.token = Some(bytes()),
            "clear_env" => request.environment.is_cleared = true,
            "unenv" => request.environment.unset.push(bytes()),
            "env" => request.environment.set.push(bytes()),
            "stdin" => request.stdin = mode(value),
            "stdout" => request.stdout = mode(value),
            "stderr" => request.stderr = mode(value),
            "fd" => request.fds.push(number(value)),
            "timeout" => limits.timeout = millis(value),
            "idle_timeout" => limits.idle_timeout = millis(value),
            "queue_timeout" => limits.queue_timeout = millis(value),
            "grace" => limits.grace = millis(value),
            "linger" => limits.linger = millis(value),
            "max_output" => limits.max_output = Some(value.parse().unwrap()),
            "past_max" => limits.past_max = PastMax::Discard,
            _ => about_process(&mut request, name, value),
        }
    }
    if !words.is_empty() {
        request.invocation = Invocation::Argv(Argv::new(words).unwrap());
    }
    request
}

fn about_process(request: &mut Request, name: &str, value: &str) {
    let groups = &mut request.identity.supplementary_groups;
    match name {
        "on_disconnect" if value == "kill" => {}
        "on_disconnect" => request.on_disconnect = Some(OnDisconnect::Finish),
        "session" => request.session = true,
        "process_group" => request.process_group = number(value),
        "terminal" => request.terminal = true,
        "umask" => request.umask = Some(number(value)),
        "user" => request.identity.user = Some(number(value)),
        "group" => request.identity.group = Some(number(value)),
        "supplementary_group" if value.is_empty() => *groups = Some(Vec::new()),
        "supplementary_group" => groups.get_or_insert_default().push(number(value)),
        "ignore_signal" => request.ignored_signals.push(number(value)),
        "pidfd" => request.pidfd = true,
        _ => panic!("unknown record: {name}"),
    }
}

fn mode(word: &str) -> StreamMode {
    match word {
        "null" => StreamMode::Null,
        "frames" => StreamMode::Piped,
        "fd" => StreamMode::Descriptor,
        "closed" => StreamMode::Closed,
        "stdout" => StreamMode::Stdout,
        _ => panic!("unknown mode: {word}"),
    }
}

fn millis(value: &str) -> Option<Millis> {
    Millis::new(value.parse().unwrap())
}

fn number(value: &str) -> u32 {
    value.parse().unwrap()
}
