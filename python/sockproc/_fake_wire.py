"""What comes from the clients of a fake server, and the answers of the classic protocol."""

from __future__ import annotations

import os
import re
import socket
from typing import TYPE_CHECKING, Self

from ._errors import Refused
from ._outcome import NOTE, REFUSALS

if TYPE_CHECKING:
    from ._completed import Completed
    from ._types import Any

# What one system call reads, and the most descriptors that the kernel hands over with it.
_CHUNK = 65536
_MOST_DESCRIPTORS = 253

_CLASSIC = {kind: status for status, kind in REFUSALS.items()}
# The classic protocol has fewer wait statuses than there are kinds.
_WAIT_STATUSES = {
    **_CLASSIC,
    "cancelled": _CLASSIC["policy"],
    "queue-timeout": _CLASSIC["busy"],
    "shutting-down": _CLASSIC["busy"],
    "unsupported": _CLASSIC["policy"],
}


class Incoming:
    """The bytes and descriptors that a client sends. It closes those that are not taken.

    Attributes:
        descriptors: those that came so far.
    """

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._data = b""
        self.descriptors: list[int] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the descriptors."""
        for descriptor in self.descriptors:
            os.close(descriptor)
        self.descriptors.clear()

    @property
    def waits(self) -> bool:
        """Whether something has come that was not read yet."""
        return bool(self._data)

    def readline(self) -> bytes:
        """All up to and with the next line feed; what is left at end of file."""
        while b"\n" not in self._data and self._receive():
            pass
        line, separator, self._data = self._data.partition(b"\n")
        return line + separator

    def read(self, length: int) -> bytes:
        """So many bytes; fewer at end of file. A client need not know how many they are."""
        pieces: list[bytes] = []
        while length and (self._data or self._receive()):
            piece, self._data = self._data[:length], self._data[length:]
            pieces.append(piece)
            length -= len(piece)
        return b"".join(pieces)

    def _receive(self) -> bool:
        """Waits for more; False at end of file."""
        data, descriptors, _, _ = socket.recv_fds(
            self._connection, _CHUNK, _MOST_DESCRIPTORS, socket.MSG_CMSG_CLOEXEC
        )
        self._data += data
        self.descriptors += descriptors
        return bool(data)


def read_head(incoming: Incoming) -> tuple[bytes, int] | None:
    """A command line and the length of its stdin; None if the client has gone before its end."""
    line = b""
    while not line.endswith(b"\r\n"):
        received = incoming.readline()
        if not received:
            return None
        line += received
    count = re.match(rb"\s*\+?([0-9]+)", incoming.readline())
    return line[:-2], int(count[1]) if count else 0


def check_refusal(refused: Refused) -> None:
    """Checks that a server can refuse so.

    Raises:
        ValueError: it cannot.
    """
    if refused.kind not in _WAIT_STATUSES:
        kinds = ", ".join(_WAIT_STATUSES)
        raise ValueError(f"kind must be one of {kinds}, not {refused.kind!r}")
    if "\n" in refused.message:
        raise ValueError(f"message must be one line, not {refused.message!r}")


def encoded(answer: Completed[Any] | Refused) -> bytes:
    """An answer as a server sends it."""
    if isinstance(answer, Refused):
        note = NOTE + answer.message.encode() + b"\n"
        return _reply(_WAIT_STATUSES[answer.kind], b"", note)
    return _reply(answer.status, as_bytes(answer.stdout), as_bytes(answer.stderr))


def as_bytes(output: str | bytes) -> bytes:
    """Output as bytes: str is encoded in UTF-8."""
    if isinstance(output, str):
        return output.encode(errors="surrogateescape")
    return output


def _reply(status: int, stdout: bytes, stderr: bytes) -> bytes:
    head = b"status:%d\r\n%d\r\n" % (status, len(stdout))
    return b"%s%s%d\r\n%s" % (head, stdout, len(stderr), stderr)
