"""Asyncio's own functions for subprocesses, whose commands the server runs: they are names of ``sockproc.aio``."""

from __future__ import annotations

from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]


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

    ``docs/python.md`` says what differs; :class:`sockproc.aio.Process` runs on trio too.

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


# Where users, help() and tracebacks find them.
create_subprocess_exec.__module__ = create_subprocess_shell.__module__ = "sockproc.aio"
