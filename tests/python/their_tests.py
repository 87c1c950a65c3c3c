"""Runs one of CPython's own test cases with our classes in place of its own.

    python their_tests.py subprocess CASE NAMES
    python their_tests.py asyncio LOOP NAMES

NAMES is a JSON list of the tests to leave out; those that this version lacks do not matter. Prints
as JSON which tests passed, which were left out, which skipped themselves and why, and what went wrong.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
import unittest
from importlib import import_module
from typing import Any


class Result(unittest.TestResult):
    """What became of each test, by its name."""

    def __init__(self) -> None:
        super().__init__()
        self.passed: list[str] = []
        self.skips: dict[str, str] = {}
        self.wrong: list[str] = []

    def addSuccess(self, test: unittest.TestCase) -> None:
        self.passed.append(name_of(test))

    def addSkip(self, test: unittest.TestCase, reason: str) -> None:
        self.skips[name_of(test)] = reason

    def addFailure(self, test: unittest.TestCase, err: Any) -> None:
        self.wrong.append(f"{test}: {self._exc_info_to_string(err, test)}")  # type: ignore[attr-defined] # pyright: ignore

    addError = addFailure

    def addSubTest(
        self, test: unittest.TestCase, subtest: unittest.TestCase, err: Any
    ) -> None:
        if err is not None:
            self.addFailure(subtest, err)


def name_of(test: unittest.TestCase) -> str:
    return test.id().rpartition(".")[2]


def case_of_subprocess(name: str) -> type[unittest.TestCase]:
    from sockproc import subprocess

    sys.modules["subprocess"] = subprocess
    case: type[unittest.TestCase] = getattr(import_module("test.test_subprocess"), name)
    return case


def case_of_asyncio(loop: str) -> type[unittest.TestCase]:
    from sockproc import aio

    for name in ("create_subprocess_exec", "create_subprocess_shell"):
        setattr(asyncio, name, getattr(aio, name))
        setattr(asyncio.subprocess, name, getattr(aio, name))
    mixin: Any = import_module("test.test_asyncio.test_subprocess").SubprocessMixin
    loops = import_module(loop)

    class Case(mixin, unittest.TestCase):  # type: ignore[misc]
        def setUp(self) -> None:
            self.loop = loops.new_event_loop()
            asyncio.set_event_loop(self.loop)
            self.addCleanup(self.loop.close)

        def set_event_loop(self, loop: object) -> None:
            pass

    return Case


def main() -> None:
    kind, name, names = sys.argv[1:]
    # One of the tests looks for a leak by reaching this limit.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (1024, hard))
    case = (case_of_asyncio if kind == "asyncio" else case_of_subprocess)(name)
    left_out = [each for each in json.loads(names) if hasattr(case, each)]
    suite = unittest.TestSuite(
        case(each)
        for each in unittest.defaultTestLoader.getTestCaseNames(case)
        if each not in left_out
    )
    result = Result()
    suite.run(result)
    print(json.dumps([result.passed, left_out, result.skips, result.wrong]))


if __name__ == "__main__":
    main()
