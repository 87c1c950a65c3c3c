"""What can go wrong, and whether the command may have run nevertheless."""

from __future__ import annotations

import os

from ._completed import Completed
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]


class Error(Exception):
    """The base of all exceptions of this package.

    Attributes:
        may_have_run: False when the command has certainly not been started, so that asking again is
            safe; True when it ran, is running, or may have run.

    >>> try:
    ...     run("true", server="/nonexistent/sockproc.sock")
    ... except Error as error:
    ...     error.may_have_run
    False
    """

    may_have_run: bool = False


class NoServer(Error, LookupError):
    """Neither ``server=`` nor ``$SOCKPROC_SOCKET`` names a server, and there is no program for a private
    helper."""

    def __init__(
        self, message: str = "no server: give server=, or set $SOCKPROC_SOCKET"
    ) -> None:
        super().__init__(message)


class BadAddress(Error, ValueError):
    """The server's address is not an address.

    >>> run("true", server="127.0.0.1:70000")
    Traceback (most recent call last):
    ...
    sockproc.BadAddress: port "70000" is not a number from 1 to 65535
    """


class BadRequest(Error, ValueError):
    """The command cannot be sent: a NUL in it, or no word at all. On the classic protocol also: a CRLF
    in a line, or one longer than the kernel takes. Or the file that ``$SOCKPROC_TOKEN_FILE`` names
    cannot be used.

    >>> run("echo a\\0b")
    Traceback (most recent call last):
    ...
    sockproc.BadRequest: line: it holds a NUL
    """


class CannotConnect(Error, ConnectionError):
    """The server could not be connected to. ``errno``, ``strerror`` and ``filename`` say why."""


class ServerNotFound(CannotConnect, FileNotFoundError):
    """There is no socket at the server's path."""


class ServerNotListening(CannotConnect, ConnectionRefusedError):
    """There is a socket, or a port, but no server behind it."""


class ServerForbidden(CannotConnect, PermissionError):
    """The mode or the owner of the server's socket does not let this process in."""


class ConnectionLost(Error, ConnectionError):
    """The connection ended before the answer was complete."""

    def __init__(self, message: str, may_have_run: bool = True) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class ProtocolError(Error, ConnectionError):
    """The answer is not that of a sockproc server."""

    def __init__(self, message: str, may_have_run: bool = True) -> None:
        super().__init__(message)
        self.may_have_run = may_have_run


class NoRoom(Error, MemoryError):
    """The command ran to its end, but there is no memory for its output."""

    may_have_run = True


class StatusUnknown(Error):
    """The command ran, but no process can end with the wait status that was received.

    Attributes:
        completed: the command, the status as it came, and all output, as bytes.
    """

    may_have_run = True

    def __init__(self, completed: Completed[bytes]) -> None:
        super().__init__(completed)
        self.completed = completed

    def __str__(self) -> str:
        return f"command {self.completed.cmd!r} ended with unknown wait status {self.completed.status}"


class Refused(Error):
    """The server did not run the command, and said why.

    Attributes:
        kind: ``"bad-request"``, ``"policy"``, ``"busy"`` (asking again later may help),
            ``"cannot-spawn"``, ``"queue-timeout"``, ``"unsupported"``, ``"shutting-down"`` or
            ``"cancelled"``.
        message: what the server said.
        step: at which step a start failed, such as ``"exec"`` or ``"chdir"``, if it was one.
        errno: the kernel's error number, if it was the kernel that refused.
    """

    step: str | None
    errno: int | None

    def __init__(
        self,
        kind: str,
        message: str,
        may_have_run: bool = False,
        step: str | None = None,
        errno: int | None = None,
    ) -> None:
        super().__init__(kind, message, may_have_run, step, errno)
        self.kind = kind
        self.message = message
        self.may_have_run = may_have_run
        self.step = step
        self.errno = errno

    def __str__(self) -> str:
        return f"server refused: {self.message}"


class Unsupported(Error):
    """The request has a part that cannot be carried to this server; nothing was run.

    Attributes:
        field: the part, by its name in the native protocol.
    """

    def __init__(self, message: str, field: str) -> None:
        super().__init__(message, field)
        self.field = field

    def __str__(self) -> str:
        return str(self.args[0])


class CannotStart(Refused, OSError):
    """The kernel did not start the command: ``errno``, ``strerror`` and ``filename`` say why.

    The exceptions below it are of the kinds that ``subprocess`` raises.
    """

    # As an OSError this class would lose its arguments to errno and strerror.
    def __init__(
        self,
        kind: str,
        message: str,
        step: str | None,
        errno: int,
        filename: _types.Any = None,
    ) -> None:
        Refused.__init__(self, kind, message, False, step, errno)
        self.args = (kind, message, step, errno, filename)
        self.strerror = os.strerror(errno)
        self.filename = filename

    def __reduce__(self) -> tuple[_types.Any, ...]:
        return type(self), self.args

    def __str__(self) -> str:
        where = "" if self.filename is None else f": {self.filename!r}"
        return f"[Errno {self.errno}] {self.strerror}{where}"


class NotFound(CannotStart, FileNotFoundError):
    """There is no such program, or no such directory.

    >>> run(["no-such-program"])
    Traceback (most recent call last):
    ...
    sockproc.NotFound: [Errno 2] No such file or directory: 'no-such-program'
    """


class Forbidden(CannotStart, PermissionError):
    """The server's user may not run the program, or not enter the directory."""


class NotADirectory(CannotStart, NotADirectoryError):
    """The directory, or a part of the program's path, is a file."""


class OutputTooLarge(Error):
    """The command wrote more than ``max_output`` bytes; the server has ended it with its tree.

    A server that speaks classic only lets it run to its end, and nothing of its output is kept.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``: the stream that went past the limit.
        length: bytes that the command wrote to it.
        max_output: bytes that were allowed, both streams together.
        stdout, stderr: what came within the limit, as bytes.

    >>> run("head -c 2000 /dev/zero", max_output=1000)
    Traceback (most recent call last):
    ...
    sockproc.OutputTooLarge: stdout of 2000 bytes goes past the output limit of 1000 bytes
    """

    may_have_run = True
    stdout: bytes = b""
    stderr: bytes = b""

    def __init__(self, stream: str, length: int, max_output: int) -> None:
        super().__init__(stream, length, max_output)
        self.stream = stream
        self.length = length
        self.max_output = max_output

    def __str__(self) -> str:
        return (
            f"{self.stream} of {self.length} bytes "
            f"goes past the output limit of {self.max_output} bytes"
        )


class IdleTooLong(Error):
    """Within the package: the server has ended a command that was silent for too long."""

    may_have_run = True


class ServerFailed(Error, RuntimeError):
    """A server, or the private helper, did not start, or ended with an error.

    Attributes:
        exit_code: what the server exited with, often an errno; negative for a signal, None
            if it did not get ready in time.
        reason: what the server said; None if it said nothing.
    """

    def __init__(self, exit_code: int | None, reason: str | None = None) -> None:
        super().__init__(exit_code, reason)
        self.exit_code = exit_code
        self.reason = reason

    def __str__(self) -> str:
        if self.exit_code is None:
            return self.reason or "server did not get ready in time"
        why = f": {self.reason}" if self.reason else ""
        return f"server ended with exit code {self.exit_code}{why}"
