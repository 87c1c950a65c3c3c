"""The yardstick: CPython's own tests of `subprocess.run`, run against `sockproc.run`.

They come from the interpreter's own `test` package and are not copied here.
"""

from __future__ import annotations

import os
import subprocess
import sys
import unittest
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

import sockproc

theirs = import_module("test.test_subprocess")

# The classic protocol cannot do this: the output comes after the command has ended, so a
# timeout has no output.
IMPOSSIBLE = {"test_check_output_timeout"}

NAMES = [
    name
    for name in unittest.defaultTestLoader.getTestCaseNames(theirs.RunFuncTestCase)
    if name not in IMPOSSIBLE
    # Tests of other systems are left out.
    and not getattr(getattr(theirs.RunFuncTestCase, name), "__unittest_skip__", False)
]


class AsTheirs(subprocess.CompletedProcess[Any]):
    """Our result under the names that their tests use."""

    def __init__(self, done: sockproc.Completed[Any]) -> None:
        super().__init__(done.cmd, done.returncode, done.stdout, done.stderr)
        self.check_returncode = done.check  # type: ignore[method-assign, assignment] # pyright: ignore


def run(
    args: Any,
    *,
    input: Any = None,
    stdin: Any = None,
    shell: bool = False,
    env: dict[str, str] | None = None,
    capture_output: bool = False,
    stdout: Any = None,
    stderr: Any = None,
    **options: Any,
) -> AsTheirs:
    """`sockproc.run` with the arguments of `subprocess.run`."""
    if input is not None and stdin is not None:
        raise ValueError("stdin and input arguments may not both be used.")
    for name, value in [("stdout", stdout), ("stderr", stderr)]:
        if capture_output and value is not None:
            raise ValueError(f"{name} arguments may not be used with capture_output.")
    if stdout == subprocess.STDOUT:
        raise ValueError("STDOUT can only be used for stderr")
    if shell and isinstance(args, os.PathLike):
        raise TypeError("a path is no line for the shell")
    if isinstance(args, str) and not shell:
        args = [args]
    if env is not None:
        args = ["env", "-i", *(f"{name}={value}" for name, value in env.items()), *args]
    ours: Any = sockproc.run
    return AsTheirs(ours(args, input if stdin is None else stdin, **options))


@contextmanager
def our_run() -> Generator[None]:
    with mock.patch.object(subprocess, "run", run):
        yield


@pytest.mark.parametrize("name", NAMES)
def test_their_test_passes(name: str) -> None:
    case = theirs.RunFuncTestCase(name)
    result = unittest.TestResult()
    with our_run():
        case.run(result)
    assert result.testsRun == 1 and not result.skipped, result.skipped
    assert not result.errors and not result.failures, (result.errors, result.failures)


def test_the_default_encoding_is_warned_of_at_the_callers_line(tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        """
import asyncio
from sockproc import Client, aio, run
run("true", text=True)
Client().run("true", text=True)
async def main():
    await aio.run("true", text=True)
    await aio.Client().run("true", text=True)
asyncio.run(main())
run("true", encoding="utf-8")
"""
    )
    done = subprocess.run(
        [sys.executable, "-X", "warn_default_encoding", program],
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    warned = [line for line in done.stderr.splitlines() if "EncodingWarning" in line]
    lines = [line.split(":")[1] for line in warned if "program.py" in line]
    assert lines == ["4", "5", "7", "8"]
