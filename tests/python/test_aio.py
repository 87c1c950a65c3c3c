"""`aio`: the event loop goes on; stdin and its limits."""

from __future__ import annotations

import asyncio
import gc
import io
import os
import socket
import time
from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
import trio
import uvloop

import sockproc
from conftest import OnLoop
from sockproc import TimeoutExpired, aio
from support import python


async def letters() -> AsyncIterator[bytes]:
    for letter in [b"a", b"b", b"c"]:
        await anyio.sleep(0)
        yield letter


def test_stdin_may_be_an_asynchronous_iterable(on_loop: OnLoop) -> None:
    async def main() -> None:
        assert (await aio.run("cat", letters())).stdout == b"abc"

    on_loop(main)


def test_an_asynchronous_iterable_is_not_for_run() -> None:
    with pytest.raises(TypeError, match="only sockproc.aio"):
        sockproc.run("cat", letters())  # type: ignore[call-overload] # pyright: ignore


def test_many_runs_go_on_at_once(on_loop: OnLoop) -> None:
    async def main() -> float:
        client = aio.Client()
        began = time.monotonic()
        results: list[bytes] = []

        async def one(number: int) -> None:
            done = await client.run(f"sleep 0.5; echo {number}")
            results.append(done.stdout)

        async with anyio.create_task_group() as group:
            for number in range(50):
                group.start_soon(one, number)
        assert sorted(results) == sorted(b"%d\n" % number for number in range(50))
        return time.monotonic() - began

    # One after another they would take 25 s.
    assert on_loop(main) < 15


def test_the_loop_goes_on_while_a_command_runs(on_loop: OnLoop) -> None:
    async def main() -> int:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await anyio.sleep(0.01)
                ticks += 1

        async with anyio.create_task_group() as group:
            group.start_soon(tick)
            await aio.run("sleep 1")
            group.cancel_scope.cancel()
        return ticks

    assert on_loop(main) > 10


def test_a_timeout_covers_an_asynchronous_stdin(on_loop: OnLoop) -> None:
    closed = False

    async def stalled() -> AsyncIterator[bytes]:
        nonlocal closed
        try:
            yield b"a"
            await anyio.sleep(60)
        finally:
            closed = True

    async def main() -> None:
        with pytest.raises(TimeoutExpired) as expired:
            await aio.run("cat", stalled(), timeout=0.1)
        assert closed
        assert not expired.value.may_have_run
        assert (expired.value.timeout, expired.value.stdout) == (0.1, None)
        with pytest.raises(TimeoutExpired):
            await aio.run("cat; sleep 60", letters(), timeout=0.5)
        assert (await aio.run("cat", letters(), timeout=60)).stdout == b"abc"

    on_loop(main)


def test_a_timeout_of_the_stdin_is_not_the_timeout_of_the_run(on_loop: OnLoop) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise TimeoutError("mine")

    async def main() -> None:
        with pytest.raises(TimeoutError, match="mine"):
            await aio.run("cat", broken(), timeout=60)

    on_loop(main)


def test_what_would_block_the_loop_is_refused(on_loop: OnLoop) -> None:
    async def main() -> None:
        reader, writer = os.pipe()
        ours, theirs = socket.socketpair()
        with open(reader, "rb") as pipe, ours.makefile("rb") as stream:
            for stdin in [pipe, stream]:
                with pytest.raises(TypeError, match="would block the event loop"):
                    await aio.run("cat", stdin)
        for end in [ours, theirs]:
            end.close()
        os.close(writer)
        assert (await aio.run("cat", io.BytesIO(b"a"))).stdout == b"a"

    on_loop(main)


def test_an_exception_in_the_stdin_ends_the_run(on_loop: OnLoop) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"a"
        raise KeyError("mine")

    async def main() -> None:
        with pytest.raises(KeyError, match="mine"):
            await aio.run("cat", broken())

    on_loop(main)


def test_trio_alone_loads_no_asyncio_and_no_anyio(server: str) -> None:
    printed = python(
        """
import sys, trio
before = set(sys.modules)
from sockproc import CannotConnect, TimeoutExpired, aio
trio.run(aio.run, "true", None)
print({"asyncio", "anyio"} & (set(sys.modules) - before))
"""
    )
    assert printed == "set()\n"


def test_a_client_belongs_to_no_loop() -> None:
    client = aio.Client()

    async def main() -> Any:
        return await client.run("echo hi", text=True)

    assert asyncio.run(main()) == trio.run(main) == asyncio.run(main())


@pytest.mark.usefixtures("fds")
@pytest.mark.parametrize("loop", [asyncio, uvloop], ids=["asyncio", "uvloop"])
def test_a_failed_start_leaves_no_descriptor_for_the_garbage_collector(
    loop: Any,
) -> None:
    async def main(start: Any, *args: Any) -> None:
        with pytest.raises(FileNotFoundError):
            await start(*args)

    gc.disable()
    try:
        loop.run(main(aio.run, ["no-such-program"]))
        loop.run(main(aio.Process, ["no-such-program"]))
        loop.run(main(aio.create_subprocess_exec, "no-such-program"))
    finally:
        gc.enable()
