#!/usr/bin/env python3
"""The cost of a call without its command: our client and a server that answers at once.

    python tests/bench/python_calls.py [--rounds N] [--smoke]

Prints calls a second and processor time of this process a call, for `run` and for 32
calls in flight on asyncio, uvloop and trio, each beside a minimal client
written by hand (`socket`, `asyncio.open_unix_connection`, `trio.open_unix_socket`), which parses the
reply and checks nothing; measured in turns in one run. Then the cost of receiving
64 MB. Needs sockproc, uvloop and trio installed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Generator
from contextlib import contextmanager

import trio
from python_support import (
    CONCURRENCY,
    LOOPS,
    Call,
    Figures,
    Meter,
    cpu,
    in_fresh_process,
    medians,
    throughput,
)

from sockproc import Server, aio, run

CALLS = 4000
REQUEST = b"true\r\n0\r\n"


async def ours() -> None:
    await aio.run("true")


def parse(reply: bytes) -> tuple[int, bytes, bytes]:
    """Status and output of a reply, if that is one."""
    status, length, rest = reply.split(b"\r\n", 2)
    size = int(length)
    return int(status[7:]), rest[:size], rest[size:].partition(b"\r\n")[2]


def by_hand() -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(os.environ["SOCKPROC_SOCKET"])
        connection.sendall(REQUEST)
        parse(b"".join(iter(lambda: connection.recv(65536), b"")))


async def by_hand_on_asyncio() -> None:
    reader, writer = await asyncio.open_unix_connection(os.environ["SOCKPROC_SOCKET"])
    writer.write(REQUEST)
    parse(await reader.read())
    writer.close()


async def by_hand_on_trio() -> None:
    async with await trio.open_unix_socket(os.environ["SOCKPROC_SOCKET"]) as stream:
        await stream.send_all(REQUEST)
        parse(b"".join([chunk async for chunk in stream]))


async def throughput_on_trio(call: Call) -> Figures:
    left = iter(range(CALLS))

    async def worker() -> None:
        for _ in left:
            await call()

    meter = Meter()
    async with trio.open_nursery() as nursery:
        for _ in range(CONCURRENCY):
            nursery.start_soon(worker)
    return meter.figures(CALLS)


def cell(how: str, who: str) -> Figures:
    """One way to call, ours or by hand."""
    is_ours = who == "ours"
    if how == "trio":
        return trio.run(throughput_on_trio, ours if is_ours else by_hand_on_trio)
    if how != "run":
        call = ours if is_ours else by_hand_on_asyncio
        figures: Figures = LOOPS[how](throughput(call, CALLS))
        return figures
    meter = Meter()
    for _ in range(CALLS):
        run("true") if is_ours else by_hand()
    return meter.figures(CALLS)


def stub(listener: socket.socket) -> None:
    """Answers every request at once, until it is killed."""
    while True:
        connection, _ = listener.accept()
        connection.recv(65536)
        connection.send(b"status:0\r\n3\r\nhi\n0\r\n")
        connection.close()


@contextmanager
def answering() -> Generator[str]:
    """The address of a server that answers at once."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/s"
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(path)
            listener.listen(4096)
            pid = os.fork()
            if pid == 0:
                stub(listener)
        try:
            yield path
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)


def compare(rounds: int) -> None:
    found: dict[tuple[str, str], list[Figures]] = {}
    with answering() as path:
        for _ in range(rounds):
            for how in ["run", *LOOPS, "trio"]:
                for who in ["ours", "by hand"]:
                    figures = in_fresh_process("--cell", how, who, SOCKPROC_SOCKET=path)
                    found.setdefault((how, who), []).append(figures)
    print(f"{'':8} {'in flight':>9}  {'':8} {'calls/s':>8} {'µs CPU/call':>12}")
    for (how, who), each in found.items():
        figures = medians(each)
        flight = 1 if how == "run" else CONCURRENCY
        rate, used = figures["rate"], figures["cpu"]
        print(f"{how:8} {flight:9}  {who:8} {rate:8.0f} {used * 1e6:12.0f}")
        if who == "by hand":
            ours = medians(found[how, "ours"])
            print(
                f"{'':20}ours ÷ by hand: {ours['rate'] / rate:.2f} of the calls/s, "
                f"{ours['cpu'] / used:.2f} of the CPU"
            )


def body_cost() -> None:
    """The cost of receiving 64 MB."""
    with tempfile.TemporaryDirectory() as directory, Server(f"{directory}/s") as server:
        found = in_fresh_process("--body", SOCKPROC_SOCKET=server.address)
    print(
        f"64 MB of output: {found['cpu'] * 1e3:.0f} ms CPU, "
        f"{found['peak'] / 1024:.0f} MB at the peak"
    )


def body_cell() -> Figures:
    run("true")
    used = cpu()
    assert len(run("head -c 67108864 /dev/zero").stdout) == 67108864
    used = cpu() - used
    with open("/proc/self/status", encoding="ascii") as file:
        peak = int(file.read().partition("VmHWM:")[2].split()[0])
    return {"cpu": used, "peak": peak}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--smoke", action="store_true", help="one round")
    parser.add_argument("--cell", nargs=2, help=argparse.SUPPRESS)
    parser.add_argument("--body", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.cell:
        print(json.dumps(cell(*options.cell)))
    elif options.body:
        print(json.dumps(body_cell()))
    else:
        compare(1 if options.smoke else options.rounds)
        body_cost()
    return 0


if __name__ == "__main__":
    sys.exit(main())
