"""Shared by the benchmarks of the Python package."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

Call = Callable[[], Awaitable[object]]
Figures = dict[str, float]

CONCURRENCY = 32
LOOPS: dict[str, Callable[[Any], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}


def cpu() -> float:
    """Seconds of processor time that this process has had."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


class Meter:
    """Counts calls a second, and processor time a call, from when it is made."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), cpu()

    def figures(self, count: int) -> Figures:
        """The figures, if `count` calls were made since."""
        used = cpu() - self._cpu
        return {"rate": count / (time.perf_counter() - self._wall), "cpu": used / count}


async def throughput(call: Call, count: int) -> Figures:
    """Calls `call` `count` times, `CONCURRENCY` at a time, on asyncio or uvloop."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    meter = Meter()
    await asyncio.gather(*[worker() for _ in range(CONCURRENCY)])
    return meter.figures(count)


def medians(rounds: list[Figures]) -> Figures:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def in_fresh_process(*args: object, **env: str) -> Any:
    """Runs this program with these arguments; returns what it prints as JSON."""
    command = [sys.executable, sys.argv[0], *map(str, args)]
    output = subprocess.run(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(output.stdout)
