"""`aio`: a command that is cancelled anywhere leaves nothing, neither here nor at the server."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import sockproc
from sockproc import Server
from support import children, wait_until

COUNT = int(os.environ.get("SOCKPROC_TEST_CANCELLATIONS", "1000"))
PROGRAM = Path(__file__).parent / "cancelling.py"


@pytest.mark.parametrize("loop", ["asyncio", "uvloop", "trio"])
def test_cancelling_at_any_await_leaves_nothing_behind(
    loop: str, tmp_path: Path
) -> None:
    seed = random.randrange(2**32)
    print("seed", seed)
    with Server(tmp_path / "s") as server:
        sockproc.run("true", server=server)
        wait_until(lambda: not children(server.pid), "end of the first run")
        before = descriptors(server.pid)
        arguments = [loop, server.address, str(COUNT), str(seed)]
        done = subprocess.run(
            [sys.executable, PROGRAM, *arguments],
            capture_output=True,
            text=True,
            timeout=100,
        )
        assert (done.returncode, done.stderr) == (0, "")
        cancelled, places, wrong = json.loads(done.stdout)
        assert wrong == []
        assert cancelled >= COUNT
        # The scenarios wait in at least as many places.
        assert places >= 20
        wait_until(lambda: not children(server.pid), "end of all runs")
        wait_until(lambda: descriptors(server.pid) <= before, "end of all connections")


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
