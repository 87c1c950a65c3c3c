"""Processes that own a private helper, for the tests of it."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Generator
from contextlib import contextmanager
from textwrap import dedent


from support import DEADLINE

ON_LOOPS = {
    "asyncio": "import asyncio; on_loop = asyncio.run",
    "uvloop": "import uvloop; on_loop = uvloop.run",
    "trio": "import trio; on_loop = lambda coroutine: trio.run(lambda: coroutine)",
}


def environment(**variables: str) -> dict[str, str]:
    kept = os.environ.items()
    kept_here = {key: value for key, value in kept if not key.startswith("SOCKPROC_")}
    return kept_here | variables


def command(code: str) -> list[str]:
    return [sys.executable, "-c", dedent(code)]


def said_by(code: str, **variables: str) -> list[str]:
    """The words that this program prints."""
    return subprocess.run(
        command(code),
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=DEADLINE,
        check=True,
        text=True,
    ).stdout.split()


@contextmanager
def owner(code: str, own_session: bool = False) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(code),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def words(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    return process.stdout.readline().split()
