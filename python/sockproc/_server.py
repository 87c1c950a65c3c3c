"""Serving: by this process, or by another process for a ``with`` block."""

from __future__ import annotations

import os
import signal
import threading
import time
from contextlib import closing

from ._call import address_text
from ._errors import ServerFailed
from ._lazy import types as _types  # pyright: ignore[reportPrivateUsage]
from ._native import main
from ._program import program
from ._serve_options import serve_arguments

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Generator
    from subprocess import Popen

# Seconds between two looks at a server that starts or ends, which takes some 30 ms.
_PAUSE = 0.005

# A server that neither listens nor ends is given up after these seconds.
_START_LIMIT = 30

_has_served = False


def serve(
    address: _types.Address,
    *more: _types.Address,
    **options: _types.Unpack[_types.ServeOptions],
) -> None:
    """Makes this process a server until Ctrl-C or SIGTERM ends it; then it returns.

    Running commands have ``drain_timeout`` seconds to end. Other threads of this process
    go on. The server logs to stderr.

    Args:
        address, more: where to listen: a socket's path, ``unix:PATH``,
            ``127.0.0.1:PORT`` or a port of 127.0.0.1.
        options: those of ``sockproc serve``, with underscores: ``mode=0o600`` is
            ``--mode 600``.

    Raises:
        ServerFailed: it could not serve.
        RuntimeError: this process has served before. It can catch its signals only once.

    >>> serve("/nonexistent/sockproc.sock")
    Traceback (most recent call last):
    ...
    sockproc.ServerFailed: server ended with exit code 2: cannot listen on unix:/nonexistent/sockproc.sock: No such file or directory (os error 2)
    """
    global _has_served
    if _has_served:
        raise RuntimeError("this process has called serve before; use sockproc.Server")
    arguments = serve_arguments((address, *more), options)
    handlers = _hand_over_signals()
    # Only the first server of a process catches signals. Then Python has its handlers back, and a signal
    # would kill a second server.
    _has_served = True
    try:
        exit_code, told = main(program("sockproc.__main__"), arguments)
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if exit_code:
        _has_served = False
        raise ServerFailed(exit_code, _reason(told))


def _reason(told: str) -> str | None:
    """A server's message in one line, without its name."""
    for line in told.splitlines():
        return line.removeprefix("sockproc: ").removeprefix("error: ")
    return None


def _hand_over_signals() -> dict[int, _types.Any]:
    """Keeps Python from raising KeyboardInterrupt after the server has obeyed Ctrl-C."""
    if threading.current_thread() is not threading.main_thread():
        return {}
    numbers = (signal.SIGINT, signal.SIGTERM)
    return {number: signal.signal(number, signal.SIG_DFL) for number in numbers}


# A block that ends, perhaps by an exception, must not wait for commands.
_OWNED_DEFAULTS: _types.ServeOptions = {
    "classic_on_disconnect": "kill",
    "drain_timeout": 0,
}


