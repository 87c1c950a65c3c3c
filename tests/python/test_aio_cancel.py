"""`aio`: cancelling gives the run up."""

from __future__ import annotations

import asyncio
from pathlib import Path

import anyio
import pytest
import trio

import sockproc
from conftest import OnLoop
from sockproc import aio
from support import PATIENCE, has_begun, is_alive, python, read_pid, wait_until


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


async def give_up(how: str, command: str, server: str, seconds: float) -> None:
    """Waits for the command in one of asyncio's ways, at most ``seconds``."""
    run = aio.run(command, server=server)
    match how:
        case "timeout":
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(seconds):
                    await run
        case "wait_for":
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(run, seconds)
        case _:
            run.close()
            with pytest.raises(sockproc.TimeoutExpired):
                await aio.run(command, server=server, timeout=seconds)


def ends_by(how: str, server: str, pidfile: Path) -> None:
    """Gives a run up in one of asyncio's ways."""
    command = f"echo $$ >{pidfile}; sleep 60"

    async def main() -> None:
        if how == "cancel":
            task = asyncio.create_task(aio.run(command, server=server))
            await asyncio.to_thread(read_pid, pidfile)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
        else:
            for seconds in PATIENCE:
                await give_up(how, command, server, seconds)
                if has_begun(pidfile):
                    break
        await asyncio.to_thread(gone, read_pid(pidfile))

    asyncio.run(main())


@pytest.mark.parametrize("how", ["cancel", "timeout", "wait_for", "run(timeout=)"])
def test_every_way_of_asyncio_ends_the_command(
    how: str, killing_server: str, tmp_path: Path
) -> None:
    ends_by(how, killing_server, tmp_path / "pid")


def test_move_on_after_ends_the_command(killing_server: str, tmp_path: Path) -> None:
    async def main() -> None:
        command = f"echo $$ >{tmp_path}/pid; sleep 60"
        for seconds in PATIENCE:
            with trio.move_on_after(seconds) as scope:
                await aio.run(command, server=killing_server)
            assert scope.cancelled_caught
            if has_begun(tmp_path / "pid"):
                break
        await trio.to_thread.run_sync(gone, read_pid(tmp_path / "pid"))

    trio.run(main)


def test_a_cancelled_run_of_a_patient_server_goes_on(tmp_path: Path) -> None:
    async def main() -> None:
        command = f"echo $$ >{tmp_path}/pid; sleep 0.5; echo >{tmp_path}/end"
        task = asyncio.create_task(aio.run(command, protocol="classic"))
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
