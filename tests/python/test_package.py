"""The contents of the package, and the cost of importing it."""

from __future__ import annotations

import importlib.metadata
import inspect
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import aio
from support import python


def test_importing_loads_nothing_that_takes_long() -> None:
    printed = python("""
import sys
before = set(sys.modules)
import sockproc
slow = {"asyncio", "collections", "contextlib", "dataclasses", "enum", "functools", "inspect"}
slow |= {"re", "select", "signal", "socket", "subprocess", "tempfile", "threading", "trio", "typing"}
print(sorted(slow & (set(sys.modules) - before)))
assert sockproc.run and sockproc.Client and "asyncio" not in sys.modules
sockproc.aio.run, sockproc.TimeoutExpired, sockproc.Server, sockproc.serve
assert "asyncio" not in sys.modules
""")
    assert printed == "[]\n"


def test_all_names_are_there_and_no_other() -> None:
    for name in sockproc.__all__:
        assert getattr(sockproc, name) is not None
    assert sorted(sockproc.__all__) == sockproc.__all__
    with pytest.raises(AttributeError, match="'nothing'"):
        getattr(sockproc, "nothing")  # noqa: B009


def test_licence_readme_types_and_stub_are_in_the_wheel() -> None:
    files = importlib.metadata.files("sockproc")
    assert files
    names = {file.name for file in files}
    assert {"LICENSE", "py.typed", "_native.pyi"} <= names
    licence = next(file for file in files if file.name == "LICENSE").read_text()
    assert "MIT" in licence or "Permission is hereby granted" in licence
    repository = Path(__file__).parent.parent.parent
    metadata = next(file for file in files if file.name == "METADATA").read_text()
    description = metadata.partition("\n\n")[2]
    assert description.strip() == (repository / "README.md").read_text().strip()


def test_run_is_the_same_with_and_without_a_loop() -> None:
    ours = inspect.signature(sockproc.run)
    theirs = inspect.signature(aio.run)
    assert list(ours.parameters) == list(theirs.parameters)
    assert [p.default for p in ours.parameters.values()] == [
        p.default for p in theirs.parameters.values()
    ]
    of_client = ("server", "protocol")
    names = ["self", *(name for name in ours.parameters if name not in of_client)]
    runs: list[Any] = [sockproc.Client.run, aio.Client.run]
    for run in runs:
        assert list(inspect.signature(run).parameters) == names


def test_every_public_function_says_what_it_raises() -> None:
    for function in [sockproc.run, sockproc.serve]:
        assert function.__doc__ and "Raises:" in function.__doc__
