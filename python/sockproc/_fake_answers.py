"""What a fake server may answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from ._completed import Completed
from ._errors import ConnectionLost, Refused
from ._fake_request import Request
from ._fake_wire import as_bytes, check_refusal
from ._run_errors import TimeoutExpired

Settled: TypeAlias = Completed[Any] | Refused | ConnectionLost | TimeoutExpired

FixedAnswer: TypeAlias = (
    Completed[bytes]
    | Completed[str]
    | bytes
    | str
    | Refused
    | ConnectionLost
    | TimeoutExpired
)

Answer: TypeAlias = FixedAnswer | Callable[[Request], FixedAnswer]
"""What a fake server may answer: see :class:`FakeServer`."""

_OTHER_ANSWERS: tuple[type[object], ...] = (Completed, ConnectionLost, TimeoutExpired)


def reply(
    stdout: str | bytes = b"", stderr: str | bytes = b"", returncode: int = 0
) -> Completed[bytes]:
    """An answer of a command that ended so.

    Args:
        stdout, stderr: what it wrote; str is encoded in UTF-8.
        returncode: its exit code, or the negative number of the signal that ended it.

    >>> reply(stderr="no such branch\\n", returncode=128).returncode
    128
    """
    status = -returncode if returncode < 0 else returncode << 8
    return Completed(None, status, as_bytes(stdout), as_bytes(stderr))


def checked(answer: FixedAnswer) -> Settled:
    """The answer, if it can be given.

    Raises:
        TypeError, ValueError: it cannot.
    """
    if isinstance(answer, (str, bytes)):
        return reply(answer)
    if isinstance(answer, Refused):
        check_refusal(answer)
    elif not isinstance(answer, _OTHER_ANSWERS):
        raise TypeError(
            "an answer must be a Completed, bytes, str, a Refused, a ConnectionLost, "
            f"a TimeoutExpired or a function, not {answer!r}"
        )
    return answer
