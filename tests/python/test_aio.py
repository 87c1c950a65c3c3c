"""`aio`: the event loop goes on, and cancelling gives the run up."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import io
import os
import resource
import socket
import time
import weakref
from collections.abc import AsyncIterator, Generator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import anyio
import pytest
import trio

import sockproc
from conftest import OnLoop
from sockproc import CannotConnect, TimeoutExpired, aio
from support import DEADLINE, is_alive, python, read_pid, wait_until


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


def test_cancelling_a_scope_ends_the_command(
    on_loop: OnLoop, killing_server: str, tmp_path: Path
) -> None:
    command = f"echo $$ >{tmp_path}/pid; sleep 60"

    async def main() -> None:
        async with anyio.create_task_group() as group:

            async def run() -> None:
                await aio.run(command, server=killing_server)

            group.start_soon(run)
            await anyio.to_thread.run_sync(read_pid, tmp_path / "pid")
            group.cancel_scope.cancel()
        # At once, not when the loop ends or garbage is collected.
        await anyio.to_thread.run_sync(gone, read_pid(tmp_path / "pid"))

    on_loop(main)


def gone(pid: int) -> None:
    wait_until(lambda: not is_alive(pid), f"end of process {pid}")


def ends_by(how: str, server: str, pidfile: Path) -> None:
    """Gives a run up in one of asyncio's ways."""
    command = f"echo $$ >{pidfile}; sleep 60"

    async def main() -> None:
        run = aio.run(command, server=server)
        match how:
            case "cancel":
                task = asyncio.create_task(run)
                await asyncio.to_thread(read_pid, pidfile)
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            case "timeout":
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(1):
                        await run
            case "wait_for":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(run, 1)
            case _:
                run.close()
                with pytest.raises(sockproc.TimeoutExpired):
                    await aio.run(command, server=server, timeout=1)
        await asyncio.to_thread(gone, read_pid(pidfile))

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "timeout", "wait_for", "run(timeout=)"])
def test_every_way_of_asyncio_ends_the_command(
    how: str, killing_server: str, tmp_path: Path
) -> None:
    ends_by(how, killing_server, tmp_path / "pid")


def test_move_on_after_ends_the_command(killing_server: str, tmp_path: Path) -> None:
    async def main() -> None:
        with trio.move_on_after(1) as scope:
            await aio.run(f"echo $$ >{tmp_path}/pid; sleep 60", server=killing_server)
        assert scope.cancelled_caught
        await trio.to_thread.run_sync(gone, read_pid(tmp_path / "pid"))

    trio.run(main)


def test_a_cancelled_run_of_a_patient_server_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        command = f"echo $$ >{tmp_path}/pid; sleep 0.5; echo >{tmp_path}/end"
        task = asyncio.create_task(aio.run(command))
        await asyncio.to_thread(read_pid, tmp_path / "pid")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    wait_until((tmp_path / "end").exists, "end of the command")


def test_cancelling_before_anything_was_sent_runs_nothing(tmp_path: Path) -> None:
    async def main() -> None:
        task = asyncio.create_task(aio.run(f"touch {tmp_path}/ran"))
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(main())
    assert sockproc.run("true").ok
    assert not (tmp_path / "ran").exists()


def test_a_run_in_a_scope_that_is_cancelled_already_runs_nothing(
    tmp_path: Path,
) -> None:
    async def main() -> None:
        with trio.CancelScope() as scope:
            scope.cancel()
            await aio.run(f"touch {tmp_path}/ran")
        assert scope.cancelled_caught
        await aio.run("true")

    trio.run(main)
    assert not (tmp_path / "ran").exists()


def test_cancelling_leaves_no_descriptor_and_no_reader(
    on_loop: OnLoop, fds: None
) -> None:
    async def main() -> None:
        for stdin in [b"", b"x" * 4_000_000]:
            for _ in range(5):
                with anyio.move_on_after(0.02):
                    await aio.run("sleep 5", stdin)
        assert (await aio.run("echo still works")).ok

    on_loop(main)


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


@pytest.mark.parametrize("loop", ["asyncio", "uvloop"])
def test_a_signal_that_cancels_in_the_middle_of_a_step_is_no_error(loop: str) -> None:
    printed = python(
        """
import asyncio, logging, os, signal, sys, uvloop
from sockproc import _on_asyncio, aio

class Connection:
    # Cancels the run's task when it is over, as a handler of signals would.
    def __init__(self, real, task): self.real, self.task = real, task
    def __getattr__(self, name): return getattr(self.real, name)
    def on_ready(self, ready):
        wanted = self.real.on_ready(ready)
        if wanted == _on_asyncio.DONE: self.task.cancel()
        return wanted

drive = _on_asyncio.drive
def cancelling(connection, timeout):
    return drive(Connection(connection, asyncio.current_task()), timeout)
_on_asyncio.drive = cancelling
logging.basicConfig(stream=sys.stdout)

async def main():
    try: await aio.run("true")
    except asyncio.CancelledError: print("cancelled")

{"asyncio": asyncio, "uvloop": uvloop}[sys.argv[1]].run(main())
""",
        loop,
    )
    assert printed == "cancelled\n"
