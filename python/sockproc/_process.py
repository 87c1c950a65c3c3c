"""A running command with which a thread talks."""

from __future__ import annotations

from typing import Any, AnyStr, Literal, overload

from ._popen import Popen, shell_options
from ._types import Address, Command, Environment, Word


class Process(Popen[AnyStr]):
    """A command that runs while this thread talks with it: a :class:`subprocess.Popen` of ours.

    At the end of a ``with`` block, and when the last reference goes, it is ended with its tree if
    it still runs: ``wait`` before that for a command that is to end by itself. The server must be on a
    unix socket.

    Args:
        cmd: as for :func:`run`.
        stdin, stdout, stderr: as in ``subprocess``: ``PIPE``, ``DEVNULL``, a file, a descriptor,
            ``STDOUT`` for stderr; None is this process's own.
        server: as for :func:`run`.
        cwd, env: the command's directory and whole environment; by default those of this process.
        text, encoding, errors: any of them makes the streams str, as in ``subprocess``.
        timeout: seconds after which the server ends the command with its tree.
        grace: seconds from SIGTERM to SIGKILL when the server ends the command.

    Raises:
        NotFound, Forbidden, NotADirectory, CannotStart: the kernel did not start it.
        Error: there is no server, it refuses, it speaks classic only, or the connection is lost.

    >>> from subprocess import PIPE
    >>> with Process("tr a-z A-Z", PIPE, PIPE, text=True) as process:
    ...     process.communicate("hello")
    ('HELLO', None)
    """

    @overload
    def __init__(
        self: Process[bytes],
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: Literal[False] | None = None,
        encoding: None = None,
        errors: None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self: Process[str],
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None: ...
    def __init__(
        self,
        cmd: Command,
        stdin: Any = None,
        stdout: Any = None,
        stderr: Any = None,
        *,
        server: Address | None = None,
        cwd: Word | None = None,
        env: Environment | None = None,
        text: bool | None = None,
        encoding: str | None = None,
        errors: str | None = None,
        timeout: float | None = None,
        grace: float | None = None,
    ) -> None:
        options = shell_options(cmd, server, timeout, grace)
        self._server, self._options = options["server"], options["options"]
        start: Any = super().__init__
        start(
            cmd,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            shell=options["shell"],
            cwd=cwd,
            env=env,
            text=text,
            encoding=encoding,
            errors=errors,
        )

    def __del__(self) -> None:
        # The standard one would keep the run: this one ends with its last reference.
        pass

    def __exit__(self, *error: Any) -> None:
        if self._child_created:
            self._child.cancel()
        super().__exit__(*error)

    def cancel(self) -> None:
        """Has the server end the command with its tree: SIGTERM, and SIGKILL after ``grace``."""
        self._child.cancel()
