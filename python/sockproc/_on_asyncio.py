"""Driving runs by asyncio, or by another loop with its methods."""

from __future__ import annotations

from asyncio import (
    Event,
    IncompleteReadError,
    InvalidStateError,
    TaskGroup,
    get_running_loop,
    sleep,
)
from asyncio import timeout as timeout_scope
from collections import deque
from contextvars import Context
from os import getpid
from weakref import WeakValueDictionary

from ._native import DONE, RETRY, Connection
from ._poller import STEPS_A_TURN, Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")


# The loop's own.
new_event = Event
incomplete_read = IncompleteReadError


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    loop = get_running_loop()
    runs = runs_on(loop)
    run = _Run(connection, runs)
    timer = None
    try:
        if timeout is not None:
            timer = loop.call_later(timeout, run.finish, False)
        runs.begin(run)
        over = await run.done
    finally:
        if run.wanted:
            runs.watch(run, 0)
        if timer is not None:
            timer.cancel()
    if run.error is not None:
        try:
            raise run.error
        finally:
            # It would hold its own traceback.
            del run
    return over


async def within(
    timeout: float | None, function: Callable[..., Awaitable[T]], *args: object
) -> T | None:
    """Returns what ``function`` returns, or None if it takes more than ``timeout`` seconds."""
    scope = timeout_scope(timeout)
    try:
        async with scope:
            return await function(*args)
    except TimeoutError:
        if not scope.expired():
            raise
    return None


async def ready(fd: int, wanted: int) -> int:
    """Waits until the descriptor is readable or writable, as wanted; returns what it is.

    At most one task may wait for a descriptor.
    """
    runs = runs_on(get_running_loop())
    look = _Look(fd, runs.loop.create_future())
    try:
        runs.watch(look, wanted)
        return await look.found
    finally:
        runs.watch(look, 0)


def wake(fd: int) -> None:
    """Ends the wait for a descriptor to be readable, before that is closed."""
    runs_on(get_running_loop()).stop(fd)


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    """Calls all of them at once, and waits until all have ended."""
    async with TaskGroup() as group:
        for function in functions:
            group.create_task(_call(function))


async def _call(function: Callable[[], Awaitable[None]]) -> None:
    await function()


def poller() -> Poller:
    """What watches descriptors on the loop that runs."""
    return runs_on(get_running_loop())


async def pace(pauses: Iterable[float], shield: bool = False) -> None:
    """Sleeps for each of these numbers of seconds. asyncio has no shield: a second cancel cuts them short."""
    for pause in pauses:
        await sleep(pause)


class _Runs(Poller):
    """All runs on one loop. Only a few begin in one turn of the loop, even if many are waiting."""

    __slots__ = ("__weakref__", "begun", "loop", "waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.begun = 0
        self.waiting: deque[_Run] = deque()
        # The loop keeps this callback to its end; the context of the first caller must not be kept with it.
        Context().run(loop.add_reader, self.fileno(), _Reader(self))

    def begin(self, run: _Run) -> None:
        """Lets the run take its first step, in this turn or a later one."""
        if self.begun < STEPS_A_TURN:
            self.begun += 1
            run.step(0)
        else:
            if not self.waiting:
                self.loop.call_soon(self.next)
            self.waiting.append(run)

    def next(self) -> None:
        """Begins waiting runs, in a turn that has begun none."""
        self.begun = 0
        try:
            while self.waiting and self.begun < STEPS_A_TURN:
                run = self.waiting.popleft()
                if not run.done.done():
                    self.begun += 1
                    run.step(0)
        finally:
            # Also if Ctrl-C came in between.
            if self.waiting:
                self.loop.call_soon(self.next)


class _Look:
    """A descriptor that a task waits for."""

    __slots__ = ("fd", "found", "wanted")

    def __init__(self, fd: int, found: Future[int]) -> None:
        self.fd = fd
        self.found = found
        self.wanted = 0

    def step(self, ready: int) -> None:
        """Wakes the task."""
        if not self.found.done():
            self.found.set_result(ready)


class _Reader:
    """The loop calls this when sockets are ready. When the loop drops it, nothing is watched any more."""

    __slots__ = ("poller",)

    def __init__(self, poller: Poller) -> None:
        self.poller = poller

    def __call__(self) -> None:
        self.poller.turn()

    def __del__(self) -> None:
        self.poller.close()


class _Run:
    """One run, from step to step."""

    __slots__ = ("connection", "done", "error", "fd", "runs", "wanted")

    def __init__(self, connection: Connection, runs: _Runs) -> None:
        self.connection = connection
        self.runs = runs
        self.done: Future[bool] = runs.loop.create_future()
        # Not stored in the future, which refuses some exceptions and logs others.
        self.error: BaseException | None = None
        self.fd = connection.fileno()
        self.wanted = 0

    def step(self, ready: int) -> None:
        """Does what can be done now, and makes sure that it is called again."""
        if self.done.done():
            return
        try:
            wanted = self.connection.on_ready(ready)
            if wanted == RETRY:
                delay = self.connection.retry_delay
                self.runs.loop.call_later(delay, self.step, 0)
            if not self.wanted:
                # After a RETRY it may be another one.
                self.fd = self.connection.fileno()
            self.runs.watch(self, wanted & ~RETRY)
        except BaseException as error:
            # Its traceback would hold this frame, which holds the error: a cycle, with the loop in it.
            self.error = error.with_traceback(None)
            wanted = DONE
        if wanted == DONE:
            self.finish(True)

    def finish(self, result: bool) -> None:
        try:
            self.done.set_result(result)
        except InvalidStateError:
            # It was over or cancelled already; Ctrl-C may come between any two instructions.
            pass


# Keyed by the id of the loop. An entry keeps its loop alive, and lives as long as the loop keeps the reader.
_runs: WeakValueDictionary[int, _Runs] = WeakValueDictionary()


def runs_on(loop: AbstractEventLoop) -> _Runs:
    runs = _runs.get(id(loop))
    if runs is None or runs.pid != getpid():
        runs = _runs[id(loop)] = _Runs(loop)
    return runs
