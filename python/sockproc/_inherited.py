"""What a child of this process would inherit from it."""

from __future__ import annotations

import os
import re
import signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from ._types import Word

# What Python itself ignores, and subprocess restores by default.
_IGNORED_BY_PYTHON = {
    getattr(signal, name)
    for name in ("SIGPIPE", "SIGXFZ", "SIGXFSZ")
    if hasattr(signal, name)
}

# More than the kernel has to say.
_STATUS_LENGTH = 16384


def programs(executable: Word, env: Mapping[Any, Any] | None) -> list[bytes]:
    """The files to try in turn, as execvp(3) does with the ``PATH`` of ``env``."""
    program = os.fsencode(executable)
    if os.path.dirname(program):
        return [program]
    directories = map(os.fsencode, os.get_exec_path(env))
    return [os.path.join(directory, program) for directory in directories]


def inherited(restore_signals: bool) -> dict[str, Any]:
    """The umask of this process, and the signals that it ignores.

    Where the kernel does not tell them, those of the server are left.
    """
    try:
        with open("/proc/self/status", "rb", buffering=0) as file:
            status = file.read(_STATUS_LENGTH) or b""
    except OSError:
        return {}
    request: dict[str, Any] = {}
    if umask := re.search(rb"\nUmask:\t([0-7]+)\n", status):
        request["umask"] = int(umask[1], 8)
    if ignored := re.search(rb"\nSigIgn:\t([0-9a-f]+)\n", status):
        bits = int(ignored[1], 16)
        numbers = {number for number in range(1, 65) if bits >> (number - 1) & 1}
        if restore_signals:
            numbers -= _IGNORED_BY_PYTHON
        request["ignore_signal"] = sorted(numbers)
    return request