class Server:
    """A server in a process of its own, for a ``with`` or ``async with`` block.

    It listens when the block begins and is gone when the block has ended. It also ends
    when this process dies, even by SIGKILL. Commands that still run have
    ``drain_timeout`` seconds to end; then they get SIGTERM, and SIGKILL after ``grace``
    milliseconds. In a forked child, leaving the block does nothing.

    Its commands see the directory, environment and user that this process had when the
    block began. A command is ended if its client gives up, by a timeout or by its own end.

    Args:
        address, more, options: as for :func:`serve`, but ``classic_on_disconnect`` is
            ``"kill"`` and ``drain_timeout`` is 0 by default.

    Attributes:
        address: the first address.
        pid: the server's process id, inside the block.

    Raises:
        TypeError, ValueError: there is no such option, or its value is not allowed.
        ServerFailed: on entry: it could not serve.
        RuntimeError: on entry: it runs already. After its end it may be entered again.

    >>> with Server("example.sock", mode=0o600) as server:
    ...     run("echo hello", server=server.address).stdout
    b'hello\\n'
    """

    def __init__(
        self,
        address: _types.Address,
        *more: _types.Address,
        **options: _types.Unpack[_types.ServeOptions],
    ) -> None:
        self.address = address_text(address)
        self._addresses = (address, *more)
        self._options = {**_OWNED_DEFAULTS, **options}
        serve_arguments(self._addresses, self._options)
        self._process: Popen[bytes] | None = None
        self._owner = 0

    @property
    def pid(self) -> int:
        """The server's process id.

        Raises:
            RuntimeError: it is not running.
        """
        if self._process is None:
            raise RuntimeError("the server runs inside its block only")
        return self._process.pid

    def __enter__(self) -> Server:
        with closing(self._start()) as pauses:
            for pause in pauses:
                time.sleep(pause)
        return self

    def __exit__(self, *error: object) -> None:
        with closing(self._stop()) as pauses:
            for pause in pauses:
                time.sleep(pause)

    async def __aenter__(self) -> Server:
        from ._drive import driver

        with closing(self._start()) as pauses:
            await driver().pace(pauses)
        return self

    async def __aexit__(self, *error: object) -> None:
        from ._drive import driver

        with closing(self._stop()) as pauses:
            await driver().pace(pauses, shield=True)

    def _start(self) -> Generator[float]:
        """Starts the server; yields pauses to make until it listens."""
        from subprocess import DEVNULL, Popen
        from tempfile import TemporaryDirectory

        if self._process is not None and self._owner == os.getpid():
            raise RuntimeError("the server runs already")
        if (pidfile := self._options.get("pidfile")) is not None:
            _check_pidfile(pidfile)
        with TemporaryDirectory(prefix="sockproc-") as directory:
            options = {"pidfile": os.path.join(directory, "pid"), **self._options}
            report = os.path.join(directory, "report")
            with open(report, "x"):
                pass
            user: _types.Any = self._options.get("user")
            if user is not None:
                _give(user, directory, report)
            owned = [*program("sockproc._owned"), report, str(os.getpid())]
            # In a session of its own it does not get the terminal's Ctrl-C, which is meant for us.
            process = Popen(
                owned + serve_arguments(self._addresses, options),
                stdin=DEVNULL,
                start_new_session=True,
            )
            self._process, self._owner = process, os.getpid()
            limit = time.monotonic() + _START_LIMIT
            try:
                while not _names(options["pidfile"], process.pid):
                    if process.poll() is not None or time.monotonic() > limit:
                        raise ServerFailed(process.returncode, _said_in(report))
                    yield _PAUSE
            except BaseException:
                _end(process)
                self._process = None
                raise

    def _stop(self) -> Generator[float]:
        """Ends the server; yields pauses to make until it is gone."""
        process = self._process
        if process is None or self._owner != os.getpid():
            return
        _terminate(process)
        try:
            while process.poll() is None:
                yield _PAUSE
        finally:
            _end(process)
            self._process = None


def _give(user: str | int, *paths: str) -> None:
    """Lets a server that runs as this user write to the files that we read."""
    from shutil import chown

    named = int(user) if isinstance(user, str) and user.isdecimal() else user
    try:
        for path in paths:
            chown(path, named)
    except (LookupError, OSError) as error:
        reason = f"cannot serve as user {user!r}: {error.args[-1]}"
        raise ServerFailed(None, reason) from None


def _said_in(report: str) -> str | None:
    with open(report, encoding="utf-8", errors="backslashreplace") as file:
        return _reason(file.read())


def _check_pidfile(pidfile: _types.Any) -> None:
    """Raises an error if the pidfile cannot be written, which a server only logs."""
    try:
        with open(pidfile, "ab"):
            pass
    except OSError as error:
        reason = f"cannot write the pidfile {os.fspath(pidfile)!r}: {error.strerror}"
        raise ServerFailed(None, reason) from None


def _names(pidfile: _types.Any, pid: int) -> bool:
    """Whether the server has written its pidfile, which it does when it listens."""
    try:
        with open(pidfile, "rb") as file:
            return file.read() == str(pid).encode()
    except FileNotFoundError:
        return False


def _terminate(process: Popen[bytes]) -> None:
    """Tells a server to end: at first after its drain timeout, the second time at once."""
    process.terminate()
    # A stopped process would not react to SIGTERM.
    process.send_signal(signal.SIGCONT)


def _end(process: Popen[bytes]) -> None:
    """Ends a server at once, and the commands that it runs."""
    _terminate(process)
    process.wait()
