"""Running commands while the event loop goes on: asyncio, uvloop, trio and anyio on either.

No thread is started and nothing is imported that the running loop has not imported itself.
"""

from __future__ import annotations

from time import monotonic

from ._call import Call, destination, either, refuse_others
from ._completed import Completed
from ._drive import driver
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]
from ._errors import Error
from ._native import check_address, check_protocol
from ._outcome import expired, failure, finish
from ._stdin import gathered, source
from ._text import text_mode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import overload

    from ._aio_process import Process as Process
else:

    def overload(function: object) -> object:
        return function


@overload
async def run(
    cmd: _types.Command,
    stdin: _types.AsyncStdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.BytesOptions],
) -> Completed[bytes]: ...
@overload
async def run(
    cmd: _types.Command,
    stdin: _types.AsyncStdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.TextOptions],
) -> Completed[str]: ...
@overload
async def run(
    cmd: _types.Command,
    stdin: _types.AsyncStdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.EncodingOptions],
) -> Completed[str]: ...
@overload
async def run(
    cmd: _types.Command,
    stdin: _types.AsyncStdin = None,
    *,
    server: _types.Address | None = None,
    protocol: _types.Protocols = "auto",
    **options: _types.Unpack[_types.AnyOptions],
) -> Completed[_types.Any]: ...
async def run(
    cmd: _types.Command,
    stdin: _types.AsyncStdin = None,
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
    """Runs a command on a server; others run on the event loop until it has ended.

    Arguments, result and exceptions are those of :func:`sockproc.run`. ``stdin`` may be an
    asynchronous iterable too, which the timeout covers. Of files it takes regular ones: to
    read a pipe, a socket or a terminal would block the loop.

    Cancelling the task gives the run up at once, as a timeout does: the server ends the command
    with its tree.

    >>> import asyncio
    >>> asyncio.run(run("tr a-z A-Z", b"hello")).stdout
    b'HELLO'
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
    return await _run(address, protocol, either(stdin, input), call)


class Client:
    """Runs commands on one server. It belongs to no event loop; tasks and forks may share it.

    Args:
        server, protocol: as for :func:`sockproc.run`.

    Raises:
        BadAddress: it is not an address.

    >>> import asyncio
    >>> asyncio.run(Client().run("echo hello")).stdout
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
        return f"aio.Client({self.address!r})"

    @overload
    async def run(
        self,
        cmd: _types.Command,
        stdin: _types.AsyncStdin = None,
        **options: _types.Unpack[_types.BytesOptions],
    ) -> Completed[bytes]: ...
    @overload
    async def run(
        self,
        cmd: _types.Command,
        stdin: _types.AsyncStdin = None,
        **options: _types.Unpack[_types.TextOptions],
    ) -> Completed[str]: ...
    @overload
    async def run(
        self,
        cmd: _types.Command,
        stdin: _types.AsyncStdin = None,
        **options: _types.Unpack[_types.EncodingOptions],
    ) -> Completed[str]: ...
    @overload
    async def run(
        self,
        cmd: _types.Command,
        stdin: _types.AsyncStdin = None,
        **options: _types.Unpack[_types.AnyOptions],
    ) -> Completed[_types.Any]: ...
    async def run(
        self,
        cmd: _types.Command,
        stdin: _types.AsyncStdin = None,
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
        return await _run(self.address, self.protocol, data, call)


async def _run(
    server: str | None, protocol: _types.Protocols, stdin: _types.AsyncStdin, call: Call
) -> Completed[_types.Any]:
    on_loop = driver()
    timeout = left = call.timeout
    if hasattr(stdin, "__aiter__"):
        began = monotonic()
        data = await on_loop.within(timeout, gathered, stdin, call.text)
        if data is None:
            raise expired(None, call.cmd, timeout)
        if timeout is not None:
            left = timeout - (monotonic() - began)
    else:
        data = source(stdin, call.text, may_block=False)
    connection = call.connect(server, protocol, data)
    try:
        if not await on_loop.drive(connection, left):
            raise expired(connection, call.cmd, timeout)
    except Error as error:
        raise failure(error, connection, call) from None
    finally:
        # A traceback would keep the connection, and so the command, alive.
        connection.abort()
    return finish(connection, call)


async def create_subprocess_exec(
    program: _types.Word,
    *args: _types.Word,
    stdin: _types.Any = None,
    stdout: _types.Any = None,
    stderr: _types.Any = None,
    limit: int = 2**16,
    **options: _types.Any,
) -> _types.AsyncioProcess:
    """As :func:`asyncio.create_subprocess_exec`, on asyncio and uvloop; the server runs the command.

    ``docs/python.md`` says what differs; :class:`Process` runs on trio too.

    Raises:
        OSError: the program or the directory is at fault.
        ValueError, TypeError: an option has no meaning here.
        Error: there is no server, it refuses, or the connection is lost.

    >>> import asyncio
    >>> async def main():
    ...     process = await create_subprocess_exec("echo", "hello", stdout=asyncio.subprocess.PIPE)
    ...     return await process.communicate()
    >>> asyncio.run(main())
    (b'hello\\n', None)
    """
    from ._aio_popen import spawn

    return await spawn(
        [program, *args],
        False,
        limit,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        **options,
    )


async def create_subprocess_shell(
    cmd: str | bytes,
    stdin: _types.Any = None,
    stdout: _types.Any = None,
    stderr: _types.Any = None,
    limit: int = 2**16,
    **options: _types.Any,
) -> _types.AsyncioProcess:
    """As :func:`asyncio.create_subprocess_shell`; see :func:`create_subprocess_exec`."""
    from ._aio_popen import spawn

    return await spawn(
        cmd, True, limit, stdin=stdin, stdout=stdout, stderr=stderr, **options
    )


def __getattr__(name: str) -> object:
    # Its modules take longer to load than all the rest.
    if name != "Process":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._aio_process import Process

    return globals().setdefault(name, Process)
