"""Problems that first users of the package had."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import Client, Refused, Server, ServerFailed, run
from sockproc._poller import Poller
from support import PATIENCE, has_begun, is_alive, read_pid, wait_until


@pytest.mark.parametrize(
    ("status", "message", "kind", "may_have_run"),
    [
        (18176, "cannot spawn: no such file", "cannot-spawn", False),
        (19200, "the server is shutting down", "busy", False),
        (16384, "command holds a NUL at byte 3", "bad-request", False),
        (18176, "the wait status is lost: no child", "cannot-spawn", True),
        (18176, "killed, but it lives on", "cannot-spawn", True),
    ],
)
def test_a_refusal_by_the_server_is_no_exit_code(
    tmp_path: Path, status: int, message: str, kind: str, may_have_run: bool
) -> None:
    path = tmp_path / "stub"
    stderr = f"sockproc: {message}\n".encode()
    answer = b"status:%d\r\n0\r\n%d\r\n%s" % (status, len(stderr), stderr)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve_one() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(4096)
                connection.sendall(answer)

        stub = threading.Thread(target=serve_one)
        stub.start()
        with pytest.raises(Refused) as refused:
            run("true", server=path, protocol="classic")
        stub.join()
    error = refused.value
    assert (error.kind, error.message, error.may_have_run) == (
        kind,
        message,
        may_have_run,
    )
    assert message in str(error)


@pytest.mark.parametrize(
    "command",
    ["exit 71", "echo 'sockproc: no' >&2; echo >&2; exit 71", "echo x >&2; exit 75"],
)
def test_a_command_with_the_same_exit_code_is_no_refusal(
    server: str, command: str
) -> None:
    assert run(command, server=server).returncode in (71, 75)


def test_a_server_and_a_client_are_addresses(server: str, tmp_path: Path) -> None:
    assert run("echo hi", server=Client(server)).stdout == b"hi\n"
    with Server(tmp_path / "sock") as own:
        assert run("echo hi", server=own).stdout == b"hi\n"
        assert Client(own).run("echo hi").stdout == b"hi\n"


def test_leaving_a_block_ends_what_still_runs(tmp_path: Path) -> None:
    begin = time.monotonic()
    with pytest.raises(ZeroDivisionError), Server(tmp_path / "sock") as own:
        with pytest.raises(sockproc.TimeoutExpired):
            run("trap '' HUP; sleep 1000", server=own, timeout=0.1)
        Client(own)
        raise ZeroDivisionError
    assert time.monotonic() - begin < 20


def test_a_timed_out_command_is_ended(tmp_path: Path) -> None:
    with Server(tmp_path / "sock") as own:
        pidfile = tmp_path / "pid"
        for seconds in PATIENCE:
            with pytest.raises(sockproc.TimeoutExpired):
                run(
                    f"echo $$ > {pidfile}; exec sleep 1000", server=own, timeout=seconds
                )
            if has_begun(pidfile):
                break
        pid = read_pid(pidfile)
        wait_until(lambda: not is_alive(pid), "end of the command")


def test_a_pidfile_that_cannot_be_written_is_told_at_once(tmp_path: Path) -> None:
    pidfile = tmp_path / "missing" / "pid"
    with (
        pytest.raises(ServerFailed, match="missing/pid"),
        Server(tmp_path / "s", pidfile=pidfile),
    ):
        pass


@pytest.mark.parametrize(
    ("options", "refusal"),
    [
        ({"mode": True}, TypeError),
        ({"mode": 0o1777}, ValueError),
        ({"mod": 0o600}, TypeError),
        ({"drain_timeout": -1}, ValueError),
        ({"classic_on_disconnect": "explode"}, ValueError),
    ],
)
def test_an_option_that_means_nothing_is_refused_when_the_object_is_made(
    options: Any, refusal: type[Exception]
) -> None:
    name = next(iter(options))
    with pytest.raises(refusal, match=name):
        Server("/tmp/never.sock", **options)


@pytest.mark.parametrize("cmd", [None, 3, [None]])
def test_what_is_no_command_is_refused_in_words(server: str, cmd: Any) -> None:
    with pytest.raises(TypeError, match="cmd must be a line for the shell"):
        run(cmd, server=server)


def test_str_for_bytes_is_told_to_say_text(server: str) -> None:
    with pytest.raises(TypeError, match="text=True"):
        run("cat", "x", server=server)


@pytest.mark.parametrize("timeout", [-1, -0.5, float("-inf")])
def test_a_negative_timeout_is_refused_in_words(server: str, timeout: float) -> None:
    with pytest.raises(ValueError, match="timeout must be a number of seconds"):
        run("true", server=server, timeout=timeout)


def test_every_public_name_is_listed_and_no_other() -> None:
    listed = {name for name in dir(sockproc) if not name.startswith("__")}
    assert listed == set(sockproc.__all__)
    assert all(hasattr(sockproc, name) for name in sockproc.__all__)
    assert isinstance(sockproc.__version__, str)


def test_a_timeout_needs_no_descriptor_to_be_told(server: str) -> None:
    code = f"""
import os, resource, sockproc
client = sockproc.Client({server!r})
limit = len(os.listdir("/proc/self/fd")) + 1
resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
try:
    client.run("sleep 5", timeout=0.1)
except sockproc.TimeoutExpired:
    print("told")
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )
    assert done.stdout == "told\n", done.stderr


def test_a_signal_between_two_steps_of_a_watch_leaves_nothing_watched() -> None:
    class Run:
        fd, wanted = -1, 0

        def step(self, ready: int) -> None:
            raise AssertionError

    class Interrupted(KeyboardInterrupt):
        pass

    for stop_at in range(1, 12):
        poller, one = Poller(), Run()
        one.fd, other = os.pipe()
        lines = 0

        def trace(frame: Any, event: str, _: Any, stop_at: int = stop_at) -> Any:
            nonlocal lines
            if event == "line":
                lines += 1
                if lines == stop_at:
                    raise Interrupted
            return trace

        def begin(frame: Any, event: str, argument: Any) -> Any:
            return trace if frame.f_code is Poller.watch.__code__ else None

        poller.watch(one, 1)
        before = sys.gettrace()
        sys.settrace(begin)
        try:
            poller.watch(one, 0)
        except Interrupted:
            pass
        finally:
            sys.settrace(before)
        # The handling of Ctrl-C gives the run up.
        poller.watch(one, 0)
        assert one.wanted == 0 and poller.close() == []
        os.close(one.fd)
        os.close(other)
