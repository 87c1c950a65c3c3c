"""Where a command's stdin comes from, and how long it is."""

from __future__ import annotations

import io
import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ._text import TextMode
    from ._types import Reader


# A larger number is the position of a text file together with the state of its decoder.
_LAST_OFFSET = 2**63 - 1


class Source:
    """A command's stdin: its length, and its bytes or the file to read them from."""

    __slots__ = ("data", "length")

    def __init__(self, length: int, data: bytes | Reader) -> None:
        self.length = length
        self.data = data


_NOTHING = Source(0, b"")


def source(stdin: Any, text: TextMode | None, may_block: bool = True) -> Source:
    """The bytes of ``stdin``, which may be of many types.

    Args:
        text: how str becomes bytes; None if only bytes are taken.
        may_block: whether a pipe, a socket or a terminal may be read to its end here.

    Raises:
        TypeError: ``stdin`` cannot be read, is bytes in text mode, or str in binary mode.
    """
    if stdin is None:
        return _NOTHING
    if isinstance(stdin, (str, bytes)):
        data = as_bytes(stdin, text)
        return Source(len(data), data)
    try:
        view = memoryview(stdin)
    except TypeError:
        return _stream(stdin, text, may_block)
    if text is not None:
        raise _wrong_type(stdin, text)
    return _from_view(view)


def as_bytes(item: Any, text: TextMode | None) -> bytes:
    """One piece of stdin as bytes.

    Raises:
        TypeError: it is of the wrong kind for this mode.
    """
    if text is not None:
        if isinstance(item, str):
            return text.encode(item)
    elif isinstance(item, bytes):
        return item
    elif not isinstance(item, str):
        # contextlib, for its suppress, would take longer to import than all of this package.
        try:
            return memoryview(item).tobytes()
        except TypeError:
            pass
    raise _wrong_type(item, text)


def _wrong_type(item: object, text: TextMode | None) -> TypeError:
    wanted = "bytes-like" if text is None else "str"
    hint = ": give bytes, or text=True" if isinstance(item, str) else ""
    kind = type(item).__name__
    return TypeError(
        f"stdin must be {wanted}, a file or an iterable, not {kind!r}{hint}"
    )


def _from_view(view: memoryview[Any]) -> Source:
    flat = view.cast("B") if view.c_contiguous else memoryview(view.tobytes())
    return Source(flat.nbytes, _ViewReader(flat))


class _ViewReader:
    def __init__(self, view: memoryview[int]) -> None:
        self._rest = view

    def read(self, size: int) -> bytes:
        chunk, self._rest = self._rest[:size], self._rest[size:]
        return bytes(chunk)


def _stream(stdin: Any, text: TextMode | None, may_block: bool) -> Source:
    if not may_block and _can_wait(stdin):
        message = "stdin is not a regular file: reading it would block the event loop"
        raise TypeError(message)
    file = _os_file(stdin)
    if file is not None:
        if stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            sized = _regular_file(file, stdin)
            if sized is not None:
                return sized
        stdin, text = file, None
    if hasattr(stdin, "__aiter__"):
        raise TypeError("only sockproc.aio can read an asynchronous iterable")
    try:
        pieces = [stdin.read()] if hasattr(stdin, "read") else iter(stdin)
    except TypeError:
        raise _wrong_type(stdin, text) from None
    data = b"".join([as_bytes(piece, text) for piece in pieces])
    return Source(len(data), data)


def _can_wait(stdin: Any) -> bool:
    """Whether ``stdin`` has a descriptor whose other end may keep a reader waiting."""
    try:
        mode = os.fstat(stdin.fileno()).st_mode
    except (AttributeError, OSError, ValueError):
        return False
    return not stat.S_ISREG(mode)


def _os_file(stdin: object) -> io.BufferedReader | None:
    """The buffered or raw file of the operating system, if ``stdin`` is one.

    A ``fileno`` proves nothing: a ``GzipFile`` has one too, which reads other bytes.
    """
    file: Any = getattr(stdin, "buffer", stdin)
    raw = getattr(file, "raw", file)
    return file if isinstance(raw, io.FileIO) else None


def _regular_file(file: io.BufferedReader, opened: Any) -> Source | None:
    """The rest of a file, read as it is sent; None if the kernel does not tell its length (/proc).

    Args:
        opened: the caller's file, or the text file around it, which reads ahead.
    """
    if not file.readable():
        raise io.UnsupportedOperation("stdin is a file that is not open for reading")
    start = opened.tell()
    if start > _LAST_OFFSET:
        raise io.UnsupportedOperation(
            "stdin is a text file with an encoding in which no position can be told: open it in binary mode"
        )
    length = os.fstat(file.fileno()).st_size - start
    return Source(length, _FileReader(file, start)) if length > 0 else None


class _FileReader:
    """Reads without moving the file's own position, which the caller may use meanwhile."""

    def __init__(self, file: io.BufferedReader, offset: int) -> None:
        self._file = file
        self._offset = offset

    def read(self, size: int) -> bytes:
        chunk = os.pread(self._file.fileno(), size, self._offset)
        self._offset += len(chunk)
        return chunk


async def gathered(stdin: Any, text: TextMode | None) -> Source:
    """All bytes of an asynchronous iterable.

    Raises:
        TypeError: a piece of it is of the wrong kind for this mode.
    """
    data = b"".join([as_bytes(piece, text) async for piece in stdin])
    return Source(len(data), data)
