#!/usr/bin/env python3
"""The cost of a command for its caller: ours beside `asyncio.create_subprocess_shell`.

    python tests/bench/python_client.py [--rounds N] [--skip-heap] [--smoke]

Prints, measured in turns in one run, for asyncio and uvloop, in a small process and in
one with 2 GB of memory: commands a second, processor time of this process a command, and
the largest stall of the event loop while 200 commands run at once: by the clock, and
without the time for which the machine was busy with others. Exits with 1 if our stall by
the clock is not less than a twentieth of theirs; `--smoke` only shows that all of this
works. Needs sockproc and uvloop installed, and 3 GB of free memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import tempfile
import time

from python_support import LOOPS, Call, Figures, in_fresh_process, medians, throughput

from sockproc import Server, aio

AT_ONCE = 200
CROWDS = 3
COMMANDS = 200
HEAP = 2 << 30


async def ours() -> None:
    await aio.run("true", check=True)


async def theirs() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(
        "true", stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    await process.communicate()


async def stall(call: Call) -> Figures:
    """The longest times that the loop kept a timer of 1 ms waiting, in seconds.

    `stall` is what the clock says. `own` leaves out the time for which this thread was
    ready to run and other processes had the processor: on a busy machine it says more
    about the calls.
    """
    longest = own = 0.0

    async def tick() -> None:
        nonlocal longest, own
        while True:
            before, waited = time.perf_counter(), queued()
            await asyncio.sleep(0.001)
            gap = time.perf_counter() - before - 0.001
            longest = max(longest, gap)
            own = max(own, gap - (queued() - waited))

    ticking = asyncio.create_task(tick())
    await asyncio.sleep(0.01)
    await asyncio.gather(*[call() for _ in range(AT_ONCE)])
    ticking.cancel()
    return {"stall": longest, "own": own}


def queued() -> float:
    """Seconds for which this thread was ready to run, and did not."""
    with open("/proc/thread-self/schedstat", encoding="ascii") as file:
        return int(file.read().split()[1]) / 1e9


def cell(loop: str, heap: int, rounds: int) -> None:
    """One loop, one heap: measures both in turns and prints the medians as JSON."""
    ballast = b"\1" * heap
    found: dict[str, list[Figures]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for name, call in [("ours", ours), ("theirs", theirs)]:
            figures = LOOPS[loop](throughput(call, COMMANDS))
            stalls = [LOOPS[loop](stall(call)) for _ in range(CROWDS)]
            found[name].append(figures | medians(stalls))
    assert len(ballast) == heap
    print(json.dumps({name: medians(list_) for name, list_ in found.items()}))


def compare(rounds: int, heaps: list[int]) -> bool:
    """Prints the table of ours and theirs; whether the promise about stalls is kept."""
    print(
        f"{'loop':8} {'memory':>7}  {'':7}{'runs/s':>8} {'µs CPU/run':>11} {'stall ms':>9} {'own ms':>7}"
    )
    kept = True
    with tempfile.TemporaryDirectory() as directory, Server(f"{directory}/s") as server:
        for heap in heaps:
            for loop in LOOPS:
                found = in_fresh_process(
                    "--cell", loop, heap, rounds, SOCKPROC_SOCKET=server.address
                )
                size = f"{heap >> 30} GB" if heap else "small"
                for name, figures in found.items():
                    print(
                        f"{loop:8} {size:>7}  {name:7}{figures['rate']:8.0f} "
                        f"{figures['cpu'] * 1e6:11.0f} {figures['stall'] * 1e3:9.2f} "
                        f"{figures['own'] * 1e3:7.2f}"
                    )
                clock, own = (
                    found["theirs"][k] / found["ours"][k] for k in ["stall", "own"]
                )
                kept = kept and clock > 20
                print(
                    f"{'':18}our stall is 1/{clock:.0f} of theirs, our own 1/{own:.0f}"
                )
                sys.stdout.flush()
    return kept


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-heap", action="store_true", help="no 2 GB process")
    parser.add_argument("--smoke", action="store_true", help="one small round")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        loop, heap, rounds = options.cell
        cell(loop, int(heap), int(rounds))
        return 0
    rounds = 1 if options.smoke else options.rounds
    kept = compare(rounds, [0] if options.skip_heap or options.smoke else [0, HEAP])
    return 0 if kept or options.smoke else 1


if __name__ == "__main__":
    sys.exit(main())
