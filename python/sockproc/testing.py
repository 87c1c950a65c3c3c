"""Servers for the tests of programs that use sockproc.

:class:`FakeServer` answers as a test says and starts no command. For pytest there are two
fixtures, which need no import:

- ``fake_sockproc``: a :class:`FakeServer` that lists no command yet;
- ``sockproc_server``: a real :class:`sockproc.Server`, started for one test.

Both are the server that ``$SOCKPROC_SOCKET`` names while the test runs.
"""

from __future__ import annotations

import os
import re
import socket
from collections.abc import Mapping
from contextlib import suppress
from functools import partial
from threading import Lock
from typing import Self, TypeVar

from ._completed import Completed
from ._errors import ConnectionLost, Refused
from ._fake_answers import Answer, Settled, checked, reply
from ._fake_native import GREETING, VERSION, CannotRefuse, Run
from ._fake_request import Request, as_asked
from ._fake_wire import Incoming, encoded, read_head
from ._listener import Listener
from ._run_errors import TimeoutExpired
from ._types import Command

__all__ = ["Answer", "FakeServer", "Request", "UnlistedCommand", "reply"]

# What a client that speaks native sends first. To a server that does not it is a comment.
_OPENING = re.compile(rb"#sockproc/([0-9]{1,9})")

# Names the server that clients ask by default.
_NAME = "SOCKPROC_SOCKET"

AnyCommand = TypeVar("AnyCommand", bound=Command)


class UnlistedCommand(AssertionError):
    """A fake server was asked for a command that it does not list."""


