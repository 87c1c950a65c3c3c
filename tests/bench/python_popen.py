#!/usr/bin/env python3
"""What `Popen(["true"])` costs its caller: ours, and the standard module's three ways.

    python tests/bench/python_popen.py [--heap MB] [--rounds N] [--smoke]

Each round starts one command in each way, in turn, from this process, with a heap of the given size
that has been written to: by our drop-in, by vfork (which the standard module uses by itself), and by
fork, to which it falls back for `user=` and `preexec_fn=`. Prints the medians of the wall-clock time and
of the processor time of this process, up to the return of `Popen` and up to that of `wait`, and their
ratios to ours. The child's and our server's own work are not in the processor time.

`user=` is left out where this process is not root. Ours asks a server of its own, for `user=` too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

from python_support import cpu

from sockproc import Server
from sockproc import subprocess as ours

COMMAND = ["true"]
COLUMNS = ["wall to start", "CPU to start", "wall to end", "CPU to end"]


def nothing() -> None:
    """A `preexec_fn`; that there is one makes the standard module fork."""


def ways() -> dict[str, Callable[[], Any]]:
    """Each way to start the command."""
    drop_in: Any = ours.Popen
    standard: Any = subprocess.Popen
    found: dict[str, Callable[[], Any]] = {
        "ours": lambda: drop_in(COMMAND),
        "vfork": lambda: standard(COMMAND),
        "fork, preexec_fn": lambda: standard(COMMAND, preexec_fn=nothing),
    }
    if os.getuid() == 0:
        found["ours, user"] = lambda: drop_in(COMMAND, user=0)
        found["fork, user"] = lambda: standard(COMMAND, user=0)
    return found


def measure(start: Callable[[], Any]) -> list[float]:
    """Microseconds of one command, as in `COLUMNS`."""
    wall, used = time.perf_counter(), cpu()
    process = start()
    wall_started, used_started = time.perf_counter(), cpu()
    if process.wait():
        raise SystemExit(f"{COMMAND} failed")
    figures = [wall_started - wall, used_started - used]
    figures += [time.perf_counter() - wall, cpu() - used]
    return [figure * 1e6 for figure in figures]


def heap(megabytes: int) -> bytearray:
    """Memory that was written to, so that a fork must copy its page tables."""
    memory = bytearray(megabytes << 20)
    for at in range(0, len(memory), 4096):
        memory[at] = 1
    return memory


def compare(rounds: int) -> None:
    found: dict[str, list[list[float]]] = {name: [] for name in ways()}
    for number in range(rounds + 1):
        for name, start in ways().items():
            figures = measure(start)
            # The first command of each way pays for what is set up once.
            if number:
                found[name].append(figures)
    print(f"{'µs, medians':18}" + "".join(f"{name:>15}" for name in COLUMNS))
    medians = {
        name: [statistics.median(column) for column in zip(*each)]
        for name, each in found.items()
    }
    for name, each in medians.items():
        base = medians["ours, user" if name == "fork, user" else "ours"]
        print(f"{name:18}" + "".join(f"{figure:15.0f}" for figure in each))
        if not name.startswith("ours"):
            ratios = [figure / mine for figure, mine in zip(each, base)]
            print(f"{'  ÷ ours':18}" + "".join(f"{ratio:15.2f}" for ratio in ratios))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--heap", type=int, default=2048, help="in MB")
    parser.add_argument("--rounds", type=int, default=100)
    parser.add_argument("--smoke", action="store_true", help="64 MB, three rounds")
    options = parser.parse_args()
    megabytes = 64 if options.smoke else options.heap
    memory = heap(megabytes)
    with tempfile.TemporaryDirectory() as directory, Server(f"{directory}/s") as server:
        os.environ["SOCKPROC_SOCKET"] = server.address
        print(f"a heap of {len(memory) >> 20} MB")
        compare(3 if options.smoke else options.rounds)
    return 0


if __name__ == "__main__":
    sys.exit(main())
