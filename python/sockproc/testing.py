"""Servers for the tests of programs that use sockproc.

:class:`FakeServer` answers as a test says and starts no command. For pytest there are two
fixtures, which need no import:

- ``fake_sockproc``: a :class:`FakeServer` that lists no command yet;
- ``sockproc_server``: a real :class:`sockproc.Server`, started for one test.

Both are the server that ``$SOCKPROC_SOCKET`` names while the test runs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self, TypeAlias, TypeVar

from ._completed import Completed
from ._errors import ConnectionLost, Refused
from ._fake_wire import (
    as_asked,
    as_bytes,
    encoded,
    is_opening,
    read_request,
    wait_status,
)
from ._listener import Listener
from ._run_errors import TimeoutExpired
from ._types import Command

if TYPE_CHECKING:
    from socket import socket

__all__ = ["Answer", "FakeServer", "Request", "UnlistedCommand", "reply"]

# Names the server that clients ask by default.
_NAME = "SOCKPROC_SOCKET"

_OTHER_ANSWERS: tuple[type[object], ...] = (Completed, ConnectionLost, TimeoutExpired)


@dataclass(frozen=True)
class Request:
    """What a client asked for.

    Attributes:
        cmd: the command: a line for the shell as str, an argv as a tuple of str. What is not
            UTF-8 is in it as :func:`os.fsdecode` puts it.
        stdin: all that the command would have read.
    """

    cmd: str | tuple[str, ...]
    stdin: bytes = b""


AnyCommand = TypeVar("AnyCommand", bound=Command)

FixedAnswer: TypeAlias = (
    Completed[bytes]
    | Completed[str]
    | bytes
    | str
    | Refused
    | ConnectionLost
    | TimeoutExpired
)

Answer: TypeAlias = FixedAnswer | Callable[[Request], FixedAnswer]
"""What a fake server may answer: see :class:`FakeServer`."""


class UnlistedCommand(AssertionError):
    """A fake server was asked for a command that it does not list."""


def reply(
    stdout: str | bytes = b"", stderr: str | bytes = b"", returncode: int = 0
) -> Completed[bytes]:
    """An answer of a command that ended so.

    Args:
        stdout, stderr: what it wrote; str is encoded in UTF-8.
        returncode: its exit code, or the negative number of the signal that ended it.

    >>> reply(stderr="no such branch\\n", returncode=128).returncode
    128
    """
    status = -returncode if returncode < 0 else returncode << 8
    return Completed(None, status, as_bytes(stdout), as_bytes(stderr))


class FakeServer:
    """A server that starts no command, but answers as a test says, inside a ``with`` block.

    Inside the block ``$SOCKPROC_SOCKET`` names it, so clients without a ``server=`` of their own
    ask it. All clients can, on every loop, in threads and in forked children. It listens on a
    socket in a temporary directory; when the block has ended, that and all threads are gone.
    ``async with`` does the same.

    Args:
        answers: commands, and what to answer. A str or bytes is a line for the shell and a tuple
            is an argv, as for :func:`sockproc.run`: one does not stand for the other. The answer
            is what the client returns or raises:

            - a :class:`sockproc.Completed`, whose command does not matter (:func:`reply` makes
              one); bytes or str is the stdout of a command that exits with 0;
            - a :class:`sockproc.Refused`;
            - a :class:`sockproc.ConnectionLost`: the connection ends without an answer;
            - a :class:`sockproc.TimeoutExpired`: no answer comes until the client has gone. A
              client without a timeout waits until the block ends;
            - a function that takes the :class:`Request` and returns, or raises, one of these. It
              is called on a thread of the server's; many may be called at once.

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

    def __init__(self, answers: Mapping[AnyCommand, Answer] | None = None) -> None:
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
        self._answers[as_asked(cmd)] = answer if callable(answer) else _checked(answer)

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

    def _serve(self, connection: socket) -> None:
        """Answers one client."""
        asked = read_request(connection)
        if asked is None:
            return
        line, stdin = asked
        if is_opening(line):
            connection.sendall(encoded(reply()))
            return
        request = Request(as_asked(line), stdin)
        self.requests.append(request)
        answer = self._answer_to(request)
        if isinstance(answer, TimeoutExpired):
            # End of file: the client has gone, or the block has ended.
            connection.recv(1)
        elif isinstance(answer, (Completed, Refused)):
            connection.sendall(encoded(answer))

    def _answer_to(self, request: Request) -> FixedAnswer:
        try:
            return _checked(self._given_to(request))
        except Exception as error:
            self._errors.append(error)
            message = f"{type(error).__name__}: {error}"
            return Refused("policy", message.splitlines()[0])

    def _given_to(self, request: Request) -> FixedAnswer:
        """What the test has to say to a request.

        Raises:
            UnlistedCommand: nothing.
            Exception: what a function raised.
        """
        try:
            answer = self._answers[request.cmd]
        except KeyError:
            listed = ", ".join(map(repr, self._answers)) or "nothing"
            message = f"no answer to {request.cmd!r} is listed; listed is {listed}"
            raise UnlistedCommand(message) from None
        if not callable(answer):
            return answer
        try:
            return answer(request)
        except (Refused, ConnectionLost, TimeoutExpired) as meant:
            return meant


def _checked(answer: FixedAnswer) -> FixedAnswer:
    """The answer, if it can be given.

    Raises:
        TypeError, ValueError: it cannot.
    """
    if isinstance(answer, (str, bytes)):
        return reply(answer)
    if isinstance(answer, Refused):
        wait_status(answer)
    elif not isinstance(answer, _OTHER_ANSWERS):
        raise TypeError(
            "an answer must be a Completed, bytes, str, a Refused, a ConnectionLost, "
            f"a TimeoutExpired or a function, not {answer!r}"
        )
    return answer
