"""What came of one ``run``, whether its caller waits or awaits."""

from __future__ import annotations

from errno import EACCES, ENOENT, ENOTDIR, EPERM

from ._completed import Completed
from ._errors import (
    CannotStart,
    Forbidden,
    IdleTooLong,
    NotADirectory,
    NotFound,
    OutputTooLarge,
    Refused,
    StatusUnknown,
)
from ._native import returncode

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._call import Call
    from ._errors import Error
    from ._native import Connection
    from ._run_errors import TimeoutExpired
    from ._types import Command

# The wait statuses of a refusal, as PROTOCOL.md lists them.
REFUSALS = {
    64 << 8: "bad-request",
    69 << 8: "policy",
    71 << 8: "cannot-spawn",
    75 << 8: "busy",
}

_KERNEL_REFUSALS: dict[int, type[CannotStart]] = {
    ENOENT: NotFound,
    EACCES: Forbidden,
    EPERM: Forbidden,
    ENOTDIR: NotADirectory,
}

# The server's own messages begin with this.
NOTE = b"sockproc: "


def finish(connection: Connection, call: Call) -> Completed[Any]:
    """What became of a run that is over."""
    status, stdout, stderr = connection.output()
    if status in REFUSALS and not stdout:
        refuse(status, stderr)
    if status and returncode(status) is None:
        raise StatusUnknown(Completed(call.cmd, status, stdout, stderr))
    completed: Completed[Any]
    text = call.text
    if text is None:
        completed = Completed(call.cmd, status, stdout, stderr)
    else:
        completed = Completed(
            call.cmd, status, text.decode(stdout), text.decode(stderr)
        )
    return completed.check() if call.check else completed


def failure(error: Error, connection: Connection, call: Call) -> Exception:
    """What to raise where a run has failed so."""
    if isinstance(error, OutputTooLarge):
        error.stdout, error.stderr = connection.partial_output()
    elif isinstance(error, IdleTooLong):
        return expired(connection, call.cmd, call.idle_timeout)
    elif isinstance(error, Refused):
        return call.refused(error)
    return error


def cannot_start(refused: Refused, program: Any, cwd: Any) -> Refused:
    """What to raise where a server refuses so: if it was the kernel, an OSError."""
    errno, step = refused.errno, refused.step
    if errno is None:
        return refused
    kind = _KERNEL_REFUSALS.get(errno, CannotStart)
    filename = {"exec": program, "chdir": cwd}.get(step or "")
    return kind(refused.kind, refused.message, step, errno, filename)


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
