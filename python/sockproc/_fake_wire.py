"""The server's side of the classic protocol, as far as a fake server needs it."""

from __future__ import annotations

import os
import re
import shlex
from typing import TYPE_CHECKING

from ._errors import Refused
from ._outcome import NOTE, REFUSALS

if TYPE_CHECKING:
    from io import BufferedReader
    from socket import socket

    from ._completed import Completed
    from ._types import Any, Command

# What a client that speaks a newer protocol asks first. To a classic server it is a comment.
_OPENING = re.compile(rb"#sockproc/[0-9]{1,9}")

_WAIT_STATUSES = {kind: status for status, kind in REFUSALS.items()}


def read_request(connection: socket) -> tuple[bytes, bytes] | None:
    """Reads a command line and its stdin; None if the client has gone before the line's end."""
    with connection.makefile("rb") as stream:
        line = b""
        while not line.endswith(b"\r\n"):
            received = stream.readline()
            if not received:
                return None
            line += received
        count = re.match(rb"\s*\+?([0-9]+)", stream.readline())
        return line[:-2], _read(stream, int(count[1]) if count else 0)


def _read(stream: BufferedReader, length: int) -> bytes:
    """So many bytes, or all until end of file: a client need not know how many they are."""
    pieces: list[bytes] = []
    while length and (piece := stream.read(min(length, 65536))):
        pieces.append(piece)
        length -= len(piece)
    return b"".join(pieces)


def is_opening(line: bytes) -> bool:
    """Whether this is no command, but a client that asks for a newer protocol."""
    return _OPENING.fullmatch(line) is not None


def as_asked(cmd: Command) -> str | tuple[str, ...]:
    """One form for each command: str for a line for the shell, a tuple for an argv.

    On the wire an argv is a line too. So a line that looks exactly like that becomes an argv.

    Raises:
        TypeError: ``cmd`` is no command.
    """
    if isinstance(cmd, (str, bytes)):
        return _argv(os.fsencode(cmd)) or os.fsdecode(cmd)
    words = [cmd] if isinstance(cmd, os.PathLike) else cmd
    return tuple(os.fsdecode(word) for word in words)


def _argv(line: bytes) -> tuple[str, ...] | None:
    """The argv for which this line stands, if it does."""
    if not line.startswith(b"exec '"):
        return None
    try:
        # Latin-1 has a character for each byte.
        words = shlex.split(line.decode("latin-1"))[1:]
        argv = [word.encode("latin-1") for word in words]
    except ValueError:
        return None
    return tuple(map(os.fsdecode, argv)) if _exec_line(argv) == line else None


def _exec_line(argv: list[bytes]) -> bytes:
    """The line as which clients send an argv: quoted, and no CRLF stays in one piece."""
    words = [word.replace(b"'", rb"'\''").replace(b"\r\n", b"\r''\n") for word in argv]
    return b"exec " + b" ".join(b"'%s'" % word for word in words)


def wait_status(refused: Refused) -> int:
    """The wait status with which a server refuses in this way.

    Raises:
        ValueError: no server can send such a refusal.
    """
    if refused.kind not in _WAIT_STATUSES:
        kinds = ", ".join(_WAIT_STATUSES)
        raise ValueError(f"kind must be one of {kinds}, not {refused.kind!r}")
    if "\n" in refused.message:
        raise ValueError(f"message must be one line, not {refused.message!r}")
    return _WAIT_STATUSES[refused.kind]


def encoded(answer: Completed[Any] | Refused) -> bytes:
    """An answer as a server sends it."""
    if isinstance(answer, Refused):
        note = NOTE + answer.message.encode() + b"\n"
        return _reply(wait_status(answer), b"", note)
    return _reply(answer.status, as_bytes(answer.stdout), as_bytes(answer.stderr))


def as_bytes(output: str | bytes) -> bytes:
    """Output as bytes: str is encoded in UTF-8."""
    if isinstance(output, str):
        return output.encode(errors="surrogateescape")
    return output


def _reply(status: int, stdout: bytes, stderr: bytes) -> bytes:
    head = b"status:%d\r\n%d\r\n" % (status, len(stdout))
    return b"%s%s%d\r\n%s" % (head, stdout, len(stderr), stderr)
