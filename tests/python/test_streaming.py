"""Many bytes through `aio.Process`: no more memory than for few, and a slow reader slows its command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from subprocess import PIPE

import anyio
import pytest

from conftest import OnLoop
from sockproc import Server, aio
from support import peak_memory

SIZE = int(os.environ.get("SOCKPROC_TEST_STREAM", str(256 << 20)))
BOUND = 64 << 20

PROGRAM = """
import asyncio, sys
from subprocess import PIPE
import trio, uvloop
from sockproc import aio
from support import peak_memory

loop, way, size = sys.argv[1], sys.argv[2], int(sys.argv[3])

async def read():
    count = 0
    async with aio.Process(["head", "-c", str(size), "/dev/zero"], None, PIPE) as process:
        while data := await process.stdout.read(1 << 20):
            count += len(data)
        assert await process.wait() == 0
    return count

async def write():
    piece, left = bytes(1 << 20), size
    async with aio.Process(["wc", "-c"], PIPE, PIPE) as process:
        while left:
            process.stdin.write(piece[:left])
            await process.stdin.drain()
            left -= min(left, len(piece))
        process.stdin.close()
        return int(await process.stdout.read())

main = {"read": read, "write": write}[way]
if loop == "trio":
    moved = trio.run(main)
else:
    moved = {"asyncio": asyncio, "uvloop": uvloop}[loop].run(main())
assert moved == size, moved
print(peak_memory())
"""


@pytest.mark.parametrize("way", ["read", "write"])
@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_any_number_of_bytes_needs_64_mib_at_most(
    loop: str, way: str, tmp_path: Path
) -> None:
    with Server(tmp_path / "s") as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, loop, way, str(SIZE)],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parent),
                "SOCKPROC_SOCKET": server.address,
            },
            capture_output=True,
            text=True,
            timeout=600,
        )
        assert done.returncode == 0, done.stderr
        assert int(done.stdout) < BOUND
        assert peak_memory(server.pid) < BOUND


def test_a_slow_reader_slows_its_command(on_loop: OnLoop) -> None:
    # What a pipe holds, what one read takes, and what the command writes at once.
    ahead = 65536 + 65536 + 65536

    async def main() -> None:
        command = ["dd", "if=/dev/zero", "bs=65536", "count=4096", "status=none"]
        async with aio.Process(command, None, PIPE) as process:
            assert process.stdout
            # Over and over it has the time to run ahead.
            for step in range(1, 65):
                assert len(await process.stdout.readexactly(1 << 20)) == 1 << 20
                assert written(process.pid) <= (step << 20) + ahead

    on_loop(main)


def test_a_command_that_does_not_read_holds_its_writer_up(on_loop: OnLoop) -> None:
    async def main() -> None:
        async with aio.Process(["sleep", "60"], PIPE) as process:
            assert process.stdin
            process.stdin.write(bytes(1 << 20))
            with anyio.move_on_after(0.2) as scope:
                await process.stdin.drain()
            assert scope.cancelled_caught

    on_loop(main)


def written(pid: int) -> int:
    """How many bytes a process has written."""
    counters = Path(f"/proc/{pid}/io").read_text()
    return int(counters.partition("wchar:")[2].split()[0])
