"""Helpers of the tests."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import sockproc

DEADLINE = 30.0
"""Seconds to wait for an event before the test fails."""

PATIENCE = (1.0, 5.0, 25.0)
"""Seconds after which to give a command up, in turn until it had begun before."""


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Looks again and again until `condition` holds."""
    limit = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < limit, f"not within {DEADLINE} s: {what}"
        time.sleep(0.005)


def is_alive(pid: int) -> bool:
    """Whether any of its threads is left: a killed process holds its sockets until the last one
    has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return any(_state(f"{pid}/task/{thread}") not in "ZX" for thread in threads)


def _state(task: str) -> str:
    """The state's letter; X once it is gone."""
    try:
        stat = Path(f"/proc/{task}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def children(parent: int) -> list[int]:
    """The process ids of its children, zombies too."""
    found: list[int] = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            stat = Path(f"/proc/{process}/stat").read_text()
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent:
            found.append(int(process))
    return found


def has_begun(pidfile: Path) -> bool:
    """Whether a command has written its process id to this file as a whole line."""
    return pidfile.exists() and pidfile.read_text().endswith("\n")


def read_pid(path: Path) -> int:
    """The process id that a command writes to `path` as a whole line."""
    wait_until(lambda: has_begun(path), f"pid in {path}")
    return int(path.read_text())


def peak_memory(pid: int | None = None) -> int:
    """The most memory, in bytes, that a program has had, by default this one. `ru_maxrss` may be
    from before its exec."""
    status = Path(f"/proc/{pid or 'self'}/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def answers(address: str) -> bool:
    """Whether a server listens there."""
    try:
        return sockproc.run("true", server=address).ok
    except sockproc.CannotConnect:
        return False


def python(code: str, *args: str) -> str:
    """Runs `code` in a new interpreter, which must succeed; returns what it prints."""
    command = [sys.executable, "-c", code, *args]
    here = str(Path(__file__).parent)
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=90,
        env={**os.environ, "PYTHONPATH": here},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@contextmanager
def stub_server(
    path: Path, serve: Callable[[socket.socket], None], backlog: int = 128
) -> Generator[str]:
    """A listener whose connections `serve` handles one by one on a thread."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(backlog)
        thread = threading.Thread(target=_accept, args=(listener, serve))
        thread.start()
        try:
            yield str(path)
        finally:
            listener.shutdown(socket.SHUT_RDWR)
            thread.join()


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    while True:
        try:
            connection, _ = listener.accept()
        except OSError:
            return
        with connection:
            serve(connection)


def answer(reply: bytes) -> Callable[[socket.socket], None]:
    """A way to serve that reads the request's head and says `reply`."""

    def serve(connection: socket.socket) -> None:
        request = b""
        while request.count(b"\r\n") < 2:
            received = connection.recv(65536)
            if not received:
                return
            request += received
        connection.sendall(reply)

    return serve
