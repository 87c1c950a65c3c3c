"""Waiting in a program that gevent or eventlet has patched: other greenlets run meanwhile."""

from __future__ import annotations

import sys
from importlib import import_module
from time import monotonic

from ._native import DONE, READABLE, RETRY, WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ._native import Connection

    Wait = Callable[[int, int, float | None], int]

# Linux's numbers for poll(2): modules that patch `select` remove some of its names.
POLLIN = 1
POLLOUT = 4


def hub_wait() -> Wait | None:
    """A function that waits for a descriptor, if ``select`` has been patched; else None.

    It takes a descriptor, readinesses and seconds, and returns the readinesses that it has found.
    """
    gevent: Any = sys.modules.get("gevent.monkey")
    if gevent and gevent.is_module_patched("select"):
        return _gevent_wait
    eventlet: Any = sys.modules.get("eventlet.patcher")
    if eventlet and eventlet.is_monkey_patched("select"):
        return _eventlet_wait
    return None


def drive(connection: Connection, timeout: float | None, wait: Wait) -> bool:
    """Waits until the run is over; False if it is not after ``timeout`` seconds."""
    deadline = None if timeout is None else monotonic() + timeout
    ready = 0
    while (wanted := connection.on_ready(ready)) != DONE:
        left = None if deadline is None else deadline - monotonic()
        if left is not None and left <= 0:
            return False
        if wanted & RETRY:
            delay = connection.retry_delay
            wait(-1, 0, delay if left is None else min(delay, left))
            ready = 0
        else:
            ready = wait(connection.fileno(), wanted, left)
    return True


def _module(name: str) -> Any:
    return import_module(name)


def _gevent_wait(fd: int, wanted: int, seconds: float | None) -> int:
    if not wanted:
        _module("gevent").sleep(seconds)
        return 0
    select = _module("gevent.select")
    poll = select.poll()
    readable = POLLIN if wanted & READABLE else 0
    poll.register(fd, readable | (POLLOUT if wanted & WRITABLE else 0))
    found = 0
    for _, events in poll.poll(None if seconds is None else seconds * 1000):
        found |= READABLE if events & ~POLLOUT else 0
        found |= WRITABLE if events & ~POLLIN else 0
    return found & wanted


def _eventlet_wait(fd: int, wanted: int, seconds: float | None) -> int:
    if not wanted:
        _module("eventlet").sleep(seconds)
        return 0
    select = _module("eventlet.green.select")
    reads = [fd] if wanted & READABLE else []
    writes = [fd] if wanted & WRITABLE else []
    readable, writable, _ = select.select(reads, writes, [], seconds)
    return (READABLE if readable else 0) | (WRITABLE if writable else 0)
