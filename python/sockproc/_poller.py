"""The sockets of all runs on one event loop, behind a single descriptor.

A loop needs some 15 µs to watch a descriptor for one run. An epoll instance needs 1 µs, and for the loop
it is one descriptor that becomes readable (epoll(7)). Linux only.
"""

from __future__ import annotations

from contextlib import suppress
from os import getpid

try:
    from select import EPOLLIN, EPOLLOUT, epoll
except ImportError:
    message = "no select.epoll here, gevent and eventlet remove it: with them use sockproc.run, which lets other greenlets run"
    raise ImportError(message) from None

from ._errors import CannotConnect
from ._native import READABLE, WRITABLE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Run(Protocol):
        """One run, as far as its socket is concerned."""

        fd: int
        wanted: int

        def step(self, ready: int) -> None:
            """Does what can be done when the socket is ready in this way."""


# After this number of steps, of 10 µs to 1 ms each, the loop's other sockets and timers have their turn.
STEPS_A_TURN = 16

_MASKS = {
    READABLE: EPOLLIN,
    WRITABLE: EPOLLOUT,
    READABLE | WRITABLE: EPOLLIN | EPOLLOUT,
}


class Poller:
    """Watches sockets. A forked copy leaves them alone: it shares the epoll instance.

    Attributes:
        pid: the process to which it belongs.

    Raises:
        CannotConnect: the process may not open another descriptor.
    """

    __slots__ = ("_epoll", "_runs", "pid")

    def __init__(self) -> None:
        try:
            self._epoll = epoll()
        except OSError as error:
            raise CannotConnect(*error.args) from None
        self.pid = getpid()
        self._runs: dict[int, Run] = {}

    def fileno(self) -> int:
        """The descriptor that is readable while a watched socket is ready."""
        return self._epoll.fileno()

    @property
    def closed(self) -> bool:
        """Whether it has stopped watching."""
        return self._epoll.closed

    def close(self) -> list[Run]:
        """Stops watching; returns the runs that it has watched."""
        self._epoll.close()
        return list(self._runs.values())

    def watch(self, run: Run, wanted: int) -> None:
        """Watches the run's socket for exactly these readinesses; for 0 it stops."""
        if wanted == run.wanted:
            return
        # Closed: the loop has ended before this run. Another process: the run is not ours.
        if self._epoll.closed or self.pid != getpid():
            return
        # Ctrl-C may raise between any two of these steps; its handler then calls this with 0. So each
        # step can be repeated, and `wanted` is not 0 while there may be something to undo.
        if not wanted:
            self._runs.pop(run.fd, None)
            with suppress(FileNotFoundError):
                self._epoll.unregister(run.fd)
            run.wanted = wanted
        elif run.wanted:
            self._epoll.modify(run.fd, _MASKS[wanted])
            run.wanted = wanted
        else:
            self._runs[run.fd] = run
            run.wanted = wanted
            self._epoll.register(run.fd, _MASKS[wanted])

    def stop(self, fd: int) -> None:
        """Watches a socket no more, and steps its run a last time, if it was watched."""
        run = self._runs.get(fd)
        if run is not None:
            self.watch(run, 0)
            run.step(0)

    def turn(self) -> None:
        """Steps some of the runs whose sockets are ready; the others stay ready."""
        for fd, events in self._epoll.poll(0, STEPS_A_TURN):
            run = self._runs.get(fd)
            # A finalizer may have given this run up meanwhile.
            if run is not None:
                # Reading and writing find out about an error or a hang-up.
                readable = READABLE if events & ~EPOLLOUT else 0
                writable = WRITABLE if events & ~EPOLLIN else 0
                run.step((readable | writable) & run.wanted)
