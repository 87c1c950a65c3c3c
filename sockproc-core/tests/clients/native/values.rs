//! What the lines of tests/vectors/native.txt mean, read without the codec that is under test.

use sockproc_core::proto::{
    EndedBy, Exit, ExitStatus, Reach, Refusal, RefusalKind, SignalTo, Stream,
};

pub(super) fn stream(word: &str) -> Stream {
    match word {
        "stdout" => Stream::Stdout,
        _ => Stream::Stderr,
    }
}

pub(super) fn signal(value: &str) -> (u8, SignalTo) {
    let (number, to) = value.split_once(' ').unwrap();
    let to = match to {
        "leader" => SignalTo::Leader,
        _ => SignalTo::Group,
    };
    (number.parse().unwrap(), to)
}

pub(super) fn exit(records: &str) -> Exit {
    let mut exit = Exit::default();
    let mut core_dumped = false;
    let mut signal = None;
    for record in records.split(' ') {
        let (name, value) = record.split_once('=').unwrap();
        let number = || value.parse().unwrap();
        match name {
            "exit" => exit.status = ExitStatus::Code(value.parse().unwrap()),
            "signal" => signal = Some(value.parse().unwrap()),
            "core" => core_dumped = value == "1",
            "unknown" => exit.status = ExitStatus::Unknown(None),
            "ended_by" => exit.ended_by = Some(ended_by(value)),
            "stdout_bytes" => exit.stdout.bytes = number(),
            "stdout_cut" => exit.stdout.cut = number(),
            "stderr_bytes" => exit.stderr.bytes = number(),
            "stderr_cut" => exit.stderr.cut = number(),
            "survivors" => exit.survivors = value.parse().unwrap(),
            "tree" if value == "cgroup" => exit.tree = Some(Reach::Cgroup),
            "tree" => exit.tree = Some(Reach::Links),
            "wall_us" => exit.wall_us = number(),
            "user_us" => exit.user_us = number(),
            "system_us" => exit.system_us = number(),
            _ => panic!("unknown record: {name}"),
        }
    }
    if let Some(signal) = signal {
        exit.status = ExitStatus::Signal {
            signal,
            core_dumped,
        };
    }
    exit
}

fn ended_by(word: &str) -> EndedBy {
    match word {
        "timeout" => EndedBy::Timeout,
        "idle-timeout" => EndedBy::IdleTimeout,
        "output-limit" => EndedBy::OutputLimit,
        "cancel" => EndedBy::Cancel,
        "shutdown" => EndedBy::Shutdown,
        _ => EndedBy::Other,
    }
}

pub(super) fn refusal(records: &str) -> Refusal {
    let (before, message) = records.split_once("message=").unwrap();
    let mut refusal = Refusal::new(RefusalKind::Other, message);
    for record in before.split_whitespace() {
        match record.split_once('=').unwrap() {
            ("kind", word) => {
                let mut kinds = KINDS.into_iter();
                let kind = kinds.find(|(_, known)| *known == word);
                refusal.kind = kind.unwrap().0;
            }
            ("step", step) => refusal.step = Some(step.to_owned()),
            ("errno", errno) => refusal.errno = Some(errno.parse().unwrap()),
            (name, _) => panic!("unknown record: {name}"),
        }
    }
    refusal
}

pub(super) fn kind_word(kind: RefusalKind) -> &'static str {
    let mut kinds = KINDS.into_iter();
    kinds.find(|(known, _)| *known == kind).unwrap().1
}

const KINDS: [(RefusalKind, &str); 9] = [
    (RefusalKind::Busy, "busy"),
    (RefusalKind::QueueTimeout, "queue-timeout"),
    (RefusalKind::Policy, "policy"),
    (RefusalKind::BadRequest, "bad-request"),
    (RefusalKind::CannotSpawn, "cannot-spawn"),
    (RefusalKind::Unsupported, "unsupported"),
    (RefusalKind::ShuttingDown, "shutting-down"),
    (RefusalKind::Cancelled, "cancelled"),
    (RefusalKind::Other, "other"),
];
