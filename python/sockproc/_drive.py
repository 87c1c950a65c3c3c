"""Driving a connection by the event loop that runs: asyncio's readers and writers, or trio's waits."""

from __future__ import annotations

import sys

from ._native import DONE, READABLE, RETRY, WRITABLE, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Iterable
    from typing import Any


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    if _in_trio():
        return await _drive_by_trio(connection, timeout)
    # Whoever awaits this outside trio runs asyncio, so nothing new is loaded here.
    from asyncio import get_running_loop

    return await _AsyncioRun(connection, get_running_loop()).wait(timeout)


async def pace(pauses: Iterable[float], shield: bool = False) -> None:
    """Makes pauses of so many seconds; shielded, trio's cancelled scopes do not cut them short."""
    if _in_trio():
        import trio

        with trio.CancelScope(shield=shield):
            for pause in pauses:
                await trio.sleep(pause)
        return
    from asyncio import sleep

    for pause in pauses:
        await sleep(pause)


def _in_trio() -> bool:
    # Another thread may be in the middle of importing it.
    lowlevel: Any = getattr(sys.modules.get("trio"), "lowlevel", None)
    return bool(lowlevel and lowlevel.in_trio_task())


class _AsyncioRun:
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
            self.step(0)
            if timeout is not None and not self.done.done():
                timer = self.loop.call_later(timeout, self.finish, False)
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


async def _drive_by_trio(connection: Connection, timeout: float | None) -> bool:
    import trio

    with trio.move_on_after(float("inf") if timeout is None else max(timeout, 0)):
        wanted = connection.on_ready(0)
        while wanted != DONE:
            if wanted == RETRY:
                await trio.sleep(connection.retry_delay)
                wanted = 0
            elif wanted == READABLE:
                await trio.lowlevel.wait_readable(connection)
            elif wanted == WRITABLE:
                await trio.lowlevel.wait_writable(connection)
            else:
                wanted = await _either(connection)
            wanted = connection.on_ready(wanted)
        return True
    return False


async def _either(connection: Connection) -> int:
    """Waits with trio for whichever readiness comes first."""
    import trio

    ready = 0

    async with trio.open_nursery() as nursery:

        async def readable() -> None:
            nonlocal ready
            await trio.lowlevel.wait_readable(connection)
            ready |= READABLE
            nursery.cancel_scope.cancel()

        async def writable() -> None:
            nonlocal ready
            await trio.lowlevel.wait_writable(connection)
            ready |= WRITABLE
            nursery.cancel_scope.cancel()

        nursery.start_soon(readable)
        nursery.start_soon(writable)
    return ready
