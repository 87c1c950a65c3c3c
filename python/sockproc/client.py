"""Running commands while the caller waits."""

from __future__ import annotations

import sys

from ._call import (
    Call,
    destination,
    either,
    refuse_others,
)
from ._completed import Completed
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]
from ._errors import Error
from ._native import check_address, check_protocol
from ._outcome import expired, failure, finish
from ._stdin import source
from ._text import text_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

    from ._native import Connection
else:

    def overload(function: object) -> object:
        return function


@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.BytesOptions],
) -> Completed[bytes]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.TextOptions],
) -> Completed[str]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.EncodingOptions],
) -> Completed[str]: ...
@overload
def run(
    cmd: _types.Command,
    stdin: _types.Stdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
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
    input: _types.Stdin = None,
    cwd: _types.Word | None = None,
    env: _types.Environment | None = None,
    merge: bool = False,
    idle_timeout: float | None = None,
    grace: float | None = None,
    protocol: _types.Protocols = "auto",
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
            ``Client``; by default the one that ``$SOCKPROC_SOCKET`` names, else a private helper
            of this process. The command runs as that server's user.
        timeout: seconds that the call may take, once an iterable or a pipe has been gathered.
            Then the server ends the command with its tree.
        check: raise an exception unless the exit code is 0.
        text, encoding, errors: any of them makes stdin and output str, as in
            ``subprocess``; by default the encoding is the locale's.
        max_output: bytes that both output streams together may have. A command that writes more
            is ended with its tree.
        input: another name of ``stdin``.
        cwd: the command's working directory; by default the server's, or with a private helper
            that of this process.
        env: all variables that the command gets; by default likewise.
        merge: whether stderr goes into stdout.
        idle_timeout: seconds after which a command that writes nothing is ended with its tree.
        grace: seconds from SIGTERM to SIGKILL where the command is ended; by default the
            server's.
        protocol: ``"native"``, ``"classic"``, or ``"auto"``: native where the server speaks it.
            What classic cannot carry is refused by name: ``cwd``, ``env``, ``merge``,
            ``idle_timeout``, ``grace``. What ends a command there is up to the server's
            options, see ``classic_on_disconnect``.

    Raises:
        CalledProcessError: ``check``, and the exit code is not 0.
        TimeoutExpired: ``timeout`` or ``idle_timeout`` has passed. It has the output that came.
        OutputTooLarge: the command wrote more than ``max_output``. It has the beginning.
        NotFound, Forbidden, NotADirectory, CannotStart: the kernel did not start the command. They
            are the ``OSError`` that ``subprocess`` raises.
        NoServer, ServerFailed: no server is named, and there can be no private helper. Nothing was
            run.
        BadAddress, BadRequest, CannotConnect, Unsupported: nothing was run.
        Refused: the server did not run it, and says why.
        ConnectionLost, ProtocolError, StatusUnknown: the command may have run.
        UnicodeError: ``stdin`` or the output does not fit the encoding.
        TypeError: ``stdin`` is of a kind that this mode does not take, or a number is none.
        ValueError: a number is negative, NaN or too large for any clock; a variable's name has an
            equals sign in it; ``stdin`` and ``input`` are both given.
        OSError: ``stdin`` is a file that cannot be read, or whose position is unknown.

    >>> run("tr a-z A-Z", b"hello").stdout
    b'HELLO'
    >>> run(["echo", "$HOME"], text=True).stdout
    '$HOME\\n'
    >>> run("exit 3").returncode
    3
    >>> run("pwd; echo $GREETING", cwd="/", env={"GREETING": "hello"}, text=True).stdout
    '/\\nhello\\n'
    """
    if others:
        refuse_others(others)
    mode = text_mode(text, encoding, errors)
    address = destination(server)
    call = Call(
        cmd,
        mode,
        timeout,
        check,
        max_output,
        cwd,
        env,
        merge,
        idle_timeout,
        grace,
    )
    return _run(address, protocol, either(stdin, input), call)


class Client:
    """Runs commands on one server. It holds no connection, so threads and forks may share it.

    Args:
        server, protocol: as for :func:`run`.

    Raises:
        BadAddress: it is not an address.

    >>> Client().run("echo hello").stdout
    b'hello\\n'
    """

    __slots__ = ("address", "protocol")

    def __init__(
        self,
        server: _types.Address | None = None,
        protocol: _types.Protocols = "auto",
    ) -> None:
        self.address = destination(server)
        self.protocol: _types.Protocols = protocol
        if self.address is not None:
            check_address(self.address)
        check_protocol(protocol)

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
        input: _types.Stdin = None,
        cwd: _types.Word | None = None,
        env: _types.Environment | None = None,
        merge: bool = False,
        idle_timeout: float | None = None,
        grace: float | None = None,
        **others: object,
    ) -> Completed[_types.Any]:
        """Runs a command as :func:`run` does, on this client's server."""
        if others:
            refuse_others(others)
        mode = text_mode(text, encoding, errors)
        call = Call(
            cmd,
            mode,
            timeout,
            check,
            max_output,
            cwd,
            env,
            merge,
            idle_timeout,
            grace,
        )
        data = either(stdin, input)
        return _run(self.address, self.protocol, data, call)


def _run(
    server: str | None, protocol: _types.Protocols, stdin: _types.Stdin, call: Call
) -> Completed[_types.Any]:
    connection = call.connect(server, protocol, source(stdin, call.text))
    try:
        if not _wait(connection, call.timeout):
            raise expired(connection, call.cmd, call.timeout)
    except Error as error:
        raise failure(error, connection, call) from None
    finally:
        # A traceback would keep the connection, and so the command, alive.
        connection.abort()
    return finish(connection, call)


def _wait(connection: Connection, timeout: float | None) -> bool:
    # Nearly all programs have neither: one look is enough.
    if "gevent" in sys.modules or "eventlet" in sys.modules:
        from ._on_hub import drive, hub_wait

        wait = hub_wait()
        if wait is not None:
            return drive(connection, timeout, wait)
    return connection.wait(timeout)
