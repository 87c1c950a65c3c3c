"""The end of a pipe that a loop reads."""

from __future__ import annotations

import codecs
import io
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any, AnyStr, Generic

from ._native import READABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._drive import Driver
    from ._text import TextMode

# What one system call reads: as much as a pipe holds.
_CHUNK = 65536


class Reader(Generic[AnyStr]):
    """What a command writes, as it comes: the methods of asyncio's ``StreamReader``.

    In text mode sizes count characters, and no character is split. A line may be of any length.
    One task may read at a time. A read that is cancelled loses nothing: the next one begins
    where it began. ``async for`` gives lines.
    """

    def __init__(self, file: io.FileIO, text: TextMode | None, loop: Driver) -> None:
        os.set_blocking(file.fileno(), False)
        self._file = file
        self._loop = loop
        self._decode = _decoder(text)
        self._empty: Any = b"" if text is None else ""
        self._newline: Any = b"\n" if text is None else "\n"
        # What has come, and where in it that begins which has not been read.
        self._data: Any = self._empty
        self._at = 0
        self._ended = False
        self._waits = False

    def at_eof(self) -> bool:
        """Whether everything has been read."""
        return self._ended and self._at == len(self._data)

    def close(self) -> None:
        """Reads no more: a command that writes gets SIGPIPE then. A task that reads finds the end of file."""
        self._ended = True
        if self._waits:
            # Without its loop that task never goes on.
            with suppress(RuntimeError):
                self._loop.wake(self._file.fileno())
        self._file.close()

    async def read(self, n: int = -1) -> AnyStr:
        """At most ``n`` bytes, as soon as there are any; all until end of file if ``n`` is -1.

        Raises:
            UnicodeError: what came does not fit the encoding.
        """
        if n < 0:
            data, _ = await self._gather(None)
            return data
        if n and self._at == len(self._data) and not self._ended:
            await self._fill()
        return self._take(min(self._at + n, len(self._data)))

    async def readexactly(self, n: int) -> AnyStr:
        """Exactly ``n`` bytes.

        Raises:
            EOFError: there are fewer; ``partial`` has them. On asyncio, its ``IncompleteReadError``.
            UnicodeError: what came does not fit the encoding.
        """
        parts: list[AnyStr] = []
        left = n
        try:
            while left:
                if self._at == len(self._data):
                    if self._ended:
                        break
                    await self._fill()
                part = self._take(min(self._at + left, len(self._data)))
                parts.append(part)
                left -= len(part)
        except BaseException:
            self._put_back(parts)
            raise
        if left:
            raise self._loop.incomplete_read(self._joined(parts), n)
        return self._joined(parts)

    async def readline(self) -> AnyStr:
        """One line with its newline; what is left at end of file, where the newline may lack.

        Raises:
            UnicodeError: what came does not fit the encoding.
        """
        line, _ = await self._gather(self._newline)
        return line

    async def readuntil(self, separator: AnyStr | None = None) -> AnyStr:
        """All up to and with the separator, by default a newline.

        Raises:
            EOFError: it did not come; ``partial`` has the rest. On asyncio, its ``IncompleteReadError``.
            UnicodeError: what came does not fit the encoding.
            ValueError: the separator is empty.
        """
        if separator is not None and not separator:
            raise ValueError("separator must not be empty")
        data, is_found = await self._gather(separator or self._newline)
        if not is_found:
            raise self._loop.incomplete_read(data, None)
        return data

    def __aiter__(self) -> Reader[AnyStr]:
        return self

    async def __anext__(self) -> AnyStr:
        line = await self.readline()
        if not line:
            raise StopAsyncIteration
        return line

    async def _gather(self, separator: AnyStr | None) -> tuple[AnyStr, bool]:
        """All up to and with the separator, or to end of file; and whether it was found."""
        parts: list[AnyStr] = []
        # So much of what has come may be the separator's beginning.
        overlap = len(separator) - 1 if separator else 0
        try:
            while True:
                at = self._data.find(separator, self._at) if separator else -1
                if separator and at >= 0:
                    parts.append(self._take(at + len(separator)))
                    return self._joined(parts), True
                if self._ended:
                    parts.append(self._take(len(self._data)))
                    return self._joined(parts), False
                parts.append(self._take(max(self._at, len(self._data) - overlap)))
                await self._fill()
        except BaseException:
            self._put_back(parts)
            raise

    def _take(self, end: int) -> AnyStr:
        begin, self._at = self._at, end
        taken: AnyStr = self._data[begin:end]
        return taken

    def _joined(self, parts: list[AnyStr]) -> AnyStr:
        joined: AnyStr = self._empty.join(parts)
        return joined

    def _put_back(self, parts: list[AnyStr]) -> None:
        self._data = self._empty.join([*parts, self._data[self._at :]])
        self._at = 0

    async def _fill(self) -> None:
        """Waits until there is more to read, or end of file."""
        if self._waits:
            raise RuntimeError("another task waits for this stream already")
        while not self._ended:
            self._waits = True
            try:
                await self._loop.ready(self._file.fileno(), READABLE)
            finally:
                self._waits = False
            # If it is None, somebody else has read it.
            chunk = None if self._ended else self._file.read(_CHUNK)
            if chunk is not None and self._receive(chunk):
                return

    def _receive(self, chunk: bytes) -> bool:
        """Keeps what has come; returns whether that is more to read, or the end."""
        if not chunk:
            self.close()
        data = self._decode(chunk)
        if data:
            self._data = self._data[self._at :] + data
            self._at = 0
        return bool(data) or self._ended


def _decoder(text: TextMode | None) -> Callable[[bytes], Any]:
    """What turns chunks, of which the last is empty, into bytes or str."""
    if text is None:
        return lambda chunk: chunk
    plain = codecs.getincrementaldecoder(text.encoding)(text.errors)
    decoder = io.IncrementalNewlineDecoder(plain, translate=True)
    return lambda chunk: decoder.decode(chunk, not chunk)
