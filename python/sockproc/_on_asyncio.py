"""Driving runs by asyncio, or by another loop with its methods."""

from __future__ import annotations

from asyncio import InvalidStateError, get_running_loop, sleep
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


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    loop = get_running_loop()
    runs = _runs_on(loop)
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
    """What ``function`` gives, or None if that takes more than ``timeout`` seconds."""
    scope = timeout_scope(timeout)
    try:
        async with scope:
            return await function(*args)
    except TimeoutError:
        if not scope.expired():
            raise
    return None


async def pace(pauses: Iterable[float], shield: bool = False) -> None:
    """Makes pauses of so many seconds. asyncio has no shield: cancelled again, they are cut short."""
    for pause in pauses:
        await sleep(pause)


class _Runs(Poller):
    """All runs on one loop. However many want to begin at once, few do in one turn."""

    __slots__ = ("__weakref__", "begun", "loop", "waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        super().__init__()
        self.loop = loop
        self.begun = 0
        self.waiting: deque[_Run] = deque()
        # The loop keeps this to its end, but not the context of whoever happens to be the first.
        Context().run(loop.add_reader, self.fileno(), _Reader(self))

    def begin(self, run: _Run) -> None:
        """Has the run take its first step, in this turn or a later one."""
        if self.begun < STEPS_A_TURN:
            self.begun += 1
            run.step(0)
        else:
            if not self.waiting:
                self.loop.call_soon(self.next)
            self.waiting.append(run)

    def next(self) -> None:
        """Begins what waits, in a turn that has begun nothing yet."""
        self.begun = 0
        try:
            while self.waiting and self.begun < STEPS_A_TURN:
                run = self.waiting.popleft()
                if not run.done.done():
                    self.begun += 1
                    run.step(0)
        finally:
            # Even if Ctrl-C came in between.
            if self.waiting:
                self.loop.call_soon(self.next)


class _Reader:
    """What the loop calls when sockets are ready. When the loop lets go of it, nobody watches any more."""

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
        # Not the future's, which refuses some and complains of others.
        self.error: BaseException | None = None
        self.fd = connection.fileno()
        self.wanted = 0

    def step(self, ready: int) -> None:
        """Does what can be done now, and sees to it that it is called again."""
        if self.done.done():
            return
        try:
            wanted = self.connection.on_ready(ready)
            if wanted == RETRY:
                delay = self.connection.retry_delay
                self.runs.loop.call_later(delay, self.step, 0)
            self.runs.watch(self, wanted & ~RETRY)
        except BaseException as error:
            self.error = error
            wanted = DONE
        if wanted == DONE:
            self.finish(True)

    def finish(self, result: bool) -> None:
        try:
            self.done.set_result(result)
        except InvalidStateError:
            # It was over, or cancelled: by Ctrl-C perhaps, between any two instructions.
            pass


# By the id of the loop, which they keep alive; they live as long as the loop keeps its reader.
_runs: WeakValueDictionary[int, _Runs] = WeakValueDictionary()


def _runs_on(loop: AbstractEventLoop) -> _Runs:
    runs = _runs.get(id(loop))
    if runs is None or runs.pid != getpid():
        runs = _runs[id(loop)] = _Runs(loop)
    return runs
