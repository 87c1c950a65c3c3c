#!/usr/bin/env python3
"""What running a command costs its caller: ours beside `asyncio.create_subprocess_shell`.

    python tests/bench/python_client.py [--rounds N] [--skip-heap] [--smoke]

Prints, measured in turns in one run, for asyncio and uvloop, in a small process and in
one with 2 GB of memory: commands a second, processor time of this process a command, and
the largest stall of the event loop while 200 commands run at once: by the clock, and
without the time for which the machine was busy with others. Then what a call costs
against a server that answers at once. Exits with 1 if our own stall is not less than a
twentieth of theirs; `--smoke` only shows that all of this works. Needs sockproc, uvloop and trio installed, and 3 GB of free memory.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import resource
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

import uvloop

from sockproc import Server, aio, run

AT_ONCE = 200
CONCURRENCY = 32
COMMANDS = 200
STUB_CALLS = 4000
HEAP = 2 << 30
LOOPS: dict[str, Callable[[Any], Any]] = {"asyncio": asyncio.run, "uvloop": uvloop.run}

Call = Callable[[], Awaitable[object]]


async def ours() -> None:
    await aio.run("true", check=True)


async def theirs() -> None:
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_shell(
        "true", stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe
    )
    await process.communicate()


def cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


async def throughput(call: Call, count: int) -> dict[str, float]:
    """Calls `call` `count` times, `CONCURRENCY` at a time."""
    left = iter(range(count))

    async def worker() -> None:
        for _ in left:
            await call()

    wall, used = time.perf_counter(), cpu()
    await asyncio.gather(*[worker() for _ in range(CONCURRENCY)])
    wall, used = time.perf_counter() - wall, cpu() - used
    return {"rate": count / wall, "cpu": used / count}


async def stall(call: Call) -> dict[str, float]:
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
    found: dict[str, list[dict[str, float]]] = {"ours": [], "theirs": []}
    for _ in range(rounds):
        for name, call in [("ours", ours), ("theirs", theirs)]:
            figures = LOOPS[loop](throughput(call, COMMANDS))
            figures |= LOOPS[loop](stall(call))
            found[name].append(figures)
    assert len(ballast) == heap
    print(json.dumps({name: medians(list_) for name, list_ in found.items()}))


def medians(rounds: list[dict[str, float]]) -> dict[str, float]:
    return {key: statistics.median(each[key] for each in rounds) for key in rounds[0]}


def in_fresh_process(*args: object, **env: str) -> Any:
    command = [sys.executable, __file__, *map(str, args)]
    output = subprocess.run(
        command, env={**os.environ, **env}, stdout=subprocess.PIPE, check=True
    )
    return json.loads(output.stdout)


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
                kept = kept and own > 20
                print(
                    f"{'':18}our stall is 1/{clock:.0f} of theirs, our own 1/{own:.0f}"
                )
                sys.stdout.flush()
    return kept


def stub(listener: socket.socket) -> None:
    """Answers every request at once, until it is killed."""
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.send(b"status:0\r\n3\r\nhi\n0\r\n")
        connection.close()


def stub_cell(how: str) -> None:
    """What a call costs when the server answers at once."""
    if how == "run":
        wall, used = time.perf_counter(), cpu()
        for _ in range(STUB_CALLS):
            run("true")
        wall, used = time.perf_counter() - wall, cpu() - used
        print(json.dumps({"rate": STUB_CALLS / wall, "cpu": used / STUB_CALLS}))
        return
    if how == "trio":
        import trio

        print(json.dumps(trio.run(trio_throughput)))
        return
    print(json.dumps(LOOPS[how](throughput(ours, STUB_CALLS))))


async def trio_throughput() -> dict[str, float]:
    import trio

    left = iter(range(STUB_CALLS))

    async def worker() -> None:
        for _ in left:
            await ours()

    wall, used = time.perf_counter(), cpu()
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(worker)
    wall, used = time.perf_counter() - wall, cpu() - used
    return {"rate": STUB_CALLS / wall, "cpu": used / STUB_CALLS}


def against_a_stub(rounds: int) -> None:
    print("\nagainst a server that answers at once:")
    with tempfile.TemporaryDirectory() as directory:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{directory}/s")
            listener.listen(4096)
            pid = os.fork()
            if pid == 0:
                stub(listener)
        try:
            found: dict[str, list[dict[str, float]]] = {}
            for _ in range(rounds):
                for how in ["run", "asyncio", "uvloop", "trio"]:
                    figures = in_fresh_process(
                        "--stub", how, SOCKPROC_SOCKET=f"{directory}/s"
                    )
                    found.setdefault(how, []).append(figures)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    for how, each in found.items():
        figures = medians(each)
        calls = "1 call" if how == "run" else f"{CONCURRENCY} calls"
        print(
            f"{how:8} {calls:>8} at once: {figures['rate']:6.0f} calls/s, "
            f"{figures['cpu'] * 1e6:4.0f} µs CPU a call"
        )


def body_cost() -> None:
    """What it takes to receive 64 MB."""
    with tempfile.TemporaryDirectory() as directory, Server(f"{directory}/s") as server:
        found = in_fresh_process("--body", SOCKPROC_SOCKET=server.address)
    print(
        f"64 MB of output: {found['cpu'] * 1e3:.0f} ms CPU, "
        f"{found['peak'] / 1024:.0f} MB at the peak"
    )


def body_cell() -> None:
    run("true")
    used = cpu()
    assert len(run("head -c 67108864 /dev/zero").stdout) == 67108864
    used = cpu() - used
    with open("/proc/self/status", encoding="ascii") as file:
        peak = int(file.read().partition("VmHWM:")[2].split()[0])
    print(json.dumps({"cpu": used, "peak": peak}))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--skip-heap", action="store_true", help="no 2 GB process")
    parser.add_argument("--smoke", action="store_true", help="one small round")
    parser.add_argument("--cell", nargs=3, help=argparse.SUPPRESS)
    parser.add_argument("--stub", help=argparse.SUPPRESS)
    parser.add_argument("--body", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        loop, heap, rounds = options.cell
        cell(loop, int(heap), int(rounds))
    elif options.stub:
        stub_cell(options.stub)
    elif options.body:
        body_cell()
    else:
        rounds = 1 if options.smoke else options.rounds
        kept = compare(rounds, [0] if options.skip_heap or options.smoke else [0, HEAP])
        against_a_stub(rounds)
        body_cost()
        return 0 if kept or options.smoke else 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
