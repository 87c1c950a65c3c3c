"""One call of ``run``, as far as it is the same whether its caller waits or awaits."""

from __future__ import annotations

import os
from operator import index

from ._completed import Completed
from ._errors import NoServer, StatusUnknown
from ._native import Connection, exec_line, returncode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from ._run_errors import TimeoutExpired
    from ._stdin import Source
    from ._text import TextMode
    from ._types import Address, Command


# More than that is no limit either.
_LARGEST_LIMIT = 2**64 - 1


def address_text(server: Address | None) -> str:
    """The address of the server to ask.

    Raises:
        NoServer: neither ``server`` nor the environment says which.
    """
    if server is None:
        server = os.environ.get("SOCKPROC_SOCKET")
        if not server:
            raise NoServer
        return server
    if isinstance(server, str):
        return server
    if isinstance(server, int):
        return f"127.0.0.1:{server}"
    return "unix:" + os.fsdecode(server)


def command_line(cmd: Command) -> bytes:
    """The line for the shell that does what ``cmd`` says."""
    if isinstance(cmd, str):
        return os.fsencode(cmd)
    if isinstance(cmd, bytes):
        return cmd
    words = [cmd] if isinstance(cmd, os.PathLike) else cmd
    return exec_line([os.fsencode(word) for word in words])


def connect(server: str, cmd: Command, stdin: Source, limit: int | None) -> Connection:
    """The connection of one run, with a limit on its output; nothing is sent yet."""
    return Connection(server, command_line(cmd), stdin.data, stdin.length, limit)


def check_timeout(timeout: float | None) -> None:
    """Refuses what is no number of seconds.

    Raises:
        TypeError, ValueError: it is none.
    """
    if timeout is None:
        return
    refusal: type[Exception] = ValueError
    try:
        is_number = timeout < 0 or timeout >= 0
        float(timeout)
        if is_number:
            return
    except TypeError:
        refusal = TypeError
    except OverflowError:
        pass
    raise refusal(f"timeout must be a number of seconds, not {timeout!r}")


def output_limit(max_output: SupportsIndex | None) -> int | None:
    """The limit on a run's output, in bytes.

    Raises:
        TypeError, ValueError: ``max_output`` is no number of bytes.
    """
    if max_output is None:
        return None
    message = f"max_output must be a number of bytes, not {max_output!r}"
    try:
        limit = index(max_output)
    except TypeError:
        raise TypeError(message) from None
    if limit < 0:
        raise ValueError(message)
    return min(limit, _LARGEST_LIMIT)


def finish(
    connection: Connection, cmd: Command, check: bool, text: TextMode | None
) -> Completed[Any]:
    """What became of a run that is over."""
    status, stdout, stderr = connection.output()
    if status and returncode(status) is None:
        raise StatusUnknown(Completed(cmd, status, stdout, stderr))
    completed: Completed[Any]
    if text is None:
        completed = Completed(cmd, status, stdout, stderr)
    else:
        completed = Completed(cmd, status, text.decode(stdout), text.decode(stderr))
    return completed.check() if check else completed


def expired(
    connection: Connection | None, cmd: Command, timeout: float | None
) -> TimeoutExpired:
    """What to raise when the timeout, which is not None then, has passed.

    Args:
        connection: that of the run; None if it was not to begin yet.
    """
    from ._run_errors import TimeoutExpired

    seconds = timeout or 0.0
    if connection is None:
        return TimeoutExpired(cmd, seconds, may_have_run=False)
    stdout, stderr = connection.partial_output()
    return TimeoutExpired(cmd, seconds, stdout or None, stderr or None, connection.sent)
