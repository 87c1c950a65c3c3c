"""Driving a connection by the event loop that runs, without importing any other."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ._native import Connection


async def drive(connection: Connection, timeout: float | None) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    over: bool = await _driver().drive(connection, timeout)
    return over


async def pace(pauses: Iterable[float], shield: bool = False) -> None:
    """Makes pauses of so many seconds; shielded, a cancelled scope does not cut them short."""
    await _driver().pace(pauses, shield)


def _driver() -> Any:
    # Another thread may be in the middle of importing it.
    lowlevel: Any = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel and lowlevel.in_trio_task():
        from . import _on_trio

        return _on_trio
    from . import _on_asyncio

    return _on_asyncio
