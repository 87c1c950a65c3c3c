"""Driving runs by trio."""

from __future__ import annotations

from os import getpid

import outcome
import trio
from trio.lowlevel import Abort, RunVar, current_task, reschedule

from ._native import DONE, READABLE, RETRY, WRITABLE, Connection
from ._poller import Poller

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import TypeVar

    T = TypeVar("T")


new_event = trio.Event


class IncompleteReadError(EOFError):
    """A stream ended too early: as asyncio's exception of this name.

    Attributes:
        partial: what came.
        expected: how much was to come, or None.
    """

    def __init__(self, partial: bytes | str, expected: int | None) -> None:
        super().__init__(partial, expected)
        self.partial = partial
        self.expected = expected

    def __str__(self) -> str:
        wanted = "the separator" if self.expected is None else self.expected
        return f"end of file after {len(self.partial)}, before {wanted}"


incomplete_read = IncompleteReadError


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    # A call that is cancelled before it begins sends nothing.
    await trio.lowlevel.checkpoint_if_cancelled()
    return await within(timeout, _Run(connection, _poller()).wait) or False


async def within(
    timeout: float | None, function: Callable[..., Awaitable[T]], *args: object
) -> T | None:
    """Returns what ``function`` returns, or None if it takes more than ``timeout`` seconds."""
    if timeout is None:
        return await function(*args)
    with trio.move_on_after(max(timeout, 0)):
        return await function(*args)
    return None


async def ready(fd: int, wanted: int) -> int:
    """Waits until the descriptor is readable or writable, as wanted; returns what it is.

    At most one task may wait for a descriptor.
    """
    try:
        return await _ready(fd, wanted)
    except trio.ClosedResourceError:
        return 0


def wake(fd: int) -> None:
    """Ends the wait for a descriptor to be readable, before that is closed."""
    trio.lowlevel.notify_closing(fd)


async def together(*functions: Callable[[], Awaitable[None]]) -> None:
    """Calls all of them at once, and waits until all have ended."""
    async with trio.open_nursery() as nursery:
        for function in functions:
            nursery.start_soon(function)


def poller() -> Poller:
    """What watches descriptors in the ``trio.run`` that runs; a closed one where that is about to end."""
    return _poller()


async def pace(pauses: Iterable[float], shield: bool = False) -> None:
    """Sleeps for each of these numbers of seconds. If shielded, cancelled scopes do not cut them short."""
    with trio.CancelScope(shield=shield):
        for pause in pauses:
            await trio.sleep(pause)


class _Run:
    """One run. Its task sleeps while the poller's task steps it."""

    __slots__ = ("connection", "fd", "poller", "task", "wanted")

    def __init__(self, connection: Connection, poller: Poller) -> None:
        self.connection = connection
        self.poller = poller
        self.task: trio.lowlevel.Task | None = None
        self.fd = connection.fileno()
        self.wanted = 0

    async def wait(self) -> bool:
        """Returns True when the run is over."""
        try:
            wanted = self.act(0)
            while wanted != DONE:
                if wanted == RETRY:
                    await trio.sleep(self.connection.retry_delay)
                    wanted = self.act(0)
                elif self.poller.closed:
                    wanted = self.act(await _ready(self.connection, wanted))
                else:
                    wanted = await self.woken()
        finally:
            if self.wanted:
                self.poller.watch(self, 0)
        return True

    def act(self, ready: int) -> int:
        """Does what can be done now; returns what to wait for."""
        wanted = self.connection.on_ready(ready)
        if not self.wanted:
            # After a RETRY it may be another one.
            self.fd = self.connection.fileno()
        self.poller.watch(self, wanted & ~RETRY)
        return wanted

    async def woken(self) -> int:
        """Sleeps while only the socket is waited for."""
        self.task = current_task()
        woken: int = await trio.lowlevel.wait_task_rescheduled(self.abort)
        return woken

    def abort(self, raise_cancel: object) -> Abort:
        """Lets the task be cancelled."""
        self.task = None
        return Abort.SUCCEEDED

    def step(self, ready: int) -> None:
        """Works in the poller's task, and wakes the run's own task when it is needed."""
        if self.task is None:
            return
        result = outcome.capture(self.act, ready)
        if (
            isinstance(result, outcome.Error)
            or result.value in (DONE, RETRY)
            or self.poller.closed
        ):
            task, self.task = self.task, None
            reschedule(task, result)


_pollers: RunVar[Poller | None] = RunVar("sockproc", None)


def _poller() -> Poller:
    """The poller of the caller's `trio.run`; a closed one if that is about to end."""
    poller = _pollers.get()
    if poller is None or poller.pid != getpid():
        poller = Poller()
        try:
            trio.lowlevel.spawn_system_task(_poll, poller)
            _pollers.set(poller)
        except RuntimeError:
            poller.close()
    return poller


async def _poll(poller: Poller) -> None:
    """Steps runs until all tasks except system tasks have ended; runs of those go on without it."""
    try:
        while True:
            await trio.lowlevel.wait_readable(poller.fileno())
            poller.turn()
    finally:
        _pollers.set(None)
        for run in poller.close():
            run.step(run.wanted)


async def _ready(connection: Connection | int, wanted: int) -> int:
    """Waits for one run's own socket."""
    if wanted == READABLE:
        await trio.lowlevel.wait_readable(connection)
        return READABLE
    ready = 0

    async def readable() -> None:
        nonlocal ready
        await trio.lowlevel.wait_readable(connection)
        ready |= READABLE
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        if wanted & READABLE:
            nursery.start_soon(readable)
        await trio.lowlevel.wait_writable(connection)
        ready |= WRITABLE
        nursery.cancel_scope.cancel()
    return ready
