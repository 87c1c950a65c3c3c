"""What can go wrong, and whether the command may have run nevertheless."""

from __future__ import annotations

from ._completed import Completed


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
    """Neither ``server=`` nor ``$SOCKPROC_SOCKET`` names a server."""

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
    """The command cannot be sent: a NUL in it, CRLF in a line, or longer than the kernel takes.

    >>> run("echo a\\0b")
    Traceback (most recent call last):
    ...
    sockproc.BadRequest: command holds a NUL at byte 6
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

    may_have_run = True


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
        kind: ``"bad-request"``, ``"policy"``, ``"busy"`` (asking again later may help) or
            ``"cannot-spawn"``.
        message: what the server said.
    """

    def __init__(self, kind: str, message: str, may_have_run: bool = False) -> None:
        super().__init__(kind, message, may_have_run)
        self.kind = kind
        self.message = message
        self.may_have_run = may_have_run

    def __str__(self) -> str:
        return f"server refused: {self.message}"


class OutputTooLarge(Error):
    """The command ran to its end, but wrote more than ``max_output`` bytes; its output is dropped.

    Attributes:
        stream: ``"stdout"`` or ``"stderr"``: the stream that went past the limit.
        length: bytes that the command wrote to it.
        max_output: bytes that were allowed, both streams together.

    >>> run("head -c 2000 /dev/zero", max_output=1000)
    Traceback (most recent call last):
    ...
    sockproc.OutputTooLarge: stdout of 2000 bytes goes past the output limit of 1000 bytes
    """

    may_have_run = True

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


class ServerFailed(Error, RuntimeError):
    """A server did not start, or ended with an error.

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
