"""Driving a run by asyncio's readers and writers, or those of another loop with its methods."""

from __future__ import annotations

from asyncio import get_running_loop, sleep
from collections import deque
from weakref import WeakValueDictionary

from ._native import DONE, READABLE, RETRY, WRITABLE, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Iterable

# How many runs one turn of a loop begins at most, at some 40 µs each: then sockets and timers
# have theirs, however many tasks want to begin at once.
_RUNS_A_TURN = 16


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    return await _Run(connection, get_running_loop()).wait(timeout)


async def pace(pauses: Iterable[float], shield: bool) -> None:
    """Makes pauses of so many seconds. asyncio cancels once, so there is nothing to shield."""
    for pause in pauses:
        await sleep(pause)


class _Turns:
    """Successive turns of a loop while runs wait to begin; each is woken once, in its turn."""

    __slots__ = ("__weakref__", "begun", "loop", "waiting")

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.begun = 0
        self.waiting: deque[Future[None]] = deque()
        loop.call_soon(self.next)

    async def wait(self) -> None:
        """Waits for a turn that has not begun its share of runs."""
        if self.begun < _RUNS_A_TURN:
            self.begun += 1
            return
        turn: Future[None] = self.loop.create_future()
        self.waiting.append(turn)
        await turn

    def next(self) -> None:
        self.begun = 0
        while self.waiting and self.begun < _RUNS_A_TURN:
            turn = self.waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                self.begun += 1
        if self.begun:
            self.loop.call_soon(self.next)
        else:
            del _turns[id(self.loop)]


# By the id of the loop, which they keep alive. Only its next callback keeps them, so that they go
# with a loop that was closed before.
_turns: WeakValueDictionary[int, _Turns] = WeakValueDictionary()


def _turns_of(loop: AbstractEventLoop) -> _Turns:
    turns = _turns.get(id(loop))
    if turns is None:
        turns = _turns[id(loop)] = _Turns(loop)
    return turns


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
            await _turns_of(self.loop).wait()
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
