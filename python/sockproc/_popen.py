"""The standard ``Popen``, whose commands a server runs."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, AnyStr, cast

from ._call import destination, milliseconds
from ._child import Child
from ._errors import Refused
from ._native import Child as Run
from ._inherited import inherited, programs
from ._outcome import cannot_start
from ._request import directory, environment, records

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from ._types import Address, Command

# The most descriptors that one request may hand over.
_MOST_DESCRIPTORS = 16

# The largest number of a user or a group; the one above it means none.
_LAST_ID = 2**32 - 2


class Popen(subprocess.Popen[AnyStr]):
    """A command that a server runs, with the interface of :class:`subprocess.Popen`.

    The run ends with its last reference, and with this process: a command that has not ended
    then is ended with its tree. ``docs/python.md`` says what else differs.

    Raises:
        OSError: the program or the directory is at fault, as in the standard class.
        ValueError: ``preexec_fn``, which no process but ours could call.
        Error: there is no server, it refuses, or the connection is lost.

    >>> with Popen(["cat"], stdin=PIPE, stdout=PIPE) as process:
    ...     process.communicate(b"hello")
    (b'hello', None)
    """

    _server: Address | None = None
    _options: dict[str, Any] = {}
    _child: Child
    _blamed: tuple[Any, Any]

    if TYPE_CHECKING:
        # Of the standard class, for all its subclasses; its types do not tell.
        _child_created: bool

        def _close_pipe_fds(self, *descriptors: int) -> None: ...

    def _execute_child(
        self,
        args: Any,
        executable: Any,
        preexec_fn: Any,
        close_fds: bool,
        pass_fds: Collection[int],
        cwd: Any,
        env: Mapping[Any, Any] | None,
        startupinfo: Any,
        creationflags: int,
        shell: bool,
        p2cread: int,
        p2cwrite: int,
        c2pread: int,
        c2pwrite: int,
        errread: int,
        errwrite: int,
        restore_signals: bool,
        gid: int | None,
        gids: list[int] | None,
        uid: int | None,
        umask: int,
        start_new_session: bool,
        process_group: int = -1,
    ) -> None:
        """Has a server execute the command. The arguments are what the standard class makes of its own."""
        if preexec_fn is not None:
            raise ValueError("preexec_fn is not supported: the child is not ours")
        argv, executable = _argv(args, executable, shell)
        sys.audit("subprocess.Popen", executable, argv, cwd, env)
        request: dict[str, Any] = {
            "arg": [os.fsencode(word) for word in argv],
            "program": programs(executable, env),
            "cwd": directory(cwd),
            **environment(env),
            **inherited(restore_signals),
            "on_disconnect": "kill",
            **self._options,
            "session": bool(start_new_session),
            "process_group": max(process_group, 0),
            "user": uid,
            "group": gid,
            # An empty value stands for no group at all.
            "supplementary_group": [b""] if gids == [] else gids,
        }
        if max(uid or 0, gid or 0) > _LAST_ID:
            raise OverflowError("no user or group has such a number")
        if umask >= 0:
            request["umask"] = umask
        streams, descriptors = _streams(p2cread, c2pwrite, errwrite)
        further = _further(close_fds, pass_fds)
        request.update(streams, fd=further)
        descriptors += further
        if len(descriptors) > _MOST_DESCRIPTORS:
            raise ValueError(f"at most {_MOST_DESCRIPTORS} descriptors can be passed")
        self._blamed = (executable, cwd)
        try:
            run = Run(destination(self._server), records(request), descriptors)
        except Refused as refused:
            raise self._start_error(refused) from None
        self._child = Child(run, self.args)
        self._start()
        self._close_pipe_fds(p2cread, p2cwrite, c2pread, c2pwrite, errread, errwrite)

    def _start(self) -> None:
        """Waits until the command has been started."""
        try:
            self._child.start()
        except Refused as refused:
            raise self._start_error(refused) from None
        self._started()

    def _started(self) -> None:
        pid = self._child.pid
        assert pid is not None
        self.pid = pid
        self._child_created = True

    def _start_error(self, refused: Refused) -> Exception:
        """What the standard class raises where a start fails like this."""
        return cannot_start(refused, *self._blamed)

    def _internal_poll(self, _deadstate: int | None = None) -> int | None:
        if self.returncode is None:
            try:
                self.returncode = self._child.poll()
            except Exception:
                if _deadstate is None:
                    raise
                self.returncode = _deadstate
        return self.returncode

    def _wait(self, timeout: float | None) -> int:
        if self.returncode is None:
            if not self._child.wait(timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0.0)
            self.returncode = self._child.returncode
        return cast(int, self.returncode)

    def send_signal(self, sig: int) -> None:
        """Sends a signal to the command, unless that has ended."""
        if self.poll() is None:
            self._child.send_signal(sig)


class Starting(Popen[bytes]):
    """One that belongs to a loop, which waits for its start. Dropping it ends the command."""

    def __init__(
        self,
        args: Any,
        *,
        server: Address | None = None,
        options: dict[str, Any] | None = None,
        **others: Any,
    ) -> None:
        """``options`` are fields of a native request."""
        self._server = server
        self._options = options or {}
        super().__init__(args, bufsize=0, **others)

    def __del__(self) -> None:
        # Not as the standard one, which keeps running commands for ever.
        pass

    @property
    def child(self) -> Child:
        """The run."""
        return self._child

    def _start(self) -> None:
        pass

    def started(self) -> None:
        """To be called when the command has been started."""
        self._started()

    def failed(self, error: BaseException) -> BaseException:
        """To be called when it was not. Returns what to raise."""
        self._child.close()
        for stream in (self.stdin, self.stdout, self.stderr):
            if stream is not None:
                stream.close()
        return self._start_error(error) if isinstance(error, Refused) else error


def shell_options(
    cmd: Command,
    server: Address | None,
    timeout: float | None,
    grace: float | None,
) -> dict[str, Any]:
    """What a :class:`Popen` of ours takes for arguments of ``run``.

    Raises:
        TypeError, ValueError: one of them is wrong.
    """
    durations = {"timeout": timeout, "grace": grace}
    options = {
        name: milliseconds(name, seconds)
        for name, seconds in durations.items()
        if seconds is not None
    }
    is_line = isinstance(cmd, (str, bytes))
    return {"server": server, "shell": is_line, "options": options}


def _argv(args: Any, executable: Any, shell: bool) -> tuple[list[Any], Any]:
    """The words, and the program to execute, as the standard class reads its arguments."""
    if isinstance(args, (str, bytes)):
        words: list[Any] = [args]
    elif isinstance(args, os.PathLike):
        if shell:
            raise TypeError("path-like args is not allowed when shell is true")
        words = [args]
    else:
        words = list(args)
    if shell:
        words = ["/bin/sh", "-c", *words]
        if executable:
            words[0] = executable
    return words, words[0] if executable is None else executable


def _streams(*descriptors: int) -> tuple[dict[str, str], list[int]]:
    """What the three standard streams are: what was asked for, or those of this process."""
    modes: dict[str, str] = {}
    passed: list[int] = []
    for number, (name, descriptor) in enumerate(zip(_NAMES, descriptors)):
        if descriptor == -1:
            descriptor = number
            # As a child of ours would find it.
            if not _is_inheritable(descriptor):
                modes[name] = "closed"
                continue
        modes[name] = "fd"
        passed.append(descriptor)
    return modes, passed


_NAMES = ("stdin", "stdout", "stderr")


def _is_inheritable(descriptor: int) -> bool:
    with suppress(OSError):
        return os.get_inheritable(descriptor)
    return False


def _further(close_fds: bool, pass_fds: Collection[int]) -> list[int]:
    """The descriptors past stderr that a command gets, under the numbers that they have here."""
    if close_fds:
        found = {int(descriptor) for descriptor in pass_fds}
    else:
        found = {int(name) for name in os.listdir("/proc/self/fd")}
        found = {descriptor for descriptor in found if _is_inheritable(descriptor)}
    return sorted(descriptor for descriptor in found if descriptor > 2)
