"""Running commands while the caller waits."""

from __future__ import annotations

import sys

from ._call import (
    address_text,
    check_timeout,
    connect,
    expired,
    finish,
    output_limit,
    refuse_others,
)
from ._completed import Completed
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]
from ._native import check_address
from ._stdin import source
from ._text import text_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

    from ._native import Connection
    from ._text import TextMode
else:

    def overload(function: object) -> object:
        return function


@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    **options: _types.Unpack[_types.BytesOptions],
) -> Completed[bytes]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    **options: _types.Unpack[_types.TextOptions],
) -> Completed[str]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    **options: _types.Unpack[_types.EncodingOptions],
) -> Completed[str]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    **options: _types.Unpack[_types.AnyOptions],
) -> Completed[_types.Any]: ...
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    timeout: float | None = None,
    check: bool = False,
    text: bool | None = None,
    encoding: str | None = None,
    errors: str | None = None,
    max_output: int | None = None,
    **others: object,
) -> Completed[_types.Any]:
    """Runs a command on a server and waits until it has ended.

    Args:
        cmd: a str or bytes is a line for ``/bin/sh``; a sequence is a program and its
            arguments, which no shell interprets; a path is a program.
        stdin: what the command reads: bytes-like, str in text mode, a file from its
            current position on, or an iterable of these pieces. Files are sent as they
            are read, iterables are gathered first. None is end of file.
        server: a socket's path, ``unix:PATH``, ``127.0.0.1:PORT``, a port, or a ``Server`` or
            ``Client``; by default the one that ``$SOCKPROC_SOCKET`` names. The command sees that
            server's directory, environment and user.
        timeout: seconds that the call may take, once an iterable or a pipe has been gathered.
        check: raise an exception unless the exit code is 0.
        text, encoding, errors: any of them makes stdin and output str, as in
            ``subprocess``; by default the encoding is the locale's.
        max_output: bytes that both output streams together may have.

    Raises:
        CalledProcessError: ``check``, and the exit code is not 0.
        TimeoutExpired: the timeout has passed. What happens to the command is up to the
            server, see its ``classic_on_disconnect``.
        OutputTooLarge: the command has ended, but wrote more than ``max_output``.
        NoServer, BadAddress, BadRequest, CannotConnect: nothing was run.
        Refused: the server did not run it, and says why.
        ConnectionLost, ProtocolError, StatusUnknown: the command may have run.
        UnicodeError: ``stdin`` or the output does not fit the encoding.
        TypeError: ``stdin`` is of a kind that this mode does not take, or ``timeout`` or
            ``max_output`` is no number.
        ValueError: ``timeout`` is negative, NaN or too large for any clock, ``max_output`` is
            negative.
        OSError: ``stdin`` is a file that cannot be read, or whose position is unknown.

    >>> run("tr a-z A-Z", b"hello").stdout
    b'HELLO'
    >>> run(["echo", "$HOME"], text=True).stdout
    '$HOME\\n'
    >>> run("exit 3").returncode
    3
    """
    refuse_others(others)
    mode = text_mode(text, encoding, errors)
    address = address_text(server)
    return _run(address, cmd, stdin, timeout, check, mode, max_output)


class Client:
    """Runs commands on one server. It holds no connection, so threads and forks may share it.

    Args:
        server: as for :func:`run`.

    Raises:
        NoServer: neither ``server`` nor ``$SOCKPROC_SOCKET`` names a server.
        BadAddress: it is not an address.

    >>> Client().run("echo hello").stdout
    b'hello\\n'
    """

    __slots__ = ("address",)

    def __init__(self, server: _types.Address | None = None) -> None:
        self.address = address_text(server)
        check_address(self.address)

    def __repr__(self) -> str:
        return f"Client({self.address!r})"

    @overload
    def run(
        self,
        cmd: _types.Command,
        stdin: _types.Stdin = None,
        **options: _types.Unpack[_types.BytesOptions],
    ) -> Completed[bytes]: ...
    @overload
    def run(
        self,
        cmd: _types.Command,
        stdin: _types.Stdin = None,
        **options: _types.Unpack[_types.TextOptions],
    ) -> Completed[str]: ...
    @overload
    def run(
        self,
        cmd: _types.Command,
        stdin: _types.Stdin = None,
        **options: _types.Unpack[_types.EncodingOptions],
    ) -> Completed[str]: ...
    @overload
    def run(
        self,
        cmd: _types.Command,
        stdin: _types.Stdin = None,
        **options: _types.Unpack[_types.AnyOptions],
    ) -> Completed[_types.Any]: ...
    def run(
        self,
        cmd: _types.Command,
        stdin: _types.Stdin = None,
        *,
        timeout: float | None = None,
        check: bool = False,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        max_output: int | None = None,
        **others: object,
    ) -> Completed[_types.Any]:
        """Runs a command as :func:`run` does, on this client's server."""
        refuse_others(others)
        mode = text_mode(text, encoding, errors)
        return _run(self.address, cmd, stdin, timeout, check, mode, max_output)


def _run(
    server: str,
    cmd: _types.Command,
    stdin: _types.Stdin,
    timeout: float | None,
    check: bool,
    text: TextMode | None,
    max_output: int | None,
) -> Completed[_types.Any]:
    check_timeout(timeout)
    limit = output_limit(max_output)
    connection = connect(server, cmd, source(stdin, text), limit)
    try:
        if not _wait(connection, timeout):
            raise expired(connection, cmd, timeout)
    finally:
        # A traceback would keep the connection, and so the command, alive.
        connection.abort()
    return finish(connection, cmd, check, text)


def _wait(connection: Connection, timeout: float | None) -> bool:
    # Nearly all programs have neither: one look is enough.
    if "gevent" in sys.modules or "eventlet" in sys.modules:
        from ._on_hub import drive, hub_wait

        wait = hub_wait()
        if wait is not None:
            return drive(connection, timeout, wait)
    return connection.wait(timeout)
