"""`sockproc.testing`: what a fake server does for clients that speak native."""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import pytest

import sockproc
from conftest import OnLoop
from sockproc import NotFound, Process, Refused, TimeoutExpired, aio, run, subprocess
from sockproc.testing import FakeServer, Request, reply

FOREVER = TimeoutExpired("x", 1)


def upper(request: Request) -> bytes:
    return request.stdin.upper()


def both(request: Request) -> sockproc.Completed[bytes]:
    return reply(request.stdin, request.stdin)


def test_directory_environment_and_the_rest_are_recorded(any_run: Any) -> None:
    with FakeServer({"x": reply("out", "err")}) as fake:
        done = any_run("x", cwd="/srv", env={"A": "1=2"}, merge=True, grace=0.5)
    assert (done.stdout, done.stderr) == (b"outerr", b"")
    (request,) = fake.requests
    assert request == Request("x")
    assert (request.cwd, request.env, request.merge) == ("/srv", {"A": "1=2"}, True)
    assert request.options == {"grace": "500"}


def test_what_is_not_asked_for_is_none() -> None:
    with FakeServer({"x": ""}) as fake:
        run("x")
        run("x", protocol="classic")
    for request in fake.requests:
        assert (request.cwd, request.env, request.merge) == (None, None, False)
        assert not request.options


def test_a_process_finds_output_and_leaves_its_stdin(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with FakeServer({"x": reply("one\ntwo\n", "err", 3)}) as fake:
            async with aio.Process("x", PIPE, PIPE, PIPE, text=True) as process:
                assert process.stdin and process.stdout and process.stderr
                # The answer of a function would come after the end of stdin.
                assert await process.stdout.readline() == "one\n"
                process.stdin.write("in")
                process.stdin.close()
                assert await process.stdout.read() == "two\n"
                assert await process.stderr.read() == "err"
                assert await process.wait() == 3
            assert fake.requests == [Request("x", b"in")]
            assert fake.requests[0].cwd == os.getcwd()
            assert fake.requests[0].env == dict(os.environ)

    on_loop(main)


@pytest.mark.parametrize("size", [0, 1, 5_000_000])
def test_communicate_moves_any_amount_both_ways(size: int) -> None:
    with FakeServer({("x",): both}) as fake:
        with Process(["x"], PIPE, PIPE, PIPE) as process:
            assert process.communicate(bytes(size)) == (bytes(size), bytes(size))
            assert process.returncode == 0
    assert fake.requests == [Request(("x",), bytes(size))]


def test_streams_may_be_files_and_each_other(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("text")
    with FakeServer({"x": both}) as fake:
        with (tmp_path / "in").open() as stdin, (tmp_path / "out").open("w") as out:
            with Process("x", stdin, out, STDOUT) as process:
                assert process.wait() == 0
        with Process("x", DEVNULL, DEVNULL, DEVNULL) as process:
            assert process.wait() == 0
    assert (tmp_path / "out").read_text() == "texttext"
    assert fake.requests == [Request("x", b"text"), Request("x")]


def test_the_stdin_of_the_tests_themselves_is_not_read() -> None:
    reading, writing = os.pipe()
    before = os.dup(0)
    os.dup2(reading, 0)
    try:
        with FakeServer({"x": ""}), Process("x") as process:
            assert process.wait() == 0
    finally:
        os.dup2(before, 0)
        for descriptor in (before, reading, writing):
            os.close(descriptor)


def test_the_drop_ins_are_answered() -> None:
    with FakeServer({"tr a-z A-Z": upper, ("git", "log"): "log"}) as fake:
        done = subprocess.run("tr a-z A-Z", shell=True, input=b"in", stdout=PIPE)
        assert done.stdout == b"IN"
        assert subprocess.check_output(["git", "log"], text=True) == "log"

        async def main() -> bytes:
            process = await aio.create_subprocess_exec("git", "log", stdout=PIPE)
            return (await process.communicate())[0]

        assert asyncio.run(main()) == b"log"
    assert [request.cmd for request in fake.requests][1:] == [("git", "log")] * 2


@pytest.mark.parametrize("end", ["kill", "terminate", "cancel"])
def test_a_command_without_an_answer_runs_until_it_is_ended(
    on_loop: OnLoop, end: str
) -> None:
    async def main() -> None:
        async with FakeServer({"x": FOREVER}), aio.Process("x") as process:
            getattr(process, end)()
            assert await process.wait() == (-9 if end == "kill" else -15)

    on_loop(main)


def test_no_process_has_the_process_id_of_a_fake_command() -> None:
    with FakeServer({"x": FOREVER}), Process("x") as process:
        with pytest.raises(ProcessLookupError):
            os.kill(process.pid, 9)


def test_limits_are_kept() -> None:
    with FakeServer({"x": FOREVER, "y": "12345"}):
        with Process("x", timeout=0.05) as process:
            assert process.wait() == -15
        with pytest.raises(TimeoutExpired):
            run("x", idle_timeout=0.05)
        with pytest.raises(sockproc.OutputTooLarge) as large:
            run("y", max_output=3)
        assert large.value.stdout == b"123"
        assert run("y", max_output=5).stdout == b"12345"


@pytest.mark.usefixtures("fds")
def test_what_the_kernel_would_refuse_is_raised_as_subprocess_raises_it() -> None:
    missing = Refused("cannot-spawn", "no such file", step="exec", errno=2)
    with FakeServer({("x",): missing}):
        for start in (run, Process, subprocess.Popen, subprocess.run):
            with pytest.raises(NotFound) as raised:
                start(["x"])
            assert raised.value.filename == "x"


def test_a_function_refuses_in_time_or_the_test_learns_of_it() -> None:
    def refuses(request: Request) -> Refused:
        return Refused("busy", "too late")

    with FakeServer({"x": refuses}):
        for stdin in (None, DEVNULL):
            with pytest.raises(Refused, match="too late"):
                Process("x", stdin)
        with pytest.raises(Refused, match="too late"):
            run("x", bytes(16_000))
    with pytest.raises(RuntimeError, match="has begun.*too late"):
        with FakeServer({"x": refuses}):
            process = Process("x", PIPE)
            with pytest.raises(sockproc.ConnectionLost):
                process.communicate(b"x")


def test_another_version_of_the_protocol_is_refused() -> None:
    with FakeServer() as fake, socket.socket(socket.AF_UNIX) as client:
        client.connect(fake.address)
        client.sendall(b"#sockproc/9\r\n0\r\n" + b"\x01\0\0\0\0")
        client.shutdown(socket.SHUT_WR)
        answer = client.makefile("rb").read()
    assert answer.startswith(b"#sockproc/2\r\n\x19")
    assert b"kind=unsupported\0" in answer
