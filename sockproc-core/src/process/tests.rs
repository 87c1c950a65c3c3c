//! What befalls a start, where nothing but this process can bring it about.

use std::collections::HashSet;
use std::os::fd::AsRawFd;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Rlimit, WaitOptions, getrlimit, setrlimit, waitpid};
use tokio::io::Interest;

use super::spawner::Started;
use super::{Leader, Process, Spawner, Spec, pipes};
use crate::proto::{ExitStatus, Request};
use crate::reactor::watch;

const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn a_command_whose_start_is_dropped_is_ended_and_reaped() {
    let spawner = Spawner::new(None, Duration::ZERO, 1).unwrap();
    let known = |spawner: &Spawner| -> HashSet<Pid> { spawner.leaders().all() };
    let spec = spec(Request::line("sleep 1000"));
    // On a busy machine it may be started before the future has looked: then once more.
    let mut is_dropped = false;
    while !is_dropped {
        {
            let newborn = Arc::default();
            let mut starting = pin!(Process::spawn(&spawner, spec.clone(), &newborn));
            let mut context = Context::from_waker(Waker::noop());
            is_dropped = starting.as_mut().poll(&mut context).is_pending();
            // It is born, and this future will not be told.
            poll_until(|| !is_dropped || !known(&spawner).is_empty());
        }
        poll_until(|| known(&spawner).is_empty());
    }
}

#[tokio::test]
async fn a_leader_that_the_reactor_does_not_take_runs_to_its_end() {
    let spawner = Spawner::new(None, Duration::ZERO, 0).unwrap();
    let spec = spec(Request::line("read x; exit 3").with_stdin(1));
    let (ours, theirs) = pipes::make(spec.streams, spec.is_stdin_empty).unwrap();
    let Started { claim, pidfd } = spawner.spawn(spec, theirs, &Arc::default()).await.unwrap();
    // The reactor takes a number once only (epoll_ctl(2), EEXIST).
    let _taken = watch(pidfd.as_raw_fd(), Interest::READABLE).unwrap();
    let leader = Leader::new(claim, pidfd);
    drop(ours.stdin);
    let reaped = leader.reap().await.unwrap();
    assert_eq!(reaped.status.decode(), ExitStatus::Code(3));
}

#[tokio::test]
async fn a_stdin_known_to_be_empty_is_at_its_end_and_takes_nothing_of_ours() {
    let spawner = Spawner::new(None, Duration::ZERO, 0).unwrap();
    let spec = spec(Request::line("test -p /dev/stdin && cat && exit 3").with_stdin(0));
    let Process { leader, stdin, .. } = Process::spawn(&spawner, spec, &Arc::default())
        .await
        .unwrap();
    assert!(stdin.is_none());
    let reaped = leader.reap().await.unwrap();
    assert_eq!(reaped.status.decode(), ExitStatus::Code(3));
}

#[tokio::test]
async fn a_status_that_another_has_taken_is_the_kernels_or_unknown() {
    let spawner = Spawner::new(None, Duration::ZERO, 0).unwrap();
    for (line, status) in [("exit 3", ExitStatus::Code(3)), ("kill -9 $$", KILLED)] {
        let spec = spec(Request::line(line));
        let Process { leader, .. } = Process::spawn(&spawner, spec, &Arc::default())
            .await
            .unwrap();
        leader.exited().await;
        let stolen = waitpid(Pid::from_raw(leader.pid()), WaitOptions::empty()).unwrap();
        assert!(stolen.is_some());
        match leader.reap().await {
            Ok(reaped) => assert_eq!(reaped.status.decode(), status),
            // Linux 6.15 tells.
            Err(error) => assert!(release() < (6, 15), "{error}"),
        }
    }
}

const KILLED: ExitStatus = ExitStatus::Signal {
    signal: 9,
    core_dumped: false,
};

/// The kernel's.
fn release() -> (u32, u32) {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release.split('.').map(|number| number.parse().unwrap_or(0));
    (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0))
}

#[tokio::test]
async fn a_start_costs_the_same_however_many_descriptors_are_open() {
    let spawner = Spawner::new(None, Duration::ZERO, 1).unwrap();
    let few = fastest_start(&spawner).await;
    let most = getrlimit(Resource::Nofile).maximum;
    let raised = Rlimit {
        current: most,
        maximum: most,
    };
    setrlimit(Resource::Nofile, raised).unwrap();
    let null = std::fs::File::open("/dev/null").unwrap();
    // Other tests may live in this process, and need some.
    let count = most.unwrap_or(u64::MAX).saturating_sub(1000).min(4000);
    let _many: Vec<_> = (0..count).map(|_| null.try_clone().unwrap()).collect();
    // A copy of them all takes 400 µs and more.
    let bound = few + Duration::from_micros(200);
    let (begin, mut many) = (Instant::now(), DEADLINE);
    while many > bound && begin.elapsed() < DEADLINE {
        many = fastest_start(&spawner).await;
    }
    assert!(many <= bound, "{few:?}, {many:?}");
}

/// The best of many, as the machine is busy with other work.
async fn fastest_start(spawner: &Spawner) -> Duration {
    let mut fastest = DEADLINE;
    for _ in 0..50 {
        let spec = spec(Request::line(":"));
        let begin = Instant::now();
        let Process { leader, .. } = Process::spawn(spawner, spec, &Arc::default())
            .await
            .unwrap();
        fastest = fastest.min(begin.elapsed());
        leader.reap().await.unwrap();
    }
    fastest
}

fn spec(request: Request) -> Arc<Spec> {
    Arc::new(Spec::new(&request, Vec::new()).unwrap())
}

#[track_caller]
fn poll_until(mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "this never came to hold");
        std::thread::sleep(Duration::from_millis(5));
    }
}
