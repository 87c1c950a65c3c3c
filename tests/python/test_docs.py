"""The examples in the docstrings."""

from __future__ import annotations

import doctest
from importlib import import_module
from pathlib import Path

import pytest

import sockproc
from sockproc import testing

MODULES = [
    "",
    ".aio",
    ".client",
    ".testing",
    "._aio_process",
    "._completed",
    "._create_subprocess",
    "._errors",
    "._process",
    "._run_errors",
    "._server",
]


@pytest.mark.parametrize("name", MODULES)
def test_the_examples_of_a_module_are_true(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    module = import_module(f"sockproc{name}")
    public = {name: getattr(sockproc, name) for name in sockproc.__all__}
    names = {**public, **vars(module)}
    runner = doctest.DocTestRunner()
    for test in doctest.DocTestFinder().find(module, globs=names):
        runner.run(test)
    assert runner.summarize(verbose=False).failed == 0


@pytest.mark.parametrize("name", sockproc.__all__)
def test_what_is_public_has_a_docstring(name: str) -> None:
    assert getattr(sockproc, name).__doc__


@pytest.mark.parametrize("name", testing.__all__)
def test_what_is_public_in_testing_has_a_docstring(name: str) -> None:
    # An alias has that of its kind; its own is a comment to readers.
    assert getattr(testing, name).__doc__


@pytest.mark.parametrize("name", ["run", "Client", "Completed", "Server", "aio"])
def test_what_is_public_has_an_example(name: str) -> None:
    value = getattr(sockproc, name)
    assert ">>> " in (value.run if name == "aio" else value).__doc__
