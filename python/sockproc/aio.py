"""Running commands while the event loop goes on: asyncio, uvloop, trio and anyio on either.

No thread is started and nothing is imported that the running loop has not imported itself.
"""

from __future__ import annotations

from time import monotonic

from ._call import Call, destination, either, refuse_others
from ._completed import Completed
from ._create_subprocess import create_subprocess_exec as create_subprocess_exec
from ._create_subprocess import create_subprocess_shell as create_subprocess_shell
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


def __getattr__(name: str) -> object:
    # Its modules take longer to load than all the rest.
    if name != "Process":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from ._aio_process import Process

    return globals().setdefault(name, Process)
