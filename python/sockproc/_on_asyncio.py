"""Driving a run by asyncio's readers and writers, or those of another loop with its methods."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from weakref import WeakKeyDictionary

from ._native import DONE, READABLE, RETRY, WRITABLE, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Iterable

# How many runs one turn of a loop begins at most, at some 40 µs each: then sockets and timers
# have theirs, however many tasks want to begin at once.
_RUNS_A_TURN = 16

_begun: WeakKeyDictionary[AbstractEventLoop, int] = WeakKeyDictionary()


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    return await _Run(connection, get_running_loop()).wait(timeout)


async def pace(pauses: Iterable[float], shield: bool) -> None:
    """Makes pauses of so many seconds. asyncio cancels once, so there is nothing to shield."""
    for pause in pauses:
        await sleep(pause)


async def _turn(loop: AbstractEventLoop) -> None:
    """Waits for a turn of the loop that has not begun its share of runs."""
    while (begun := _begun.get(loop, 0)) >= _RUNS_A_TURN:
        await sleep(0)
    if not begun:
        loop.call_soon(_begun.pop, loop, None)
    _begun[loop] = begun + 1


class _Run:
    """One run on an asyncio loop, from callback to callback."""

    __slots__ = ("connection", "done", "fd", "loop", "watched")

    def __init__(self, connection: Connection, loop: AbstractEventLoop) -> None:
        self.connection = connection
        self.loop = loop
        self.done: Future[bool] = loop.create_future()
        self.fd = connection.fileno()
        self.watched = 0

    async def wait(self, timeout: float | None) -> bool:
        timer = None
        try:
            if timeout is not None:
                timer = self.loop.call_later(timeout, self.finish, False)
            await _turn(self.loop)
            self.step(0)
            return await self.done
        finally:
            self.watch(0)
            if timer is not None:
                timer.cancel()

    def step(self, ready: int) -> None:
        """Does what can be done now, and sees to it that it is called again."""
        if self.done.done():
            return
        try:
            wanted = self.connection.on_ready(ready)
        except BaseException as error:
            self.watch(0)
            self.done.set_exception(error)
            return
        if wanted == RETRY:
            self.watch(0)
            self.loop.call_later(self.connection.retry_delay, self.step, 0)
        else:
            self.watch(wanted)
            if wanted == DONE:
                self.finish(True)

    def finish(self, result: bool) -> None:
        if not self.done.done():
            self.done.set_result(result)

    def watch(self, wanted: int) -> None:
        """Asks the loop for exactly these readinesses."""
        changed = wanted ^ self.watched
        if changed & READABLE:
            if wanted & READABLE:
                self.loop.add_reader(self.fd, self.step, READABLE)
            else:
                self.loop.remove_reader(self.fd)
        if changed & WRITABLE:
            if wanted & WRITABLE:
                self.loop.add_writer(self.fd, self.step, WRITABLE)
            else:
                self.loop.remove_writer(self.fd)
        self.watched = wanted
