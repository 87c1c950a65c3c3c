"""`sockproc.testing`: the block of a fake server, and many clients at once."""

from __future__ import annotations

import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pytest

import sockproc
from conftest import OnLoop
from sockproc import ConnectionLost, TimeoutExpired, aio, run
from sockproc.testing import FakeServer, Request


def test_the_block_names_the_server_that_clients_ask_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOCKPROC_SOCKET", "/nonexistent")
    with FakeServer({"x": "outer"}), FakeServer({"x": "inner"}) as inner:
        assert os.environ["SOCKPROC_SOCKET"] == inner.address
        assert run("x").stdout == b"inner"
        assert sockproc.Client().run("x").stdout == b"inner"
        assert run("x", server=inner).stdout == b"inner"
    assert os.environ["SOCKPROC_SOCKET"] == "/nonexistent"
    monkeypatch.delenv("SOCKPROC_SOCKET")
    with FakeServer({"x": b""}):
        run("x")
    assert "SOCKPROC_SOCKET" not in os.environ


@pytest.mark.usefixtures("fds")
def test_nothing_is_left_behind(any_run: Any) -> None:
    threads = set(threading.enumerate())
    with FakeServer({"x": TimeoutExpired("x", 1), "y": b"y"}) as fake:
        directory = Path(fake.address).parent
        assert any_run("y").stdout == b"y"
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(fake.address)
        with pytest.raises(TimeoutExpired):
            any_run("x", timeout=0.05)
    silent.close()
    assert not directory.exists()
    assert set(threading.enumerate()) == threads


def test_the_end_of_the_block_ends_clients_that_still_wait() -> None:
    ended: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(ConnectionLost) as lost:
            run("x", server=fake.address)
        ended.append(lost.value)

    with FakeServer({"x": TimeoutExpired("x", 1)}) as fake:
        waiting = threading.Thread(target=wait)
        waiting.start()
        limit = time.monotonic() + 30
        while not fake.requests and time.monotonic() < limit:
            time.sleep(0.005)
    waiting.join(timeout=30)
    assert len(ended) == 1


def test_a_block_can_be_entered_again_but_not_twice_at_once() -> None:
    fake = FakeServer({"x": b""})
    with pytest.raises(RuntimeError, match="inside its block"):
        _ = fake.address
    for _ in range(2):
        with fake, pytest.raises(RuntimeError, match="already"), fake:
            pass
        with fake:
            run("x")
    assert len(fake.requests) == 2


def test_many_tasks_are_answered_at_once_on_every_loop(on_loop: OnLoop) -> None:
    barrier = threading.Barrier(20, timeout=30)

    def together(request: Request) -> bytes:
        barrier.wait()
        return request.stdin

    async def main() -> None:
        async with FakeServer({("cat",): together}) as fake:
            client = aio.Client()
            calls = [partial(client.run, ["cat"], b"%d" % n) for n in range(20)]
            got = await gather(calls)
            assert sorted(got) == sorted(b"%d" % n for n in range(20))
            assert len(fake.requests) == 20

    on_loop(main)


async def gather(calls: Sequence[Callable[[], Any]]) -> list[bytes]:
    """The output of all calls, made at the same time on the loop that runs."""
    import anyio

    got: list[bytes] = []

    async def one(call: Callable[[], Any]) -> None:
        got.append((await call()).stdout)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(one, call)
    return got


def test_forked_children_and_workers_are_answered_and_leave_the_server_alone() -> None:
    fork = multiprocessing.get_context("fork")
    with FakeServer({"x": "yes"}) as fake:
        worker = fork.Process(target=leave_in_child, args=(fake,))
        worker.start()
        worker.join(timeout=30)
        assert worker.exitcode == 0
        assert run("x").stdout == b"yes"
        assert len(fake.requests) == 2


def leave_in_child(fake: FakeServer) -> None:
    assert run("x").stdout == b"yes"
    fake.__exit__(None, None, None)
