"""`serve`: this process is the server."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import get_type_hints

import pytest

from sockproc import Server, ServerFailed, aio, run
from support import DEADLINE, answers, python, wait_until

SERVE = """
import sockproc, sys
sockproc.serve(*sys.argv[1:], drain_timeout=20, log="off")
print("returned", flush=True)
"""


@contextmanager
def serving(*addresses: str) -> Generator[subprocess.Popen[str]]:
    """A process that calls `serve` and prints when that has returned."""
    command = [sys.executable, "-c", SERVE, *addresses]
    with subprocess.Popen(command, stdout=-1, stderr=-1, text=True) as process:
        try:
            for address in addresses:
                wait_until(lambda: answers(address), f"server at {address}")
            yield process
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_makes_this_process_the_server_until_a_signal(
    number: signal.Signals, tmp_path: Path
) -> None:
    address = str(tmp_path / "s")
    with serving(address) as process:
        parent = int(run("echo $PPID", server=address).stdout)
        assert parent == process.pid
        process.send_signal(number)
        output, errors = process.communicate(timeout=DEADLINE)
        assert (process.returncode, output, errors) == (0, "returned\n", "")
    assert not os.path.exists(address)


def test_serve_lets_running_commands_end(tmp_path: Path) -> None:
    address = str(tmp_path / "s")
    with serving(address) as process:

        async def main() -> None:
            command = f"echo >{tmp_path}/runs; sleep 0.5; echo whole"
            task = asyncio.create_task(aio.run(command, server=address))
            exists = (tmp_path / "runs").exists
            await asyncio.to_thread(wait_until, exists, "start of the command")
            process.terminate()
            assert (await task).stdout == b"whole\n"

        asyncio.run(main())
        assert process.wait(DEADLINE) == 0


def test_serve_listens_at_several_addresses(tmp_path: Path) -> None:
    with serving(str(tmp_path / "a"), str(tmp_path / "b")) as process:
        process.terminate()
        assert process.wait(DEADLINE) == 0


def test_serve_lets_other_threads_run(tmp_path: Path) -> None:
    printed = python(
        """
import os, signal, sockproc, sys, threading, time
def use():
    while True:
        try:
            print(sockproc.run("echo $PPID", server=sys.argv[1]).stdout.decode(), end="")
            break
        except sockproc.CannotConnect:
            time.sleep(0.01)
    os.kill(os.getpid(), signal.SIGINT)
threading.Thread(target=use).start()
sockproc.serve(sys.argv[1])
print(os.getpid(), signal.getsignal(signal.SIGINT) is signal.default_int_handler)
""",
        str(tmp_path / "s"),
    ).split()
    assert printed[0] == printed[1]
    assert printed[2] == "True"


ONCE = """
import os, signal, sockproc, sys, threading, time
def end():
    while not os.path.exists(sys.argv[1] + ".pid"):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGTERM)
def first():
    sockproc.serve(sys.argv[1], pidfile=sys.argv[1] + ".pid")
def again():
    try:
        sockproc.serve(sys.argv[1] + "2")
    except RuntimeError as error:
        print(error)
"""


@pytest.mark.parametrize(
    "code",
    [
        "threading.Thread(target=end).start(); first(); again()",
        # There it is one of several handlers of the signal.
        "signal.signal(signal.SIGTERM, lambda *_: None);"
        "server = threading.Thread(target=first); server.start(); end(); server.join(); again()",
    ],
    ids=["main", "thread"],
)
def test_a_process_is_a_server_only_once(code: str, tmp_path: Path) -> None:
    printed = python(ONCE + code, str(tmp_path / "s"))
    assert printed.startswith("this process has called serve before")


def test_serve_where_another_listens_fails(server: str) -> None:
    code = """
import os, signal, sockproc, sys, threading, time
try:
    sockproc.serve(sys.argv[1])
except sockproc.ServerFailed as error:
    print(error.exit_code, signal.getsignal(signal.SIGINT) is signal.default_int_handler)
    print(error.reason)
address = sys.argv[1] + "2"

def end():
    while not os.path.exists(address.removeprefix("unix:")):
        time.sleep(0.01)
    print(sockproc.run("echo served", server=address, text=True).stdout, end="", flush=True)
    os.kill(os.getpid(), signal.SIGTERM)

threading.Thread(target=end).start()
sockproc.serve(address)
print("ended")
"""
    failure, reason, *again = python(code, server).splitlines()
    assert failure == "17 True"
    assert "a server listens there already" in reason
    assert again == ["served", "ended"]
    with pytest.raises(ServerFailed) as failed, Server(server):
        pytest.fail("two servers at one address")
    assert (failed.value.exit_code, failed.value.may_have_run) == (17, False)
    assert failed.value.reason == reason and reason in str(failed.value)
    assert run("true").ok


def test_every_option_of_the_command_line_is_typed() -> None:
    from sockproc._serve_options import OPTIONS
    from sockproc._types import ServeOptions

    hints = set(get_type_hints(ServeOptions))
    helped = subprocess.run(
        [sys.executable, "-m", "sockproc", "serve", "--help"], capture_output=True
    )
    options = set(re.findall(r"--([a-z-]+)", helped.stdout.decode()))
    # A server in a Python process is in the foreground.
    ours = {name.replace("-", "_") for name in options} - {"listen", "help", "daemon"}
    assert ours == hints == OPTIONS
