"""The part of a ``run`` that is the same for callers that wait and callers that await."""

from __future__ import annotations

import os
from importlib import import_module
from operator import index

from ._completed import Completed
from ._errors import NoServer, Refused, StatusUnknown
from ._native import Connection, returncode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from ._run_errors import TimeoutExpired
    from ._stdin import Source
    from ._text import TextMode
    from ._types import Address, Command


# The wait statuses of a refusal, as PROTOCOL.md lists them.
REFUSALS = {
    64 << 8: "bad-request",
    69 << 8: "policy",
    71 << 8: "cannot-spawn",
    75 << 8: "busy",
}

# The server's own messages begin with this.
NOTE = b"sockproc: "

# A larger number is no limit.
_LARGEST_LIMIT = 2**64 - 1


def address_text(server: Address | None) -> str:
    """The address of the server to ask.

    Raises:
        NoServer: neither ``server`` nor the environment names one.
    """
    if server is None:
        server = os.environ.get("SOCKPROC_SOCKET")
        if not server:
            raise NoServer
        return server
    # A Server or a Client; both have these attributes.
    address: Any = getattr(server, "address", server)
    if isinstance(address, str):
        return address
    if isinstance(address, int):
        return f"127.0.0.1:{address}"
    try:
        return "unix:" + os.fsdecode(address)
    except TypeError:
        message = f"server must be an address, a Server or a Client, not {server!r}"
        raise TypeError(message) from None


# Arguments of subprocess.run that we do not take, and what to do instead.
_INSTEAD = {
    "args": "it is the first argument, cmd",
    "capture_output": "output is always captured",
    "cwd": "a command sees its server's directory: begin the line with cd, or use env --chdir",
    "env": "a command sees its server's environment: use env(1) as the program",
    "executable": "the program is the first word of cmd",
    "input": "it is called stdin",
    "shell": "a str is a line for the shell, a sequence is not",
    "stderr": "it is always captured; 2>&1 in the line merges it into stdout",
    "stdout": "it is always captured",
    "universal_newlines": "it is called text",
}


def refuse_others(others: dict[str, object]) -> None:
    """Refuses arguments that ``run`` does not take, and says what to do instead.

    Raises:
        TypeError: there is such an argument.
    """
    for name in others:
        instead = _INSTEAD.get(name)
        hint = f": {instead}" if instead else ""
        raise TypeError(f"run() does not take {name!r}{hint}")


def command(cmd: Command) -> bytes | list[bytes]:
    """A line for the shell, or a program and its arguments."""
    if isinstance(cmd, str):
        return os.fsencode(cmd)
    if isinstance(cmd, bytes):
        return cmd
    words = [cmd] if isinstance(cmd, os.PathLike) else cmd
    try:
        return [os.fsencode(word) for word in words]
    except TypeError:
        raise TypeError(
            f"cmd must be a line for the shell or a sequence of words, not {cmd!r}"
        ) from None


def connect(server: str, cmd: Command, stdin: Source, limit: int | None) -> Connection:
    """The connection of one run, with a limit on its output; nothing is sent yet."""
    return Connection(server, command(cmd), stdin.data, stdin.length, limit)


def check_timeout(timeout: float | None) -> None:
    """Refuses a timeout that is not a number of seconds, or is negative.

    Raises:
        TypeError, ValueError: it is refused.
    """
    if timeout is None:
        return
    # Loaded before anything can go wrong: an error must not fail because no descriptor is left.
    import_module("._run_errors", __package__)
    refusal: type[Exception] = ValueError
    try:
        is_number = timeout >= 0
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
        TypeError, ValueError: ``max_output`` is not a number of bytes.
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
    """The result of a run that is over."""
    status, stdout, stderr = connection.output()
    if status in REFUSALS and not stdout:
        refuse(status, stderr)
    if status and returncode(status) is None:
        raise StatusUnknown(Completed(cmd, status, stdout, stderr))
    completed: Completed[Any]
    if text is None:
        completed = Completed(cmd, status, stdout, stderr)
    else:
        completed = Completed(cmd, status, text.decode(stdout), text.decode(stderr))
    return completed.check() if check else completed


def refuse(status: int, stderr: bytes) -> None:
    """Raises the server's refusal, if this stderr is one.

    Raises:
        Refused: it is one line of the server's own.
    """
    line = stderr.removeprefix(NOTE)
    if line == stderr or line.find(b"\n") != len(line) - 1:
        return
    message = line[:-1].decode(errors="backslashreplace")
    # In these two cases a command was run, but its wait status is unknown.
    may_have_run = message.startswith("killed") or "wait status" in message
    raise Refused(REFUSALS[status], message, may_have_run)


def expired(
    connection: Connection | None, cmd: Command, timeout: float | None
) -> TimeoutExpired:
    """The exception to raise after the timeout, which is not None then.

    Args:
        connection: that of the run; None if it has not begun.
    """
    from ._run_errors import TimeoutExpired

    seconds = timeout or 0.0
    if connection is None:
        return TimeoutExpired(cmd, seconds, may_have_run=False)
    stdout, stderr = connection.partial_output()
    return TimeoutExpired(cmd, seconds, stdout or None, stderr or None, connection.sent)
