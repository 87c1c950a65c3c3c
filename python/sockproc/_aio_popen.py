"""asyncio's subprocesses, whose commands a server runs. For asyncio, and loops with its methods."""

from __future__ import annotations

import subprocess
from asyncio import get_running_loop
from asyncio.base_subprocess import BaseSubprocessTransport
from asyncio.subprocess import Process, SubprocessStreamProtocol
from typing import TYPE_CHECKING, Any, cast

from ._native import DONE, RETRY
from ._on_asyncio import runs_on
from ._popen import Starting

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable

    from ._child import Child

# asyncio's streams are bytes, and not buffered.
_NO_OPTIONS = {"bufsize", "encoding", "errors", "text", "universal_newlines"}


async def spawn(args: Any, shell: bool, limit: int, **options: Any) -> Process:
    """Starts a command; its pipes are this loop's.

    Raises:
        ValueError: an option of ``Popen`` that asyncio does not take either.
    """
    for name in _NO_OPTIONS & options.keys():
        if options.pop(name):
            raise ValueError(f"{name} must be False")
    loop = get_running_loop()
    popen = Starting(args, shell=shell, **options)
    watch = _Watch(popen.child, loop)
    try:
        watch.step(0)
        await watch.started
        popen.started()
    except BaseException as error:
        watch.end()
        try:
            raise popen.failed(error) from None
        finally:
            # They hold the error, whose traceback would hold them: a cycle, with the loop in it.
            del popen, watch
    protocol = SubprocessStreamProtocol(limit=limit, loop=loop)
    connected: Future[None] = loop.create_future()
    transport = _Transport(loop, protocol, popen, connected)
    watch.call_at_end(transport.ended)
    try:
        await connected
    except BaseException:
        transport.close()
        raise
    return Process(transport, protocol, loop)


class _Watch:
    """A child that a loop watches, from its start to its end."""

    __slots__ = ("_at_end", "_child", "_ended", "_runs", "fd", "started", "wanted")

    def __init__(self, child: Child, loop: AbstractEventLoop) -> None:
        self._child = child
        self._runs = runs_on(loop)
        self.started: Future[None] = loop.create_future()
        self._at_end: Callable[[], None] | None = None
        self._ended = False
        child.hold()
        self.fd = child.fileno()
        self.wanted = 0

    def step(self, ready: int) -> None:
        """Does what can be done now, and sees to it that it is called again."""
        if self._ended:
            return
        try:
            wanted = self._child.step(ready)
        except BaseException as error:
            self.end()
            if not self.started.done():
                # Its traceback would hold this frame, which holds the error.
                self.started.set_exception(error.with_traceback(None))
            return
        if wanted == RETRY:
            self._runs.loop.call_later(self._child.retry_delay, self.step, 0)
        if not self.wanted:
            # After a RETRY it may be another one.
            self.fd = self._child.fileno()
        self._runs.watch(self, wanted & ~RETRY)
        if self._child.pid is not None and not self.started.done():
            self.started.set_result(None)
        if wanted == DONE:
            self.end()

    def end(self) -> None:
        """Watches no more."""
        if self._ended:
            return
        self._ended = True
        self._runs.watch(self, 0)
        self._child.release()
        if self._at_end is not None:
            self._at_end()

    def call_at_end(self, function: Callable[[], None]) -> None:
        """Calls the function when the run is over, or now."""
        self._at_end = function
        if self._ended:
            function()


class _Transport(BaseSubprocessTransport):
    """asyncio's transport of a child that has been started."""

    _error: Exception | None = None

    def __init__(
        self,
        loop: AbstractEventLoop,
        protocol: SubprocessStreamProtocol,
        popen: Starting,
        connected: Future[None],
    ) -> None:
        pipes = {
            name: subprocess.PIPE if getattr(popen, name) else None
            for name in ("stdin", "stdout", "stderr")
        }
        super().__init__(
            loop,
            protocol,
            cast(Any, popen.args),
            False,
            **pipes,
            bufsize=0,
            waiter=connected,
            popen=popen,
        )

    def _start(self, *args: Any, **options: Any) -> None:
        self._popen: Starting = options["popen"]
        self._proc = self._popen

    def ended(self) -> None:
        """To be called when the run is over."""
        try:
            returncode = self._popen.poll()
        except Exception as error:
            self._failed(error.with_traceback(None))
        else:
            assert returncode is not None
            self._process_exited(returncode)

    async def _wait(self) -> int:
        if self._error is not None:
            raise self._error
        return await super()._wait()

    def _failed(self, error: Exception) -> None:
        """Has those that wait learn that the return code will never be known."""
        self._error = error
        for waiter in self._exit_waiters:
            if not waiter.done():
                waiter.set_exception(error)
        self.close()
