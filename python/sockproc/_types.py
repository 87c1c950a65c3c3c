"""What the arguments of the public functions may be. Only type checkers import this.

``typing`` takes as long to import as all the rest of the package.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterable, Iterable, Sequence
from typing import Literal, Protocol, Required, TypeAlias, TypedDict

from typing_extensions import Buffer


class SupportsRead(Protocol):
    """A file: anything with a ``read`` that gives bytes, or str."""

    def read(self, size: int = ..., /) -> bytes | str: ...


class Reader(Protocol):
    """Gives bytes piece by piece as they are sent, at most ``size`` at once."""

    def read(self, size: int, /) -> bytes: ...


Word: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A program or one of its arguments."""

Command: TypeAlias = Word | Sequence[Word]
"""A str or bytes is a line for the shell; a path is a program; a sequence is one with arguments."""

Address: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes] | int
"""A socket's path, ``unix:PATH``, ``127.0.0.1:PORT``, or a port of 127.0.0.1."""

Stdin: TypeAlias = Buffer | str | SupportsRead | Iterable[Buffer] | Iterable[str] | None
"""What a command may read."""

AsyncStdin: TypeAlias = Stdin | AsyncIterable[Buffer] | AsyncIterable[str]
"""What a command may read when its caller awaits it."""


class Limits(TypedDict, total=False):
    """The options of ``run`` that do not change the type of its result."""

    timeout: float | None
    check: bool
    max_output: int | None


class BytesOptions(Limits, total=False):
    """The options for output in bytes."""

    text: Literal[False] | None
    encoding: None
    errors: None


class TextOptions(Limits, total=False):
    """The options for output in str, in the locale's encoding or another."""

    text: Required[Literal[True]]
    encoding: str | None
    errors: str | None


class EncodingOptions(Limits, total=False):
    """The options for output in str that need not say ``text=True``."""

    text: bool | None
    encoding: Required[str]
    errors: str | None


class AnyOptions(Limits, total=False):
    """The options of which only the running program knows what output they mean."""

    text: bool | None
    encoding: str | None
    errors: str | None
