"""A process that dies takes all of its runs along, with everything that they have started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import sockproc
from sockproc import Server
from support import is_alive, wait_until

# Of each of the three ways to start a run.
EACH = 17
LEVELS = 5
GRACE = 1.0

# Each level starts the next one, and stays. Those with an even number ignore SIGTERM.
LEVEL = """#!/bin/sh
case $1 in
    1) ;;
    *) "$0" $(($1 - 1)) & ;;
esac
case $1 in 2|4) trap '' TERM ;; esac
exec sleep 600
"""

OWNER = """
import asyncio, os, sys, threading
from sockproc import Process, aio, run
command, grace, number = [sys.argv[1], sys.argv[2]], float(sys.argv[3]), int(sys.argv[4])

async def main():
    held = [await aio.Process(command, grace=grace) for _ in range(number)]
    await asyncio.sleep(600)

def wait():
    run(command, grace=grace, env=os.environ)

held = [Process(command, grace=grace) for _ in range(number)]
threads = [threading.Thread(target=wait) for _ in range(number)]
for thread in threads:
    thread.start()
asyncio.run(main())
"""


def marked(mark: str) -> list[int]:
    """The processes that live and have this in their environment."""
    found: list[int] = []
    for process in filter(str.isdigit, os.listdir("/proc")):
        try:
            environment = Path(f"/proc/{process}/environ").read_bytes()
        except OSError:
            continue
        if mark.encode() in environment and is_alive(int(process)):
            found.append(int(process))
    return found


def test_kill_9_ends_51_runs_with_5_levels_of_children_each(tmp_path: Path) -> None:
    level = tmp_path / "level"
    level.write_text(LEVEL)
    level.chmod(0o755)
    mark = uuid.uuid4().hex
    arguments = [str(level), str(LEVELS), str(GRACE), str(EACH)]
    with Server(tmp_path / "s") as server:
        with sockproc.Process([level, "3"], server=server) as neighbour:
            environment = {**os.environ, "SOCKPROC_SOCKET": server.address}
            with subprocess.Popen(
                [sys.executable, "-c", OWNER, *arguments],
                env={**environment, "MARK": mark},
            ) as owner:
                try:
                    wait_until(
                        lambda: len(marked(mark)) >= 3 * EACH * LEVELS,
                        "start of all processes",
                    )
                finally:
                    owner.send_signal(signal.SIGKILL)
                    killed = time.monotonic()
            wait_until(lambda: not marked(mark), "end of all processes")
            assert time.monotonic() - killed < GRACE + 1
            assert neighbour.poll() is None
