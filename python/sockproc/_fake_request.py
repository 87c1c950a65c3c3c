"""What a client has asked a fake server for."""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ._types import Command


def _further(**how: Any) -> Any:
    """A field that neither comparisons nor the representation look at."""
    return field(compare=False, repr=False, **how)


@dataclass(frozen=True)
class Request:
    """What a client asked for.

    Two are equal if ``cmd`` and ``stdin`` are. The other attributes are None or empty where the
    client did not ask for it, and always by the classic protocol. Some clients ask for it in each
    request: ``Popen`` and ``Process`` send the directory and the environment of their process.

    Attributes:
        cmd: the command: a line for the shell as str, an argv as a tuple of str. What is not
            UTF-8 is in it as :func:`os.fsdecode` puts it.
        stdin: all that the command would have read.
        cwd: the working directory.
        env: all variables.
        merge: whether stderr goes into stdout.
        options: what else was asked for, under the names of PROTOCOL.md, such as ``timeout`` and
            ``umask``; what may come more than once is joined by commas.
    """

    cmd: str | tuple[str, ...]
    stdin: bytes = b""
    cwd: str | None = _further(default=None)
    env: Mapping[str, str] | None = _further(default=None)
    merge: bool = _further(default=False)
    options: Mapping[str, str] = _further(default_factory=dict)


def as_asked(cmd: Command) -> str | tuple[str, ...]:
    """One form for each command: str for a line for the shell, a tuple for an argv.

    On the classic protocol an argv is a line too. So a line that looks exactly like that becomes
    an argv. An argv that has the shell execute a line is how ``Popen`` asks for a line.

    Raises:
        TypeError: ``cmd`` is no command.
    """
    if isinstance(cmd, (str, bytes)):
        return _argv(os.fsencode(cmd)) or os.fsdecode(cmd)
    words = [cmd] if isinstance(cmd, os.PathLike) else cmd
    argv = tuple(os.fsdecode(word) for word in words)
    if argv[:2] == ("/bin/sh", "-c") and len(argv) == 3:
        return as_asked(argv[2])
    return argv


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


def fields_of(run: bytes) -> dict[str, list[bytes]]:
    """The records of a native request by their names."""
    fields: dict[str, list[bytes]] = {}
    for record in run.split(b"\0")[:-1]:
        name, _, value = record.partition(b"=")
        fields.setdefault(name.decode(errors="replace"), []).append(value)
    return fields


def request_of(fields: Mapping[str, list[bytes]], stdin: bytes) -> Request:
    """What was asked by a native request."""
    line, words = fields.get("line", []), fields.get("arg", [])
    changes = [os.fsdecode(each).partition("=") for each in fields.get("env", [])]
    return Request(
        as_asked(line[0] if line else words),
        stdin,
        cwd=os.fsdecode(fields["cwd"][0]) if "cwd" in fields else None,
        env={name: value for name, _, value in changes}
        if changes or "clear_env" in fields
        else None,
        merge=fields.get("stderr") == [b"stdout"],
        options={
            name: os.fsdecode(b",".join(values))
            for name, values in fields.items()
            if name not in _ATTRIBUTES
        },
    )


# What a Request has under names of its own, and what its client needs to carry it.
_ATTRIBUTES = set(
    "arg line program cwd clear_env unenv env stdin stdout stderr fd".split()
)
