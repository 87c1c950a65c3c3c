"""Finds out which event loop runs, without importing any other."""

from __future__ import annotations

import sys
from functools import cache

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from typing import Any, Protocol, TypeVar

    from ._native import Connection
    from ._poller import Poller

    T = TypeVar("T")

    class Event(Protocol):
        """What tasks wait for."""

        def set(self) -> object:
            """Wakes them, and those to come."""
            ...

        def is_set(self) -> bool:
            """Whether it is set."""
            ...

        async def wait(self) -> object:
            """Waits until it is set."""
            ...

    class Driver(Protocol):
        """How a kind of event loop waits."""

        async def drive(self, connection: Connection, timeout: float | None) -> bool:
            """Waits until the run is over; False if it is not after ``timeout`` seconds."""
            ...

        async def within(
            self,
            timeout: float | None,
            function: Callable[..., Awaitable[T]],
            *args: object,
        ) -> T | None:
            """Returns what ``function`` returns, or None if it takes more than ``timeout`` seconds."""
            ...

        async def pace(self, pauses: Iterable[float], shield: bool = False) -> None:
            """Sleeps for each of these numbers of seconds. If shielded, a cancelled scope does not cut them short."""
            ...

        async def ready(self, fd: int, wanted: int) -> int:
            """Waits until the descriptor is readable or writable, as wanted; returns what it is."""
            ...

        def wake(self, fd: int) -> None:
            """Ends the wait for a descriptor to be readable, before that is closed."""
            ...

        async def together(self, *functions: Callable[[], Awaitable[None]]) -> None:
            """Calls all of them at once, and waits until all have ended."""
            ...

        def poller(self) -> Poller:
            """What watches descriptors on the loop."""
            ...

        def new_event(self) -> Event:
            """An event that is not set."""
            ...

        def incomplete_read(self, partial: Any, expected: int | None) -> EOFError:
            """The exception for a stream that has ended too early."""
            ...


def driver() -> Driver:
    """The driver for the loop in which the caller runs."""
    # Another thread may be in the middle of importing it.
    lowlevel = getattr(sys.modules.get("trio"), "lowlevel", None)
    if lowlevel and lowlevel.in_trio_task():
        return _trio_driver()
    return _asyncio_driver()


# An import statement takes longer than the rest of `driver`, even if the module is loaded.
@cache
def _trio_driver() -> Driver:
    from . import _on_trio

    return _on_trio


@cache
def _asyncio_driver() -> Driver:
    from . import _on_asyncio

    return _on_asyncio


# In a child that is forked while another thread imports this, the import would never end.
if "asyncio" in sys.modules:
    _asyncio_driver()
