"""The end of a pipe that a loop writes."""

from __future__ import annotations

import codecs
import os
from collections import deque
from typing import TYPE_CHECKING, AnyStr, Generic

from ._native import WRITABLE
from ._stdin import as_bytes

if TYPE_CHECKING:
    import io
    from collections.abc import Iterable

    from ._drive import Driver, Event
    from ._text import TextMode

# While more bytes than this wait to be written, drain waits too.
_HIGH_WATER = 65536


class Writer(Generic[AnyStr]):
    """What a command reads: the methods of asyncio's ``StreamWriter``."""

    def __init__(self, file: io.FileIO, text: TextMode | None, loop: Driver) -> None:
        os.set_blocking(file.fileno(), False)
        self._file = file
        self._text = text
        # A byte order mark comes once.
        self._encoder = text and codecs.getincrementalencoder(text.encoding)(
            text.errors
        )
        self._loop = loop
        self._poller = loop.poller()
        self._pieces: deque[memoryview[int]] = deque()
        self._size = 0
        self._closing = False
        self._error: BrokenPipeError | None = None
        # Set when something has been written.
        self._progress: Event = loop.new_event()
        self.fd = file.fileno()
        self.wanted = 0

    def write(self, data: AnyStr) -> None:
        """Writes ``data``. What the pipe does not take at once follows as the loop goes on.

        Raises:
            TypeError: it is bytes in text mode, or str without.
            ValueError: this was closed before.
        """
        if self._closing:
            raise ValueError("write to a stream that was closed")
        if self._encoder and isinstance(data, str):
            piece = self._encoder.encode(data)
        else:
            piece = as_bytes(data, self._text)
        if piece and self._error is None:
            self._pieces.append(memoryview(piece))
            self._size += len(piece)
            if not self.wanted:
                self.step(WRITABLE)

    def writelines(self, data: Iterable[AnyStr]) -> None:
        """Writes each piece of ``data``."""
        for piece in data:
            self.write(piece)

    async def drain(self) -> None:
        """Waits until little waits to be written.

        Raises:
            BrokenPipeError: the command has closed its stdin, or ended.
        """
        await self._wait(_HIGH_WATER)

    def can_write_eof(self) -> bool:
        """True: :meth:`write_eof` is :meth:`close`."""
        return True

    def write_eof(self) -> None:
        """Ends the command's stdin once everything has been written."""
        self.close()

    def close(self) -> None:
        """Ends the command's stdin once everything has been written."""
        self._closing = True
        if not self._pieces:
            self._file.close()

    def is_closing(self) -> bool:
        """Whether it was closed."""
        return self._closing

    async def wait_closed(self) -> None:
        """Waits until everything has been written, after :meth:`close`.

        Raises:
            BrokenPipeError: the command has closed its stdin, or ended.
        """
        await self._wait(0)

    async def _wait(self, size: int) -> None:
        while self._size > size:
            if self._poller.closed:
                await self._loop.ready(self.fd, WRITABLE)
                self.step(WRITABLE)
            else:
                # One event for all tasks that wait.
                if self._progress.is_set():
                    self._progress = self._loop.new_event()
                await self._progress.wait()
        if self._error is not None:
            raise self._error

    def step(self, ready: int) -> None:
        """Writes what the pipe takes now."""
        try:
            while self._pieces:
                written = self._file.write(self._pieces[0])
                if written is None:
                    break
                self._size -= written
                rest = self._pieces.popleft()[written:]
                if rest:
                    self._pieces.appendleft(rest)
        except BrokenPipeError as error:
            self._error = error
            self._pieces.clear()
            self._size = 0
        self._poller.watch(self, WRITABLE if self._pieces else 0)
        if self._closing and not self._pieces:
            self._file.close()
        self._progress.set()

    def abandon(self) -> None:
        """Ends the command's stdin now. What has not been written is dropped."""
        self._pieces.clear()
        self._size = 0
        self._poller.watch(self, 0)
        self.close()
