"""Driving a run by trio's waits."""

from __future__ import annotations

import trio

from ._native import DONE, READABLE, RETRY, WRITABLE, Connection

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    # A call that is cancelled before it begins sends nothing.
    await trio.lowlevel.checkpoint_if_cancelled()
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


async def pace(pauses: Iterable[float], shield: bool) -> None:
    """Makes pauses of so many seconds; shielded, cancelled scopes do not cut them short."""
    with trio.CancelScope(shield=shield):
        for pause in pauses:
            await trio.sleep(pause)


async def _either(connection: Connection) -> int:
    """Waits with trio for whichever readiness comes first."""
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
