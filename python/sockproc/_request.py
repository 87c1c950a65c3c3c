"""What a run is to find, as the fields of a native request."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypeAlias

    from ._types import Word

    Field: TypeAlias = str | bytes | int | list[bytes] | list[int] | None


def records(fields: Mapping[str, Field]) -> list[tuple[str, bytes]]:
    """The records of a native request: one for each field, and for each item of a list; None is left out."""
    found: list[tuple[str, bytes]] = []
    for name, value in fields.items():
        if isinstance(value, list):
            found += [(name, _encoded(each)) for each in value]
        elif value is not None:
            found.append((name, _encoded(value)))
    return found


def _encoded(value: str | bytes | int) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, int):
        return b"%d" % value
    return os.fsencode(value)


def environment(env: Mapping[Any, Any] | None) -> dict[str, Any]:
    """Replaces the server's environment by ``env``, or by that of this process.

    Raises:
        ValueError: a name has an equals sign in it.
    """
    if env is None:
        # Bytes already, and without an equals sign in any name.
        ours = [name + b"=" + value for name, value in os.environb.items()]
        return {"clear_env": True, "env": ours}
    entries: list[bytes] = []
    for name, value in env.items():
        name = os.fsencode(name)
        if b"=" in name:
            raise ValueError("illegal environment variable name")
        entries.append(name + b"=" + os.fsencode(value))
    return {"clear_env": True, "env": entries}


def directory(cwd: Word | None) -> bytes:
    """An absolute path of ``cwd``, or of this process's working directory."""
    try:
        here = os.getcwdb()
    except FileNotFoundError:
        # It was removed. The kernel still leads there.
        here = b"/proc/%d/cwd" % os.getpid()
    return here if cwd is None else os.path.join(here, os.fsencode(cwd))
