"""What the arguments of the public functions may be: ``sockproc.Command`` and its like.

Loaded on first use: ``typing`` takes as long to import as all the rest.
"""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterable, Iterable, Mapping, Sequence
from typing import (
    TYPE_CHECKING,
    Any,
    Literal,
    NoReturn,
    Protocol,
    Required,
    TypeAlias,
    TypedDict,
    Unpack,
)

if TYPE_CHECKING:
    from asyncio.subprocess import Process as AsyncioProcess

    from typing_extensions import Buffer
elif sys.version_info >= (3, 12):
    from collections.abc import Buffer
else:
    Buffer = bytes | bytearray | memoryview

__all__ = [
    "Address",
    "Any",
    "AnyOptions",
    "AsyncStdin",
    "AsyncioProcess",
    "BytesOptions",
    "Command",
    "EncodingOptions",
    "Environment",
    "NoReturn",
    "Protocols",
    "ServeOptions",
    "Stdin",
    "TextOptions",
    "Unpack",
    "Word",
]


class SupportsRead(Protocol):
    """A file: anything with a ``read`` that returns bytes or str."""

    def read(self, size: int = ..., /) -> bytes | str: ...


class Reader(Protocol):
    """Returns bytes piece by piece as they are sent, at most ``size`` at once."""

    def read(self, size: int, /) -> bytes: ...


Word: TypeAlias = str | bytes | os.PathLike[str] | os.PathLike[bytes]
"""A program or one of its arguments."""

Command: TypeAlias = Word | Sequence[Word]
"""A str or bytes is a line for the shell; a path is a program; a sequence is one with arguments."""


Environment: TypeAlias = Mapping[str, str | os.PathLike[str]] | Mapping[bytes, bytes]
"""All variables that a command gets."""


class HasAddress(Protocol):
    """A :class:`sockproc.Server`, a :class:`sockproc.Client` or a :class:`sockproc.testing.FakeServer`."""

    @property
    def address(self) -> str | None:
        """Where the server listens; None for the private helper."""
        ...


Address: TypeAlias = (
    str | bytes | os.PathLike[str] | os.PathLike[bytes] | int | HasAddress
)
"""A socket's path, ``unix:PATH``, ``127.0.0.1:PORT``, a port of 127.0.0.1, a server or a client."""

Protocols: TypeAlias = Literal["auto", "classic", "native"]
"""The protocol that a client speaks."""

Stdin: TypeAlias = Buffer | str | SupportsRead | Iterable[Buffer] | Iterable[str] | None
"""What a command may read."""

AsyncStdin: TypeAlias = Stdin | AsyncIterable[Buffer] | AsyncIterable[str]
"""What a command may read when its caller awaits it."""


class Limits(TypedDict, total=False):
    """The options of ``run`` that do not change the type of its result."""

    timeout: float | None
    idle_timeout: float | None
    grace: float | None
    check: bool
    max_output: int | None
    cwd: Word | None
    env: Environment | None
    input: Stdin
    merge: bool


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
    """Options for which only the running program knows whether output is bytes or str."""

    text: bool | None
    encoding: str | None
    errors: str | None


class ServeOptions(TypedDict, total=False):
    """The options of ``sockproc serve``, all of which have a default.

    Sizes are in bytes, or strings as ``"512K"``, ``"10M"`` or ``"2G"``.
    """

    mode: int | str
    """Permission bits of unix sockets; by default 0o777 less the umask. A str is octal."""
    owner: str
    """Owner of unix sockets: ``USER``, ``USER:GROUP`` or ``:GROUP``, names or numbers."""
    user: str | int
    """The user to serve as, with that user's groups and HOME and a clean environment."""
    pidfile: str | os.PathLike[str]
    """A file to write the process id to."""
    log: Literal["off", "error", "warn", "info", "debug", "trace"]
    """What to log on stderr; by default as ``$SOCKPROC_LOG`` says, or warnings."""
    classic_linger: int
    """Milliseconds to wait, after a command's exit, for processes that hold its output; by
    default until they close it."""
    classic_on_disconnect: Literal["finish", "kill"]
    """What happens to a command whose client has gone: finish, by default, or kill."""
    grace: int
    """Milliseconds from SIGTERM to SIGKILL, when the server ends a command; 2000 by default."""
    cgroup: str | os.PathLike[str]
    """A directory of cgroup version 2; each run gets a cgroup of its own below it."""
    reply_memory: int | str
    """The most memory that all replies together may take; the rest goes to ``spill_dir``."""
    spill_dir: str | os.PathLike[str]
    """Where output past 1 MiB a stream is kept until its command has ended."""
    max_spill: int | str
    """The most that one run may keep there; past it the run is killed."""
    max_spill_total: int | str
    """The most that all runs together may keep there."""
    drain_timeout: int
    """Seconds that running commands have to end after the server is told to stop."""
    max_queue: int
    """How many requests may wait for room at once, 4096 by default; more are refused as busy."""
    token_file: str | os.PathLike[str]
    """A file with the token that every request must show; classic requests are refused then.

    Clients find it in the file that ``$SOCKPROC_TOKEN_FILE`` names, for the server that
    ``$SOCKPROC_SOCKET`` names."""


def __getattr__(name: str) -> object:
    # asyncio takes longer to load than all the rest.
    if name != "AsyncioProcess":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from asyncio.subprocess import Process

    return Process
