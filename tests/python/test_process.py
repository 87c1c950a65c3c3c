"""`Process` and `aio.Process`: commands with which a program talks."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from subprocess import DEVNULL, PIPE, STDOUT
from typing import Any

import anyio
import pytest

import sockproc
from conftest import OnLoop
from sockproc import Process, Server, aio
from support import children, is_alive, read_pid, wait_until


def gone(path: Path) -> None:
    pid = read_pid(path)
    wait_until(lambda: not is_alive(pid), f"end of process {pid}")


def test_a_command_is_talked_with(on_loop: OnLoop) -> None:
    async def main() -> None:
        command = "echo one; read x; echo got $x; exit 3"
        async with aio.Process(command, PIPE, PIPE, text=True) as process:
            assert process.stdin and process.stdout
            assert await process.stdout.readline() == "one\n"
            process.stdin.write("it\n")
            await process.stdin.drain()
            assert [line async for line in process.stdout] == ["got it\n"]
            assert await process.wait() == 3
        assert process.returncode == 3

    on_loop(main)


def test_leaving_the_block_ends_the_tree(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        command = f"sleep 60 & echo $! >{tmp_path}/pid; echo ready; wait"
        async with aio.Process(command, stdout=PIPE) as process:
            assert process.stdout
            await process.stdout.readline()
        assert process.returncode == -signal.SIGTERM

    on_loop(main)
    gone(tmp_path / "pid")


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_dropping_it_ends_the_tree(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        command = f"sleep 60 & echo $! >{tmp_path}/pid; echo ready; wait"
        process = await aio.Process(command, stdout=PIPE)
        assert process.stdout
        await process.stdout.readline()

    on_loop(main)
    gone(tmp_path / "pid")


def test_communicate_moves_any_amount_both_ways(on_loop: OnLoop) -> None:
    async def main() -> None:
        process = await aio.Process("cat; echo err >&2", PIPE, PIPE, PIPE)
        data = bytes(3_000_000)
        assert await process.communicate(data) == (data, b"err\n")
        assert process.returncode == 0
        process = await aio.Process("exec <&-; echo hi", PIPE, PIPE)
        assert await process.communicate(data) == (b"hi\n", None)

    on_loop(main)


def test_streams_may_be_files_and_each_other(on_loop: OnLoop, tmp_path: Path) -> None:
    async def main() -> None:
        with (tmp_path / "out").open("wb") as file:
            async with aio.Process(
                "cat; echo out; echo err >&2", DEVNULL, file, STDOUT
            ) as process:
                assert not (process.stdin or process.stdout or process.stderr)
                await process.wait()

    on_loop(main)
    assert (tmp_path / "out").read_bytes() == b"out\nerr\n"


def test_reads_are_those_of_asyncio_and_lines_may_be_long(on_loop: OnLoop) -> None:
    async def main() -> None:
        command = "printf abcdef; head -c 1000000 /dev/zero; echo; printf 'x::y::z'"
        async with aio.Process(command, stdout=PIPE) as process:
            stdout = process.stdout
            assert stdout
            assert await stdout.read(3) == b"abc"
            assert await stdout.readexactly(3) == b"def"
            assert len(await stdout.readline()) == 1_000_001
            assert await stdout.readuntil(b"::") == b"x::"
            assert await stdout.readuntil(b"::") == b"y::"
            assert not stdout.at_eof()
            with pytest.raises(EOFError) as early:
                await stdout.readuntil(b"::")
            partial: Any = early.value
            assert partial.partial == b"z"
            assert stdout.at_eof()
            assert await stdout.read() == await stdout.readline() == b""
            with pytest.raises(EOFError):
                await stdout.readexactly(1)

    on_loop(main)


def test_no_character_is_split(on_loop: OnLoop) -> None:
    async def main() -> None:
        command = r"printf '\303'; sleep 0.1; printf '\251\r'; sleep 0.1; printf '\n'"
        async with aio.Process(command, stdout=PIPE, encoding="utf-8") as process:
            assert process.stdout
            assert await process.stdout.read() == "é\n"

    on_loop(main)


def test_signals_reach_the_leader_and_cancel_the_tree(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        for end, code in (("kill", 9), ("terminate", 15), ("cancel", 15)):
            process = await aio.Process(["sleep", "60"])
            getattr(process, end)()
            assert await process.wait() == -code
            getattr(process, end)()
        command = f"trap '' TERM; sleep 60 & echo $! >{tmp_path}/pid; echo; wait; wait"
        process = await aio.Process(command, stdout=PIPE, grace=0.2)
        assert process.stdout
        await process.stdout.readline()
        process.cancel()
        assert await process.wait() == -9
        process.stdout.close()
        process = await aio.Process(["sleep", "60"], timeout=0.2)
        assert await process.wait() == -15

    on_loop(main)
    gone(tmp_path / "pid")


def test_several_tasks_may_wait(on_loop: OnLoop) -> None:
    async def main() -> None:
        process = await aio.Process("exit 5")
        codes: list[int] = []

        async def wait() -> None:
            codes.append(await process.wait())

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(wait)
        assert codes == [5] * 5

    on_loop(main)


@pytest.mark.usefixtures("fds")
def test_several_tasks_may_write_at_once(on_loop: OnLoop) -> None:
    async def main() -> bytes:
        async def write() -> None:
            stdin.write(bytes(500_000))
            await stdin.drain()

        async with aio.Process("sleep 0.2; wc -c", PIPE, PIPE) as process:
            assert process.stdin and process.stdout
            stdin = process.stdin
            with anyio.fail_after(30):
                async with anyio.create_task_group() as tasks:
                    for _ in range(3):
                        tasks.start_soon(write)
                stdin.close()
                return await process.stdout.read()

    assert on_loop(main) == b"1500000\n"


def test_one_task_may_read_and_finds_the_end_when_another_closes(
    on_loop: OnLoop,
) -> None:
    async def main() -> list[bytes]:
        found: list[bytes] = []

        async def read() -> None:
            found.append(await stdout.read())

        async with aio.Process("printf ab; exec sleep 60", None, PIPE) as process:
            assert process.stdout
            stdout = process.stdout
            with anyio.fail_after(30):
                assert await stdout.readexactly(2) == b"ab"
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(read)
                    await anyio.wait_all_tasks_blocked()
                    with pytest.raises(RuntimeError, match="another task waits"):
                        await stdout.read()
                    stdout.close()
        return found

    assert on_loop(main) == [b""]


@pytest.mark.usefixtures("fds")
def test_a_command_that_cannot_start_leaves_no_descriptor() -> None:
    import asyncio

    async def main() -> None:
        for _ in range(5):
            with pytest.raises(sockproc.NotFound):
                await aio.Process(["no-such-program"], PIPE, PIPE, PIPE)
            with pytest.raises(NotADirectoryError):
                await aio.Process("true", stdout=PIPE, cwd="/etc/passwd")

    asyncio.run(main())


def test_a_command_sees_this_process_as_it_is(
    on_loop: OnLoop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THIS_CALL", "yes")

    async def main() -> None:
        process = await aio.Process("pwd; echo $OF_THIS_CALL", stdout=PIPE, text=True)
        assert await process.communicate() == (f"{tmp_path}\nyes\n", None)

    on_loop(main)


@pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning")
def test_a_thread_may_talk_with_a_command(tmp_path: Path) -> None:
    with Process("read x; echo got $x; exit 3", PIPE, PIPE, text=True) as process:
        output, _ = process.communicate("it\n")
        assert (output, process.returncode) == ("got it\n", 3)
    command = f"sleep 60 & echo $! >{tmp_path}/pid; echo ready; wait"
    with Process(command, stdout=PIPE) as ended:
        assert ended.stdout
        ended.stdout.readline()
    assert ended.returncode == -15
    gone(tmp_path / "pid")
    os.remove(tmp_path / "pid")
    dropped = Process(command, stdout=PIPE)
    assert dropped.stdout
    dropped.stdout.readline()
    del dropped
    gone(tmp_path / "pid")


def test_a_cancelled_command_that_a_closed_pipe_kills_first_leaves_no_tree(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        for _ in range(50):
            command = "sleep 600 & while echo; do :; done"
            process = await aio.Process(command, stdout=PIPE, server=server)
            assert process.stdout
            await process.stdout.readline()
            process.cancel()
            process.stdout.close()
            await process.wait()

    with Server(tmp_path / "s") as server:
        on_loop(main)
        wait_until(lambda: not children(server.pid), "end of all processes")
