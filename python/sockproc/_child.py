"""A run that has descriptors of this process as its own, and that any thread may wait for."""

from __future__ import annotations

import select
from contextlib import suppress
from math import ceil
from socket import SHUT_RDWR, socket
from threading import Lock
from time import monotonic, sleep

from ._completed import Completed
from ._errors import ConnectionLost, Error, StatusUnknown
from ._native import DONE, READABLE, RETRY, WRITABLE, returncode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ._native import Child as Run
    from ._types import Command

# What poll(2) looks for when a run waits.
_MASKS = {
    READABLE: select.POLLIN,
    WRITABLE: select.POLLOUT,
    READABLE | WRITABLE: select.POLLIN | select.POLLOUT,
}

# The most milliseconds that poll(2) takes.
_LONGEST_POLL = 2**31 - 1


class Child:
    """One run, which several threads may wait for and signal at once.

    Attributes:
        pid: the leader's process id, once it has been started.
        returncode: as in ``subprocess``, once it has ended.
    """

    __slots__ = ("_cmd", "_error", "_lock", "_run", "_waiting", "pid", "returncode")

    def __init__(self, run: Run, cmd: Command) -> None:
        self._run = run
        self._cmd = cmd
        # Never held while a thread waits.
        self._lock = Lock()
        # Threads that poll the descriptor: its number must not become another's meanwhile.
        self._waiting = 0
        self._error: Error | None = None
        self.pid: int | None = None
        self.returncode: int | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is nothing to wait for any more."""
        return self.returncode is not None or self._error is not None

    @property
    def retry_delay(self) -> float:
        """Seconds to wait when :meth:`step` has returned ``RETRY``."""
        return self._run.retry_delay

    def start(self) -> None:
        """Waits until the command has been started.

        Raises:
            Error: it was not, or may not have been.
        """
        wanted = self.step(0)
        while self.pid is None:
            wanted = self._await(wanted, None)

    def poll(self) -> int | None:
        """The return code, or None while the command runs.

        Raises:
            Error: it will never be known.
        """
        self.step(READABLE | WRITABLE)
        return self.returncode

    def wait(self, timeout: float | None = None) -> bool:
        """Waits until the command has ended; False if it has not after ``timeout`` seconds.

        Raises:
            Error: how it ended will never be known.
        """
        deadline = None if timeout is None else monotonic() + timeout
        wanted = self.step(READABLE | WRITABLE)
        while wanted != DONE:
            left = None if deadline is None else deadline - monotonic()
            if left is not None and left <= 0:
                return False
            wanted = self._await(wanted, left)
        return True

    def send_signal(self, number: int) -> None:
        """Sends a signal to the leader, unless that has ended."""
        with self._lock:
            if not self.is_over:
                self._run.signal(number)
                self._run.on_ready(WRITABLE)

    def close(self) -> None:
        """Lets go of the run. A command that still runs is ended with its tree."""
        with self._lock:
            if not self.is_over:
                self._fail(ConnectionLost("the run was given up"))

    def fileno(self) -> int:
        """The descriptor that shows when there is something to step for."""
        return self._run.fileno()

    def cancel(self) -> None:
        """Has the server end the command with its tree, unless it has ended."""
        with self._lock:
            if not self.is_over:
                self._run.cancel()
                self._run.on_ready(WRITABLE)

    def hold(self) -> None:
        """Has the descriptor stay open, also when the run is over, until it is released."""
        with self._lock:
            self._waiting += 1

    def release(self) -> None:
        """Undoes a :meth:`hold`."""
        with self._lock:
            self._waiting -= 1
            self._let_go()

    def step(self, ready: int) -> int:
        """Does what can be done now; returns what to wait for, as ``_native.Child.on_ready``.

        Raises:
            Error: the run has failed, now or before.
        """
        with self._lock:
            if self.returncode is not None:
                return DONE
            if self._error is not None:
                raise self._error
            try:
                wanted = self._run.on_ready(ready)
            except Error as error:
                self._fail(error)
                raise
            self.pid = self._run.pid
            if wanted == DONE:
                self._exited(self._run.status())
            return wanted

    def _exited(self, status: int) -> None:
        code = returncode(status)
        if code is None:
            unknown = StatusUnknown(Completed(self._cmd, status, b"", b""))
            self._fail(unknown)
            raise unknown
        self.returncode = code
        self._let_go()

    def _fail(self, error: Error) -> None:
        self._error = error
        self._let_go()

    def _let_go(self) -> None:
        """Closes the descriptor of a run that is over, as soon as no thread polls it."""
        if not self.is_over:
            return
        if self._waiting:
            # What woke one thread need not wake the others; this does.
            with suppress(OSError), socket(fileno=self._run.fileno()) as shared:
                shared.shutdown(SHUT_RDWR)
                shared.detach()
        else:
            self._run.abort()

    def _await(self, wanted: int, timeout: float | None) -> int:
        """Waits for what is wanted, for at most ``timeout`` seconds, and takes the next step."""
        if wanted == RETRY:
            delay = self._run.retry_delay
            sleep(delay if timeout is None else min(delay, timeout))
            return self.step(0)
        with self._lock:
            is_over = self.is_over
            self._waiting += not is_over
        if not is_over:
            try:
                _poll(self._run.fileno(), wanted, timeout)
            finally:
                self.release()
        return self.step(READABLE | WRITABLE)


def _poll(fd: int, wanted: int, timeout: float | None) -> None:
    poller = select.poll()
    poller.register(fd, _MASKS[wanted])
    poller.poll(None if timeout is None else min(ceil(timeout * 1000), _LONGEST_POLL))
