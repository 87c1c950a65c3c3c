"""The pytest plugin: what is found where sockproc is installed, by pytest of its own."""

from __future__ import annotations

import pytest

pytest_plugins = ["pytester"]

PASSING = """
import os
import pytest
from sockproc import Refused, run
from sockproc.testing import Request, reply

def test_of_a_fake(fake_sockproc):
    fake_sockproc.answer("git status", reply("clean", returncode=1))
    done = run("git status", text=True)
    assert (done.stdout, done.returncode) == ("clean", 1)
    assert fake_sockproc.requests == [Request("git status")]

def test_of_a_server(sockproc_server, tmp_path):
    assert run("echo hi; echo $PPID").stdout == b"hi\\n%d\\n" % sockproc_server.pid
    assert run("true", server=sockproc_server).ok

def test_without():
    assert "SOCKPROC_SOCKET" not in os.environ
"""


def test_the_fixtures_are_there_without_an_import(
    pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SOCKPROC_SOCKET")
    pytester.makepyfile(PASSING)
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=3)


def test_an_unlisted_command_is_an_error_where_the_test_hides_it(
    pytester: pytest.Pytester,
) -> None:
    pytester.makepyfile(
        """
from sockproc import Refused, run

def test_hides_it(fake_sockproc):
    try:
        run("git push")
    except Refused:
        pass
"""
    )
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider")
    result.assert_outcomes(passed=1, errors=1)
    result.stdout.fnmatch_lines(
        ["*UnlistedCommand: no answer to 'git push' is listed; listed is nothing"]
    )
