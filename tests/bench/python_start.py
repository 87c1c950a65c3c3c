#!/usr/bin/env python3
"""What the start of the private helper costs: the first call of a process, and the calls after it.

    python tests/bench/python_start.py [--rounds N] [--smoke]

Prints how long the first `run("true")` of a process takes and the median of the next ones, on a private
helper, on a server that is there already and by `subprocess.run`; and how long the first and
a later `aio.run` keep the event loop from turning. Each figure is of processes of their own, small and with
memory that was touched, measured in turns in one run. Needs sockproc and uvloop installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable

from python_support import Figures, in_fresh_process, medians

from sockproc import Server, aio, run

NEXT = 10
HOWS = ["helper", "server", "subprocess"]


def on_sockproc() -> None:
    assert run("true").ok


def by_subprocess() -> None:
    subprocess.run("true", shell=True, check=True, stdin=subprocess.DEVNULL)


def seconds(call: Callable[[], object]) -> float:
    begin = time.perf_counter()
    call()
    return time.perf_counter() - begin


async def stall(call: Callable[[], Awaitable[object]]) -> float:
    """The longest time for which the loop does not turn while this is called."""
    longest, last = 0.0, time.perf_counter()
    task = asyncio.ensure_future(call())
    while not task.done():
        await asyncio.sleep(0)
        now = time.perf_counter()
        longest, last = max(longest, now - last), now
    await task
    return longest


async def stalls() -> Figures:
    async def call() -> None:
        await aio.run("true")

    first = await stall(call)
    return {"stall": first, "next_stall": await stall(call)}


def touched(megabytes: int) -> bytearray:
    """Memory that this process really has."""
    ballast = bytearray(megabytes << 20)
    ballast[::4096] = b"x" * (megabytes << 8)
    return ballast


def cell(how: str, megabytes: int) -> Figures:
    ballast = touched(megabytes)
    call = by_subprocess if how == "subprocess" else on_sockproc
    first = seconds(call)
    following = statistics.median(seconds(call) for _ in range(NEXT))
    assert len(ballast) == megabytes << 20
    return {"first": first, "next": following}


def stall_cell(megabytes: int) -> Figures:
    ballast = touched(megabytes)
    figures = asyncio.run(stalls())
    assert len(ballast) == megabytes << 20
    return figures


def compare(rounds: int, sizes: list[int]) -> None:
    found: dict[tuple[str, int], list[Figures]] = {}
    stalled: dict[int, list[Figures]] = {}
    with (
        tempfile.TemporaryDirectory() as directory,
        Server(f"{directory}/s") as server,
    ):
        for _ in range(rounds):
            for size in sizes:
                for how in HOWS:
                    named = server.address if how == "server" else ""
                    figures = in_fresh_process(
                        "--cell", how, size, SOCKPROC_SOCKET=named
                    )
                    found.setdefault((how, size), []).append(figures)
                figures = in_fresh_process("--cell", "stall", size, SOCKPROC_SOCKET="")
                stalled.setdefault(size, []).append(figures)
    print(f"{'':12} {'memory, MiB':>12} {'first, ms':>10} {'next, ms':>10}")
    for (how, size), all_rounds in found.items():
        median = medians(all_rounds)
        print(
            f"{how:12} {size:12} {median['first'] * 1e3:10.2f} {median['next'] * 1e3:10.2f}"
        )
    for size, all_rounds in stalled.items():
        median = medians(all_rounds)
        print(
            f"{'loop stall':12} {size:12} {median['stall'] * 1e3:10.2f} {median['next_stall'] * 1e3:10.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--smoke", action="store_true")
    parser.add_argument("--cell", nargs=2)
    options = parser.parse_args()
    if options.cell:
        how, size = options.cell
        figures = stall_cell(int(size)) if how == "stall" else cell(how, int(size))
        print(json.dumps(figures))
    elif options.smoke:
        compare(1, [1])
    else:
        compare(options.rounds, [1, 2048])


if __name__ == "__main__":
    main()
