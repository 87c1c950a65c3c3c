"""A running command with which a program on an event loop talks."""

from __future__ import annotations

import os
import signal
from functools import partial
from collections.abc import Awaitable, Callable, Generator
from typing import TYPE_CHECKING, Any, AnyStr, Generic, Literal, Self, overload

from ._drive import driver
from ._native import READABLE, RETRY, WRITABLE
from ._popen import Starting, shell_options
from ._reader import Reader
from ._text import text_mode
from ._types import Address, Command, Environment, Word
from ._writer import Writer

if TYPE_CHECKING:
    from ._drive import Driver


class Process(Generic[AnyStr]):
    """A command that runs while this task, and others on its loop, talk with it.

    ``async with`` starts it. At the end of the block it is ended with its tree, if it still runs:
    :meth:`wait` before that for a command that is to end by itself. ``await`` starts it too; then
    it is ended when the last reference to it goes. The server must be on a unix socket.

    Args:
        cmd: as for :func:`sockproc.run`.
        stdin, stdout, stderr: as in ``subprocess``: ``PIPE``, ``DEVNULL``, a file, a descriptor,
            ``STDOUT`` for stderr; None is this process's own.
        server: as for :func:`sockproc.run`.
        cwd, env: the command's directory and whole environment; by default those of this process.
        text, encoding, errors: any of them makes the streams str, as in ``subprocess``.
        timeout: seconds after which the server ends the command with its tree.
        grace: seconds from SIGTERM to SIGKILL when the server ends the command.

    Attributes:
        stdin, stdout, stderr: the pipes, or None: a :class:`Writer` and two :class:`Reader`, with
            the methods of asyncio's streams.

    Raises:
        NotFound, Forbidden, NotADirectory, CannotStart: the kernel did not start it.
        Error: there is no server, it refuses, it speaks classic only, or the connection is lost.

    >>> import asyncio
    >>> from subprocess import PIPE
    >>> async def main():
    ...     async with Process("tr a-z A-Z", PIPE, PIPE, text=True) as process:
    ...         process.stdin.write("hello\\n")
    ...         process.stdin.close()
    ...         print(await process.stdout.readline(), await process.wait())
    >>> asyncio.run(main())
    HELLO
     0
    """

    @overload
    def __init__(
        self: Process[bytes],
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Process[str],
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None: ...
    def __init__(
        self,
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None:
        self.args = cmd
        self.stdin: Writer[AnyStr] | None = None
        self.stdout: Reader[AnyStr] | None = None
        self.stderr: Reader[AnyStr] | None = None
        self._text = text_mode(text, encoding, errors)
        self._options: dict[str, Any] = {
            "stdin": stdin,
            "stdout": stdout,
            "stderr": stderr,
            "cwd": cwd,
            "env": env,
            **shell_options(cmd, server, timeout, grace),
        }
        self._popen: Starting | None = None

    async def start(self) -> Self:
        """Starts the command; ``async with`` and ``await`` do that.

        Raises:
            RuntimeError: it was started before.
        """
        if self._popen is not None:
            raise RuntimeError("the command was started before")
        self._loop: Driver = driver()
        popen = self._popen = Starting(self.args, **self._options)
        self._child = popen.child
        try:
            await self._until(lambda: self._child.pid is not None, 0)
            popen.started()
        except BaseException as error:
            raise popen.failed(error) from None
        text, loop = self._text, self._loop
        pipes: list[Any] = [popen.stdin, popen.stdout, popen.stderr]
        stdin, stdout, stderr = pipes
        self.stdin = stdin and Writer(stdin, text, loop)
        self.stdout = stdout and Reader(stdout, text, loop)
        self.stderr = stderr and Reader(stderr, text, loop)
        return self

    def __await__(self) -> Generator[Any, Any, Self]:
        return self.start().__await__()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(self, *error: object) -> None:
        self.cancel()
        try:
            await self.wait()
        finally:
            self._child.close()
            if self.stdin is not None:
                self.stdin.abandon()
            for reader in (self.stdout, self.stderr):
                if reader is not None:
                    reader.close()

    @property
    def pid(self) -> int:
        """The process id of the command, as the server sees it."""
        assert self._popen is not None, "the command was not started"
        return self._popen.pid

    @property
    def returncode(self) -> int | None:
        """As in ``subprocess``; None until :meth:`wait` or :meth:`communicate` has seen the end."""
        return self._child.returncode

    async def wait(self) -> int:
        """Waits until the command has ended. Several tasks may wait.

        Raises:
            ConnectionLost, StatusUnknown: how it ended will never be known.
        """
        child = self._child
        await self._until(lambda: child.returncode is not None, READABLE | WRITABLE)
        assert child.returncode is not None
        return child.returncode

    async def communicate(
        self, input: AnyStr | None = None
    ) -> tuple[AnyStr | None, AnyStr | None]:
        """Writes ``input``, reads both streams to their ends, and waits for the end of the command.

        Raises:
            UnicodeError: the output does not fit the encoding.
            ConnectionLost, StatusUnknown: how it ended will never be known.
        """
        found: dict[str, AnyStr] = {}

        async def read(name: str, reader: Reader[AnyStr]) -> None:
            found[name] = await reader.read()

        calls: list[Callable[[], Awaitable[None]]] = []
        if self.stdin is not None:
            calls.append(partial(_feed, self.stdin, input))
        for name, reader in (("stdout", self.stdout), ("stderr", self.stderr)):
            if reader is not None:
                calls.append(partial(read, name, reader))
        await self._loop.together(*calls)
        await self.wait()
        return found.get("stdout"), found.get("stderr")

    def send_signal(self, number: int) -> None:
        """Sends the command a signal, unless it has ended."""
        self._child.send_signal(number)

    def terminate(self) -> None:
        """Sends the command SIGTERM."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Sends the command SIGKILL. What it has started lives on: see :meth:`cancel`."""
        self.send_signal(signal.SIGKILL)

    def cancel(self) -> None:
        """Has the server end the command with its tree: SIGTERM, and SIGKILL after ``grace``."""
        self._child.cancel()

    async def _until(self, condition: Callable[[], bool], ready: int) -> None:
        """Steps the run until the condition holds."""
        child = self._child
        wanted = child.step(ready)
        while not condition():
            if wanted == RETRY:
                await self._loop.pace([child.retry_delay])
                wanted = child.step(0)
                continue
            child.hold()
            try:
                # Each task that waits has a descriptor of its own.
                fd = os.dup(child.fileno())
                try:
                    await self._loop.ready(fd, wanted)
                finally:
                    os.close(fd)
            finally:
                child.release()
            wanted = child.step(READABLE | WRITABLE)


async def _feed(stdin: Writer[AnyStr], data: AnyStr | None) -> None:
    """Writes all that a command is to read; it need not read it."""
    try:
        if data:
            stdin.write(data)
        stdin.close()
        await stdin.wait_closed()
    except BrokenPipeError:
        pass
