"""The options of a server, from keywords to the words of ``sockproc serve``."""

from __future__ import annotations

import os

from ._call import address_text
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

# Those of ``sockproc serve``, except ``--listen``.
OPTIONS = {
    "cgroup",
    "classic_linger",
    "classic_on_disconnect",
    "drain_timeout",
    "grace",
    "log",
    "max_queue",
    "max_spill",
    "max_spill_total",
    "mode",
    "owner",
    "pidfile",
    "reply_memory",
    "spill_dir",
    "token_file",
    "user",
}


def serve_arguments(
    addresses: tuple[_types.Address, ...], options: Mapping[str, _types.Any]
) -> list[str]:
    """The words of the command line; refuses options that mean nothing."""
    listen = [f"--listen={address_text(address)}" for address in addresses]
    given = [(name, value) for name, value in options.items() if value is not None]
    return ["serve", *listen, *(_argument(name, value) for name, value in given)]


def _argument(name: str, value: _types.Any) -> str:
    if name not in OPTIONS:
        known = ", ".join(sorted(OPTIONS))
        raise TypeError(f"no option {name!r}; there are {known}")
    if isinstance(value, bool):
        raise TypeError(f"{name} must not be {value!r}")
    if isinstance(value, int) and value < 0:
        raise ValueError(f"{name} must not be negative: {value!r}")
    if name == "mode" and isinstance(value, int):
        if value > 0o777:
            raise ValueError(f"mode must be from 0 to 0o777, not {value:#o}")
        value = f"{value:o}"
    elif name == "classic_on_disconnect" and value not in ("finish", "kill"):
        raise ValueError(f"{name} must be 'finish' or 'kill', not {value!r}")
    elif not isinstance(value, (str, int)):
        value = os.fsdecode(value)
    return f"--{name.replace('_', '-')}={value}"
