"""The standard streams of a fake command: descriptors that its client has passed."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from select import PIPE_BUF

# What one system call reads: as much as a pipe holds.
_CHUNK = 65536


class Stdin:
    """What a fake command reads.

    Attributes:
        fd: the descriptor to read from; None if the bytes come otherwise, or none come.
        data: what has come.
        is_complete: whether nothing more comes.
    """

    def __init__(self, mode: bytes, fd: int | None) -> None:
        self.fd = fd
        self.in_frames = mode == b"frames"
        self.data = bytearray()
        # The stdin of the tests is no one's to read: it may be a terminal, or never end.
        self.is_complete = not self.in_frames and (fd is None or _is_our_own(fd))

    def read(self) -> None:
        """Reads what the descriptor has."""
        assert self.fd is not None
        chunk = b""
        with suppress(OSError):
            chunk = os.read(self.fd, _CHUNK)
        self.data += chunk
        self.is_complete = not chunk

    def read_file(self) -> None:
        """Reads everything if that waits for no one."""
        if self.fd is None:
            return
        mode = os.fstat(self.fd).st_mode
        if stat.S_ISREG(mode) or (stat.S_ISCHR(mode) and not os.isatty(self.fd)):
            while not self.is_complete:
                self.read()


def _is_our_own(fd: int) -> bool:
    with suppress(OSError):
        return os.path.sameopenfile(fd, 0)
    return False


class Output:
    """What a fake command writes.

    Attributes:
        mode: what the client wants it to be.
        fd: the descriptor to write into, if it is one.
        count: how many bytes have been sent in frames.
    """

    def __init__(self, mode: bytes, fd: int | None) -> None:
        self.mode = mode
        self.fd = fd
        self.count = 0
        self._rest = memoryview(b"")

    @property
    def is_over(self) -> bool:
        """Whether everything that was put has been written."""
        return not self._rest

    def put(self, data: bytes) -> None:
        """Has :meth:`write` write this."""
        self._rest = memoryview(data)

    def write(self) -> None:
        """Writes what a pipe takes for sure when it is ready. What no one reads is dropped."""
        assert self.fd is not None
        try:
            self._rest = self._rest[os.write(self.fd, self._rest[:PIPE_BUF]) :]
        except OSError:
            self._rest = memoryview(b"")
