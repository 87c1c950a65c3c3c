"""`aio`: what an event loop keeps of its runs, and what runs share."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import io
import os
import resource
import socket
import weakref
from collections.abc import AsyncIterator, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

from conftest import OnLoop
from sockproc import CannotConnect, aio
from support import DEADLINE


def accepted(listener: socket.socket) -> int:
    """How many have connected since the last look."""
    count = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            listener.accept()[0].close()
            count += 1
    return count


def test_a_crowd_of_runs_begins_over_many_turns_of_the_loop(tmp_path: Path) -> None:
    begun: list[int] = []

    async def main(listener: socket.socket) -> None:
        loop = asyncio.get_running_loop()

        def count() -> None:
            begun.append(accepted(listener))
            loop.call_soon(count)

        loop.call_soon(count)
        runs = [aio.run("true", server=tmp_path / "s") for _ in range(100)]
        await asyncio.gather(*runs, return_exceptions=True)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen(128)
        listener.setblocking(False)
        asyncio.run(main(listener))
    assert sum(begun) == 100
    assert max(begun) <= 16


class Counting:
    """Awaits a run and counts how often it had to wait."""

    waits = 0

    def __await__(self) -> Generator[Any, Any, None]:
        for wait in aio.run("true").__await__():
            self.waits += 1
            yield wait


def test_each_of_a_crowd_of_runs_waits_once() -> None:
    async def main() -> None:
        async def one() -> int:
            run = Counting()
            await run
            return run.waits

        waits = await asyncio.gather(*[one() for _ in range(100)])
        assert set(waits) == {1}

    asyncio.run(main())


def ignore(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    pass


def test_a_loop_that_is_closed_while_runs_wait_for_their_turn_is_forgotten() -> None:
    loop = asyncio.new_event_loop()
    loop.set_exception_handler(ignore)  # tasks that end in the middle
    tasks = [loop.create_task(aio.run("true")) for _ in range(100)]
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    closed = weakref.ref(loop)
    del loop, tasks
    gc.collect()
    assert closed() is None


def held(directory: Path) -> str:
    """The beginning of a command that writes to the path that it has started, and waits for `go`."""
    return (
        f"echo >{directory}/started; until test -e {directory}/go; do sleep 0.01; done;"
    )


async def started(directory: Path) -> None:
    with anyio.fail_after(DEADLINE):
        while not (directory / "started").exists():
            await anyio.sleep(0.005)


def test_a_forked_copy_of_a_run_takes_nothing_from_it(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        run = aio.run(f"{held(tmp_path)} echo hi")
        done: list[Any] = []

        async def one() -> None:
            done.append(await run)

        async with anyio.create_task_group() as group:
            group.start_soon(one)
            await started(tmp_path)
            pid = os.fork()
            if pid == 0:
                # As when the interpreter ends.
                run.close()
                os._exit(0)
            assert os.waitpid(pid, 0)[1] == 0
            (tmp_path / "go").touch()
        assert done[0].stdout == b"hi\n"

    on_loop(main)


def test_a_loop_keeps_nothing_of_the_task_that_ran_first(on_loop: OnLoop) -> None:
    class Kept:
        pass

    variable: ContextVar[Kept] = ContextVar("variable")

    async def first() -> weakref.ref[Kept]:
        variable.set(Kept())
        await aio.run("true")
        return weakref.ref(variable.get())

    async def main() -> None:
        kept: list[weakref.ref[Kept]] = []

        async def one() -> None:
            kept.append(await first())

        async with anyio.create_task_group() as group:
            group.start_soon(one)
        for _ in range(3):
            await anyio.sleep(0)
        gc.collect()
        assert kept[0]() is None
        assert (await aio.run("true")).ok

    on_loop(main)


def test_a_loop_without_a_descriptor_for_its_runs_cannot_connect(
    on_loop: OnLoop,
) -> None:
    async def main() -> None:
        limits = resource.getrlimit(resource.RLIMIT_NOFILE)
        filling: list[int] = []
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (200, limits[1]))
            with pytest.raises(OSError, match="Too many open files"):
                while True:
                    filling.append(os.open("/dev/null", os.O_RDONLY))
            for spare in range(2):
                with pytest.raises(CannotConnect) as refused:
                    await aio.run("true")
                assert refused.value.errno == errno.EMFILE, spare
                os.close(filling.pop())
        finally:
            for fd in filling:
                os.close(fd)
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        assert (await aio.run("true")).ok

    on_loop(main)


def test_a_run_in_a_system_task_of_trio_outlives_the_main_task(tmp_path: Path) -> None:
    results: list[Any] = []
    main_is_over = False

    async def two(stdin: bytes) -> None:
        with trio.CancelScope(shield=True):
            for _ in range(2):
                done = await aio.run(f"{held(tmp_path)} wc -c", stdin)
                results.append(int(done.stdout))

    async def release() -> None:
        with trio.CancelScope(shield=True):
            while not main_is_over:
                await trio.sleep(0.005)
        (tmp_path / "go").touch()

    async def main() -> None:
        nonlocal main_is_over
        for stdin in [b"", b"x" * 4_000_000]:
            trio.lowlevel.spawn_system_task(two, stdin)
        trio.lowlevel.spawn_system_task(release)
        await started(tmp_path)
        main_is_over = True

    trio.run(main)
    assert sorted(results) == [0, 0, 4_000_000, 4_000_000]


def test_a_run_after_the_end_of_all_trio_s_tasks_is_a_run(tmp_path: Path) -> None:
    results: list[Any] = []

    async def late() -> AsyncIterator[None]:
        try:
            yield
        finally:
            with trio.CancelScope(shield=True):
                results.append(await aio.run("wc -c", b"x" * 4_000_000))

    kept = late()

    async def main() -> None:
        await aio.run("true")
        await anext(kept)

    trio.run(main)
    assert [done.stdout.strip() for done in results] == [b"4000000"]


class Broken(io.FileIO):
    """A file whose `fileno` fails at a later call."""

    broken = False

    def fileno(self) -> int:
        if self.broken:
            raise StopIteration
        return super().fileno()


def test_one_run_that_cannot_begin_stops_no_other(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 4_000_000)
    results: list[Any] = []

    async def one(stdin: Any) -> None:
        try:
            results.append(await aio.run("wc -c", stdin))
        except (StopIteration, RuntimeError):
            results.append(None)

    async def main() -> None:
        with Broken(str(path)) as file:
            async with anyio.create_task_group() as group:
                for number in range(60):
                    group.start_soon(one, file if number == 30 else b"")
                await anyio.sleep(0)
                file.broken = True
        assert (await aio.run("true")).ok

    on_loop(main)
    assert len(results) == 60
    assert results.count(None) <= 1
