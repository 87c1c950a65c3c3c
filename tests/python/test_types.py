"""Types, signatures, and arguments that are not taken."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import Completed, aio, run
from support import python


def public_callables() -> list[Callable[..., Any]]:
    found: list[Callable[..., Any]] = []
    for module in (sockproc, aio):
        for name in dir(module):
            value = getattr(module, name)
            if name.startswith("_") or getattr(value, "__module__", "") not in (
                "sockproc",
                "sockproc.aio",
                "sockproc.client",
                "sockproc._completed",
                "sockproc._run_errors",
                "sockproc._server",
            ):
                continue
            if inspect.isclass(value):
                found += [
                    method
                    for key, method in vars(value).items()
                    if inspect.isfunction(method)
                    and (key == "__init__" or not key.startswith("_"))
                ]
            elif inspect.isfunction(value):
                found.append(value)
    return found


def test_hints_and_signatures_can_be_evaluated() -> None:
    found = public_callables()
    names = {one.__qualname__ for one in found}
    assert {"run", "serve", "Client.run", "Server.__init__", "Completed.check"} <= names
    for one in found:
        assert typing.get_type_hints(one), one
        inspect.signature(one, eval_str=True)
    assert typing.get_type_hints(run)["cmd"] == sockproc.Command
    assert typing.get_type_hints(run)["stdin"] == sockproc.Stdin
    assert typing.get_type_hints(aio.run)["stdin"] == sockproc.AsyncStdin


def test_public_types_need_nothing_but_the_standard_library() -> None:
    code = """
import sys
sys.modules["typing_extensions"] = None
import sockproc
print(sockproc.Command is not None, sockproc.Address is not None, sockproc.Stdin is not None)
"""
    assert python(code) == "True True True\n"


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("shell", "a str is a line for the shell"),
        ("executable", "the first word of cmd"),
        ("capture_output", "output is always captured"),
        ("stdout", "always captured"),
        ("universal_newlines", "it is called text"),
        ("bufsize", "does not take 'bufsize'"),
    ],
)
def test_what_subprocess_takes_and_we_do_not_is_told(name: str, instead: str) -> None:
    loose: Any = run
    with pytest.raises(TypeError, match=instead):
        loose("true", **{name: None})


def test_a_completed_can_be_hashed_whatever_its_command_is() -> None:
    one, same = (Completed(["a", "b"], 0, b"", b"") for _ in range(2))
    assert one == same and hash(one) == hash(same)
    assert len({one, same, Completed(["a"], 0, b"", b"")}) == 2


def test_a_server_starts_wherever_the_package_was_imported_from(tmp_path: Path) -> None:
    package = Path(sockproc.__file__).parent
    shutil.copytree(package, tmp_path / "else where" / "sockproc")
    # Modules of these names would end the server, if it imported them.
    for name in ("signal.py", "importlib.py"):
        (tmp_path / "else where" / name).write_text("raise SystemExit('shadowed')")
    code = """
import signal, importlib, sys
sys.path.insert(0, sys.argv[1])
import sockproc
assert sockproc.__file__.startswith(sys.argv[1])
with sockproc.Server(sys.argv[2]) as server:
    print(sockproc.run("echo hi", server=server, text=True).stdout, end="")
"""
    done = subprocess.run(
        [
            sys.executable,
            "-S",
            "-c",
            code,
            str(tmp_path / "else where"),
            str(tmp_path / "s"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("hi\n", "")


def test_why_a_server_failed_is_in_the_exception(tmp_path: Path) -> None:
    for failing, reason in [
        (sockproc.Server("/nonexistent/s"), "cannot listen on unix:/nonexistent/s"),
        (sockproc.Server(tmp_path / "s", owner="no such user"), "there is no user"),
        (sockproc.Server(tmp_path / "s", user="no such user"), "no such user"),
    ]:
        with pytest.raises(sockproc.ServerFailed, match=reason) as failed, failing:
            pass
        assert failed.value.reason and reason in failed.value.reason
