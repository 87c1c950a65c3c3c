"""The exceptions that subprocess has too, in a module apart: importing subprocess takes long."""

from __future__ import annotations

import subprocess

from ._errors import Error
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]


class CalledProcessError(Error, subprocess.CalledProcessError):
    """``check`` was asked for, and the command did not exit with code 0.

    Attributes:
        cmd, returncode, output, stdout, stderr: as in :class:`subprocess.CalledProcessError`.

    >>> run("echo no >&2; exit 3", check=True)
    Traceback (most recent call last):
    ...
    sockproc.CalledProcessError: Command 'echo no >&2; exit 3' returned non-zero exit status 3.
    """

    __module__ = "sockproc"  # where users, tracebacks and pickles find it
    may_have_run = True


class TimeoutExpired(Error, subprocess.TimeoutExpired, TimeoutError):
    """The timeout passed before the answer was complete.

    Attributes:
        cmd, timeout, output, stdout, stderr: as in :class:`subprocess.TimeoutExpired`; the
            output that had arrived, as bytes, or None.

    >>> run("sleep 5", timeout=0.05)
    Traceback (most recent call last):
    ...
    sockproc.TimeoutExpired: Command 'sleep 5' timed out after 0.05 seconds
    """

    __module__ = "sockproc"

    # As an OSError this class would lose its arguments to errno and strerror.
    def __init__(
        self,
        cmd: _types.Any,
        timeout: float,
        output: bytes | None = None,
        stderr: bytes | None = None,
        may_have_run: bool = True,
    ) -> None:
        subprocess.TimeoutExpired.__init__(self, cmd, timeout, output, stderr)
        self.args = (cmd, timeout, output, stderr, may_have_run)
        self.may_have_run = may_have_run

    def __reduce__(self) -> tuple[_types.Any, ...]:
        return type(self), self.args

    def __str__(self) -> str:
        return subprocess.TimeoutExpired.__str__(self)
