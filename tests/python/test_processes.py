"""Forks, threads, worker processes, and a listener that is too busy to accept."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import anyio
import pytest

import sockproc
from conftest import OnLoop
from sockproc import Client, aio, run
from support import answer, is_alive, python, read_pid, stub_server, wait_until


def number_of(n: int) -> int:
    return int(run(f"echo {n}").stdout)


def async_number_of(n: int) -> int:
    return int(asyncio.run(aio.run(f"echo {n}")).stdout)


def test_32_threads_call_at_once() -> None:
    client = Client()

    def call(n: int) -> bytes:
        return client.run("cat", str(n).encode()).stdout

    with ThreadPoolExecutor(32) as pool:
        results = list(pool.map(call, range(640)))
    assert results == [str(n).encode() for n in range(640)]


def test_32_threads_each_with_a_loop_call_at_once() -> None:
    with ThreadPoolExecutor(32) as pool:
        assert list(pool.map(async_number_of, range(160))) == list(range(160))


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_worker_processes_call(method: str) -> None:
    run("true")  # what is created on first use exists before the fork
    with multiprocessing.get_context(method).Pool(4) as pool:
        assert pool.map(number_of, range(40)) == list(range(40))
        assert pool.map(async_number_of, range(40)) == list(range(40))


def test_results_and_exceptions_cross_worker_processes() -> None:
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(run, ("echo hi",)) == run("echo hi")
        with pytest.raises(sockproc.CalledProcessError) as raised:
            pool.apply(run, ("exit 3",), {"check": True})
        assert raised.value.returncode == 3
        with pytest.raises(sockproc.TimeoutExpired) as expired:
            pool.apply(run, ("sleep 60",), {"timeout": 0.05})
        assert expired.value.timeout == 0.05


def test_60_forks_while_4_threads_call_and_none_hangs() -> None:
    printed = python("""
import asyncio, os, signal, threading, warnings
import sockproc
from sockproc import aio, run
warnings.simplefilter("ignore")
stop = threading.Event()

def call(function):
    while not stop.is_set():
        assert function("echo parent").stdout == b"parent\\n"

def run_aio(command):
    return asyncio.run(aio.run(command))

functions = [run, run_aio] * 2
threads = [threading.Thread(target=call, args=(f,)) for f in functions]
for thread in threads:
    thread.start()
codes = []
for _ in range(60):
    pid = os.fork()
    if pid == 0:
        signal.alarm(30)  # a child that hangs is killed, and so found out
        ok = run("echo child").stdout == run_aio("echo child").stdout == b"child\\n"
        os._exit(0 if ok else 1)
    codes.append(os.waitpid(pid, 0)[1])
stop.set()
for thread in threads:
    thread.join()
print(codes)
""")
    assert printed == f"{[0] * 60}\n"


def in_child(function: Callable[[], object]) -> int:
    """The wait status of a forked child that calls `function`, 0 if it raises nothing."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            signal.alarm(30)
            function()
            code = 0
        finally:
            os._exit(code)
    return os.waitpid(pid, 0)[1]


def test_a_forked_child_can_neither_go_on_with_its_parents_run_nor_end_it() -> None:
    from sockproc import _native

    server = os.environ["SOCKPROC_SOCKET"]
    records = [("line", b"sleep 0.3; echo whole")]
    connection = _native.Connection(server, "classic", records, b"", 0)
    wanted = connection.on_ready(0)
    assert wanted == _native.READABLE

    def go_on() -> None:
        with pytest.raises(RuntimeError, match="belongs to the process"):
            connection.wait()
        connection.abort()

    assert in_child(go_on) == 0
    assert connection.wait(30)
    assert connection.output() == (0, b"whole\n", b"")
    connection.abort()


@pytest.mark.parametrize("transport", ["unix", "tcp"])
def test_giving_up_ends_the_command_though_a_fork_holds_the_socket(
    transport: str, tmp_path: Path
) -> None:
    address = tmp_path / "s" if transport == "unix" else free_port()
    with sockproc.Server(address, classic_on_disconnect="kill") as server:
        asyncio.run(_give_up(server.address, tmp_path / "pid"))


async def _give_up(server: str, pidfile: Path) -> None:
    task = asyncio.create_task(aio.run(f"echo $$ >{pidfile}; sleep 60", server=server))
    pid = await asyncio.to_thread(read_pid, pidfile)
    holder = os.fork()
    if holder == 0:
        signal.alarm(60)
        while True:
            signal.pause()
    try:
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.to_thread(
            wait_until, lambda: not is_alive(pid), f"end of process {pid}"
        )
        assert is_alive(holder)
    finally:
        os.kill(holder, signal.SIGKILL)
        os.waitpid(holder, 0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def slow(connection: socket.socket) -> None:
    time.sleep(0.005)
    answer(b"status:0\r\n2\r\nok0\r\n")(connection)


def test_a_backlog_of_4_serves_64_calls_at_once(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    with stub_server(tmp_path / "s", slow, backlog=4) as server:

        async def main() -> list[bytes]:
            results: list[bytes] = []

            async def one() -> None:
                results.append((await aio.run("x", server=server)).stdout)

            async with anyio.create_task_group() as group:
                for _ in range(64):
                    group.start_soon(one)
            return results

        assert on_loop(main) == [b"ok"] * 64


def test_a_backlog_of_4_serves_64_threads_at_once(tmp_path: Path) -> None:
    with stub_server(tmp_path / "s", slow, backlog=4) as server:
        together = threading.Barrier(64)

        def call(_: int) -> bytes:
            together.wait()
            return run("x", server=server).stdout

        with ThreadPoolExecutor(64) as pool:
            assert list(pool.map(call, range(64))) == [b"ok"] * 64


def test_a_full_backlog_that_never_clears_times_out(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(0)
        with socket.socket(socket.AF_UNIX) as first:
            first.connect(str(tmp_path / "s"))

            async def main() -> bool:
                with pytest.raises(sockproc.TimeoutExpired) as expired:
                    await aio.run("x", server=tmp_path / "s", timeout=0.3)
                return expired.value.may_have_run

            assert on_loop(main) is False
            with pytest.raises(sockproc.TimeoutExpired) as expired:
                run("x", server=tmp_path / "s", timeout=0.3)
            assert not expired.value.may_have_run
