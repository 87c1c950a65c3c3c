"""`aio.create_subprocess_exec` and `_shell`: what is ours. asyncio's own tests are in
`test_their_tests.py`."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import uvloop

import sockproc
from sockproc import aio
from support import is_alive, wait_until


@pytest.fixture(params=["asyncio", "uvloop"])
def on_loop(request: pytest.FixtureRequest) -> Callable[[Awaitable[Any]], Any]:
    """Runs a coroutine on one of the loops that have asyncio's methods."""
    return uvloop.run if request.param == "uvloop" else asyncio.run  # type: ignore[return-value] # pyright: ignore


PIPE = asyncio.subprocess.PIPE


def test_a_command_is_talked_with(on_loop: Any) -> None:
    async def main() -> None:
        process = await aio.create_subprocess_shell(
            "read x; echo got $x; exit 3", stdin=PIPE, stdout=PIPE
        )
        assert process.stdin and process.stdout
        process.stdin.write(b"it\n")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"got it\n"
        assert await process.wait() == await process.wait() == 3

    on_loop(main())


def test_many_start_at_once_and_no_descriptor_is_left(on_loop: Any) -> None:
    async def one(number: int) -> bytes:
        process = await aio.create_subprocess_exec("echo", str(number), stdout=PIPE)
        output, _ = await process.communicate()
        return output

    async def main() -> None:
        await one(0)
        before = len(os.listdir("/proc/self/fd"))
        outputs = await asyncio.gather(*map(one, range(50)))
        assert outputs == [b"%d\n" % number for number in range(50)]
        await asyncio.sleep(0)
        assert len(os.listdir("/proc/self/fd")) == before

    on_loop(main())


def test_what_cannot_be_started_is_raised_as_asyncio_raises_it(on_loop: Any) -> None:
    async def main() -> None:
        before = len(os.listdir("/proc/self/fd"))
        for _ in range(3):
            with pytest.raises(FileNotFoundError, match="no-such-program"):
                await aio.create_subprocess_exec("no-such-program", stdout=PIPE)
        assert len(os.listdir("/proc/self/fd")) <= before + 1
        for name in ("text", "encoding", "bufsize"):
            with pytest.raises(ValueError, match=f"{name} must be False"):
                await aio.create_subprocess_exec("true", **{name: 1})

    on_loop(main())


def test_a_start_that_is_cancelled_leaves_nothing_running(
    on_loop: Any, tmp_path: Path
) -> None:
    async def main() -> None:
        for pause in (0, 0, 0.001, 0.002, 0.005, 0.01):
            command = f"echo $$ >>{tmp_path}/pids; exec sleep 60"
            start = asyncio.ensure_future(aio.create_subprocess_shell(command))
            await asyncio.sleep(pause)
            if start.cancel():
                with pytest.raises(asyncio.CancelledError):
                    await start
            else:
                start.result().kill()
                await start.result().wait()

    on_loop(main())
    if (tmp_path / "pids").exists():
        for pid in map(int, (tmp_path / "pids").read_text().split()):
            wait_until(lambda: not is_alive(pid), f"end of process {pid}")  # noqa: B023


def test_a_lost_server_is_an_error_of_wait(on_loop: Any, tmp_path: Path) -> None:
    async def main() -> None:
        async with sockproc.Server(tmp_path / "s") as own:
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("SOCKPROC_SOCKET", own.address)
                process = await aio.create_subprocess_exec("sleep", "60", stdout=PIPE)
            waiting = asyncio.ensure_future(process.wait())
            await asyncio.sleep(0)
            os.kill(own.pid, 9)
            with pytest.raises(sockproc.ConnectionLost):
                await waiting
            with pytest.raises(sockproc.ConnectionLost):
                await process.wait()
        assert process.returncode is None

    on_loop(main())
