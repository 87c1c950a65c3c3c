"""Cancels commands wherever they wait: the program of `test_cancellations.py`.

    python cancelling.py asyncio|uvloop|trio SERVER COUNT SEED

Prints as JSON how many were cancelled, in how many different places, and what is wrong afterwards.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import sys
import types
import warnings
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Generator
from subprocess import PIPE
from typing import Any

import anyio
import trio
import uvloop

from sockproc import aio

LOOP, SERVER = sys.argv[1:3]
COUNT, SEED = map(int, sys.argv[3:5])

DATA = b"line\n" * 40_000
"""More than a pipe holds, and than a server takes at once."""

AT_ONCE = 8
"""Commands in flight."""


async def pieces() -> AsyncIterator[bytes]:
    for _ in range(3):
        await anyio.sleep(0)
        yield DATA


async def collected() -> None:
    await aio.run("cat; echo err >&2", DATA, server=SERVER)


async def collected_by_classic() -> None:
    await aio.run("cat; echo err >&2", DATA, server=SERVER, protocol="classic")


async def fed_by_pieces() -> None:
    await aio.run("cat", pieces(), server=SERVER, timeout=60)


async def slow() -> None:
    await aio.run("sleep 600 & sleep 0.02; kill $!", server=SERVER, timeout=60)


async def talked_with() -> None:
    async with aio.Process("cat", PIPE, PIPE, server=SERVER) as process:
        assert process.stdin and process.stdout
        process.stdin.write(b"a line\nexact|until|")
        await process.stdin.drain()
        assert await process.stdout.readline() == b"a line\n"
        assert await process.stdout.readexactly(5) == b"exact"
        assert await process.stdout.readuntil(b"|") == b"|"
        process.stdin.close()
        await process.stdin.wait_closed()
        assert await process.stdout.read() == b"until|"
        assert await process.wait() == 0


async def drained() -> None:
    async with aio.Process("cat >/dev/null", PIPE, server=SERVER) as process:
        assert process.stdin
        process.stdin.write(DATA)
        await process.stdin.drain()
        process.stdin.close()
        await process.stdin.wait_closed()
        await process.wait()


async def communicated_with() -> None:
    command = "cat; cat /dev/zero | head -c 200000 >&2"
    async with aio.Process(command, PIPE, PIPE, PIPE, server=SERVER) as process:
        await process.communicate(DATA)


async def read_by_lines() -> None:
    command = "for n in 1 2 3; do echo $n; sleep 0.005; done"
    async with aio.Process(command, None, PIPE, server=SERVER, text=True) as process:
        assert process.stdout
        assert [line async for line in process.stdout] == ["1\n", "2\n", "3\n"]


async def awaited() -> None:
    process = await aio.Process("sleep 0.01", server=SERVER)
    await process.wait()


async def left() -> None:
    """Its block ends before its tree."""
    command = "sleep 600 & echo; wait"
    async with aio.Process(command, None, PIPE, server=SERVER) as process:
        assert process.stdout
        await process.stdout.readline()


async def ended() -> None:
    async with aio.Process(["sleep", "600"], server=SERVER, grace=0.1) as process:
        process.cancel()
        await process.wait()


SCENARIOS: list[Callable[[], Coroutine[Any, Any, None]]] = [
    collected,
    collected_by_classic,
    fed_by_pieces,
    slow,
    talked_with,
    drained,
    communicated_with,
    read_by_lines,
    awaited,
    left,
    ended,
]


class Count:
    """How often a coroutine has waited."""

    def __init__(self) -> None:
        self.waits = 0

    @types.coroutine
    def of(
        self, coroutine: Coroutine[Any, Any, None], at: int, call: Callable[[], object]
    ) -> Generator[Any, Any, None]:
        """Drives the coroutine, and calls `call` when it waits for the time with this number."""
        step: Callable[[Any], Any] = coroutine.send
        value: Any = None
        while True:
            try:
                awaited = step(value)
            except StopIteration:
                return
            if self.waits == at:
                call()
            self.waits += 1
            try:
                step, value = coroutine.send, (yield awaited)
            except BaseException as error:
                step, value = coroutine.throw, error


async def on_asyncio(
    run: Callable[[Callable[[], object]], Awaitable[None]], delay: float | None
) -> bool:
    """Whether `run` was cancelled by what it calls: at once, or so many seconds later."""
    loop = asyncio.get_running_loop()

    async def main() -> None:
        await run(cancel)

    def cancel() -> None:
        loop.call_later(delay, task.cancel) if delay is not None else task.cancel()

    task = loop.create_task(main())
    await asyncio.wait([task])
    if not task.cancelled():
        task.result()
    return task.cancelled()


async def on_trio(
    run: Callable[[Callable[[], object]], Awaitable[None]], delay: float | None
) -> bool:
    """The same."""
    with trio.CancelScope() as scope:

        def cancel() -> None:
            if delay is None:
                scope.cancel()
            else:
                scope.deadline = trio.current_time() + delay

        await run(cancel)
    return scope.cancelled_caught


class Trial:
    """Cancels commands until there were enough."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.cancelled = 0
        self.places: set[tuple[str, int]] = set()
        # In how many places each scenario waits.
        self.most: dict[str, int] = {}

    async def once(self, scenario: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Runs it to its end the first time; later it is cancelled somewhere, if it gets there."""
        name, count = scenario.__name__, Count()
        most = self.most.get(name)
        at = -1 if most is None else self.random.randrange(most)
        delay = self.random.choice([None, None, 0.0, 0.001, 0.01])

        async def run(cancel: Callable[[], object]) -> None:
            await count.of(scenario(), at, cancel)

        cancelled = await (on_trio if LOOP == "trio" else on_asyncio)(run, delay)
        if cancelled:
            self.cancelled += 1
            self.places.add((name, at))
        else:
            self.most[name] = max(self.most.get(name, 0), count.waits)

    async def work(self) -> None:
        while self.cancelled < COUNT:
            await self.once(self.random.choice(SCENARIOS))

    async def main(self) -> list[str]:
        """Returns which descriptors are left."""
        for scenario in SCENARIOS:
            await self.once(scenario)
        before = descriptors()
        async with anyio.create_task_group() as group:
            for _ in range(AT_ONCE):
                group.start_soon(self.work)
        gc.collect()
        return sorted(descriptors() - before)


def descriptors() -> set[str]:
    """This process's descriptors, without that of the listing itself."""
    found: set[str] = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            found.add(f"{name} {os.readlink(f'/proc/self/fd/{name}')}")
        except FileNotFoundError:
            pass
    return found


def main() -> None:
    wrong: list[str] = []
    warnings.simplefilter("error")
    sys.unraisablehook = lambda args: wrong.append(f"unraisable: {args}")
    logger = logging.StreamHandler()
    logger.emit = lambda record: wrong.append(record.getMessage())  # type: ignore[method-assign]
    logging.basicConfig(level=logging.WARNING, handlers=[logger])
    trial = Trial()
    if LOOP == "trio":
        wrong += trio.run(trial.main)
    else:
        wrong += (uvloop if LOOP == "uvloop" else asyncio).run(trial.main())
    gc.collect()
    print(json.dumps([trial.cancelled, len(trial.places), wrong]))


if __name__ == "__main__":
    main()