class FakeServer:
    """A server that starts no command, but answers as a test says, inside a ``with`` block.

    Inside the block ``$SOCKPROC_SOCKET`` names it, so clients without a ``server=`` of their own
    ask it. All clients can, on every loop, in threads and in forked children. It listens on a
    socket in a temporary directory; when the block has ended, that and all threads are gone.
    ``async with`` does the same.

    Args:
        answers: commands, and what to answer. A str or bytes is a line for the shell and a tuple
            is an argv, as for :func:`sockproc.run`: one does not stand for the other. The answer
            is what the client returns or raises, or what its ``Process`` or ``Popen`` does:

            - a :class:`sockproc.Completed`, whose command does not matter (:func:`reply` makes
              one); bytes or str is the stdout of a command that exits with 0;
            - a :class:`sockproc.Refused`; one with ``errno`` is what ``subprocess`` raises for it;
            - a :class:`sockproc.ConnectionLost`: the connection ends without an answer;
            - a :class:`sockproc.TimeoutExpired`: the command runs until its client has gone or has
              ended it. A client without a timeout waits until the block ends;
            - a function that takes the :class:`Request` and returns, or raises, one of these. It
              is called on a thread of the server's, many at once, when all stdin has come. It
              comes too late to refuse a command whose stdin is a pipe.

            A command ends when its stdin does; what it writes comes before that, unless a function
            says it. The stdin of the tests themselves is not read.
        native: False makes it speak the classic protocol only, as the C daemon does.

    Attributes:
        address: where it listens, inside the block.
        requests: the requests so far, as :class:`Request`, in the order in which they came.

    Raises:
        TypeError, ValueError: an answer cannot be given.
        UnlistedCommand: at the end of the block: a client asked for a command that is not listed.
            That client got ``Refused``. If the block ends by another exception, a note on that
            one says so.
        Exception: at the end of the block: what else a function among the answers raised.
        RuntimeError: on entry: it listens already.

    >>> with FakeServer({"git rev-parse HEAD": "4b825dc\\n"}) as fake:
    ...     run("git rev-parse HEAD", text=True).stdout
    ...     fake.requests
    '4b825dc\\n'
    [Request(cmd='git rev-parse HEAD', stdin=b'')]
    """

    def __init__(
        self,
        answers: Mapping[AnyCommand, Answer] | None = None,
        *,
        native: bool = True,
    ) -> None:
        self._native = native
        self._lock = Lock()
        self.requests: list[Request] = []
        self._answers: dict[str | tuple[str, ...], Answer] = {}
        self._errors: list[Exception] = []
        self._listener: Listener | None = None
        self._owner = 0
        self._named_before: str | None = None
        for cmd, answer in (answers or {}).items():
            self.answer(cmd, answer)

    @property
    def address(self) -> str:
        """Where it listens.

        Raises:
            RuntimeError: it does not: its block has not begun, or has ended.
        """
        if self._listener is None:
            raise RuntimeError("the fake server listens inside its block only")
        return self._listener.address

    def answer(self, cmd: Command, answer: Answer) -> None:
        """Lists one more command, or another answer to one that is listed.

        Args:
            cmd: the command; here a list is an argv, too.
            answer: as for :class:`FakeServer`.

        Raises:
            TypeError, ValueError: the answer cannot be given.

        >>> with FakeServer() as fake:
        ...     fake.answer(["git", "fetch"], reply(stderr="no network\\n", returncode=128))
        ...     run(["git", "fetch"]).returncode
        128
        """
        self._answers[as_asked(cmd)] = answer if callable(answer) else checked(answer)

    def __enter__(self) -> Self:
        if self._listener is not None and self._owner == os.getpid():
            raise RuntimeError("the fake server listens already")
        self._errors.clear()
        self._listener, self._owner = Listener(self._serve), os.getpid()
        self._named_before = os.environ.get(_NAME)
        os.environ[_NAME] = self.address
        return self

    def __exit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        if self._listener is None or self._owner != os.getpid():
            return
        if self._named_before is None:
            os.environ.pop(_NAME, None)
        else:
            os.environ[_NAME] = self._named_before
        self._listener.close()
        self._listener = None
        if not self._errors:
            return
        if error is None:
            raise self._errors[0]
        error.add_note(f"FakeServer: {self._errors[0]}")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: object, error: BaseException | None, trace: object
    ) -> None:
        self.__exit__(kind, error, trace)

    def _serve(self, connection: socket.socket) -> None:
        """Answers one client."""
        with Incoming(connection) as incoming:
            head = read_head(incoming)
            if head is None:
                return
            line, length = head
            if opening := _OPENING.fullmatch(line):
                if self._native:
                    self._serve_native(connection, incoming, int(opening[1]))
                else:
                    connection.sendall(encoded(reply()))
                return
            request = Request(as_asked(line), incoming.read(length))
            self._record(None, request)
            answer = self._asked(self._listed(request), request)
            if isinstance(answer, TimeoutExpired):
                # End of file: the client has gone, or the block has ended.
                connection.recv(1)
            elif isinstance(answer, (Completed, Refused)):
                connection.sendall(encoded(answer))

    def _serve_native(
        self, connection: socket.socket, incoming: Incoming, version: int
    ) -> None:
        connection.sendall(GREETING)
        with suppress(EOFError):
            run = Run(connection, incoming)
            if version != VERSION:
                run.refuse(Refused("unsupported", f"version {version} is not spoken"))
                return
            before: Request | None = None

            def record(request: Request) -> None:
                nonlocal before
                self._record(before, request)
                before = request

            record(run.request)
            answer = self._listed(run.request)
            ask = partial(self._asked, answer)
            try:
                run.serve(ask if callable(answer) else checked(answer), record)
            except CannotRefuse as error:
                self._errors.append(error)
            # Closing before the client has read everything could lose it the rest.
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    def _record(self, before: Request | None, request: Request) -> None:
        """Notes a request, in the place of what was known of it before."""
        with self._lock:
            for place, noted in enumerate(self.requests):
                if noted is before:
                    self.requests[place] = request
                    return
            if before is None:
                self.requests.append(request)

    def _listed(self, request: Request) -> Answer:
        """What is listed for a request; else a refusal, and an error of the test."""
        if request.cmd in self._answers:
            return self._answers[request.cmd]
        listed = ", ".join(map(repr, self._answers)) or "nothing"
        message = f"no answer to {request.cmd!r} is listed; listed is {listed}"
        return self._failed(UnlistedCommand(message))

    def _asked(self, answer: Answer, request: Request) -> Settled:
        """The answer that is given, or what a function says."""
        try:
            return checked(answer(request) if callable(answer) else answer)
        except (Refused, ConnectionLost, TimeoutExpired) as meant:
            return meant
        except Exception as error:
            return self._failed(error)

    def _failed(self, error: Exception) -> Refused:
        """Notes an error for the end of the block; returns what the client is told."""
        self._errors.append(error)
        message = f"{type(error).__name__}: {error}"
        return Refused("policy", message.splitlines()[0])
