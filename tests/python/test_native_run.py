"""What `run` takes where the server speaks the native protocol."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import run
from support import is_alive, read_pid, wait_until


def test_a_command_runs_in_the_directory_that_is_named(
    any_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "below").mkdir()
    assert any_run(["pwd"], cwd=tmp_path, text=True).stdout == f"{tmp_path}\n"
    monkeypatch.chdir(tmp_path)
    assert any_run("pwd", cwd="below", text=True).stdout == f"{tmp_path}/below\n"
    assert any_run("pwd", cwd=os.fsencode(tmp_path)).stdout == b"%s\n" % bytes(tmp_path)


def test_a_command_has_the_environment_that_is_given_and_no_more(any_run: Any) -> None:
    given = {"A": "1 = one", "PATH": os.environ["PATH"]}
    done = any_run(["env"], env=given, text=True)
    assert dict(line.split("=", 1) for line in done.stdout.splitlines()) == given
    assert any_run(["/usr/bin/env"], env={}).stdout == b""
    assert any_run(["/usr/bin/env"], env={b"B": b"\xff"}).stdout == b"B=\xff\n"
    with pytest.raises(ValueError, match="illegal environment variable name"):
        any_run("true", env={"A=B": "1"})


def test_a_program_is_looked_up_in_the_path_that_it_gets(
    any_run: Any, tmp_path: Path
) -> None:
    program = tmp_path / "only-here"
    program.write_text("#!/bin/sh\necho found\n")
    program.chmod(0o755)
    assert any_run(["only-here"], env={"PATH": str(tmp_path)}).stdout == b"found\n"


@pytest.mark.parametrize("words", [1, 40], ids=["one word", "all together"])
def test_more_words_than_the_kernel_takes_are_its_error(
    any_run: Any, words: int
) -> None:
    with pytest.raises(sockproc.Refused) as refused:
        any_run(["echo", *["x" * 140_000] * words])
    assert isinstance(refused.value, OSError)
    assert (refused.value.errno, refused.value.filename) == (errno.E2BIG, "echo")
    assert not refused.value.may_have_run


def test_input_is_another_name_of_stdin(any_run: Any) -> None:
    assert any_run("cat", input=b"abc").stdout == b"abc"
    assert any_run("cat", input="é", text=True, encoding="utf-8").stdout == "é"
    with pytest.raises(ValueError, match="may not both be used"):
        any_run("cat", b"abc", input=b"abc")


def test_merge_puts_stderr_into_stdout_in_the_order_of_the_writes(any_run: Any) -> None:
    done = any_run("echo 1; echo 2 >&2; echo 3", merge=True)
    assert (done.stdout, done.stderr) == (b"1\n2\n3\n", b"")


def test_a_timeout_has_what_had_come_and_ends_the_tree(
    any_run: Any, tmp_path: Path
) -> None:
    command = f"sleep 60 & echo $! >{tmp_path}/pid; echo half; echo err >&2; wait"
    with pytest.raises(sockproc.TimeoutExpired) as expired:
        any_run(command, timeout=1)
    assert (expired.value.stdout, expired.value.stderr) == (b"half\n", b"err\n")
    pid = read_pid(tmp_path / "pid")
    wait_until(lambda: not is_alive(pid), f"end of process {pid}")


def test_a_command_that_is_silent_for_too_long_is_ended(any_run: Any) -> None:
    with pytest.raises(sockproc.TimeoutExpired) as expired:
        any_run("echo half; sleep 60", idle_timeout=0.3, timeout=60)
    assert (expired.value.timeout, expired.value.stdout) == (0.3, b"half\n")
    # Silent for less than that each time.
    busy = "for i in 1 2 3 4; do echo $i; sleep 0.2; done"
    assert any_run(busy, idle_timeout=60).stdout == b"1\n2\n3\n4\n"


def test_grace_is_the_time_between_sigterm_and_sigkill(tmp_path: Path) -> None:
    command = f"trap '' TERM; echo $$ >{tmp_path}/pid; sleep 60 & wait; sleep 60"
    with pytest.raises(sockproc.TimeoutExpired):
        run(command, timeout=0.5, grace=0.2)
    pid = read_pid(tmp_path / "pid")
    began = time.monotonic()
    wait_until(lambda: not is_alive(pid), f"end of process {pid}")
    # The server's own grace is 2 s.
    assert time.monotonic() - began < 1.5


def test_too_much_output_ends_the_command_and_the_error_has_the_beginning(
    any_run: Any,
) -> None:
    began = time.monotonic()
    with pytest.raises(sockproc.OutputTooLarge) as large:
        any_run("yes", max_output=1000)
    assert time.monotonic() - began < 30
    error = large.value
    assert (error.stdout, error.stderr) == (b"y\n" * 500, b"")
    assert (error.stream, error.max_output) == ("stdout", 1000)
    assert error.length > 1000


@pytest.mark.parametrize(
    ("cmd", "cwd", "ours", "theirs", "blamed"),
    [
        (["no-such"], None, sockproc.NotFound, FileNotFoundError, "no-such"),
        ([b"no-such"], None, sockproc.NotFound, FileNotFoundError, "no-such"),
        (["/etc/passwd"], None, sockproc.Forbidden, PermissionError, "/etc/passwd"),
        ("true", "/no-such", sockproc.NotFound, FileNotFoundError, "/no-such"),
        (["true"], "/etc/passwd", sockproc.NotADirectory, OSError, "/etc/passwd"),
    ],
)
def test_what_the_kernel_refuses_is_raised_as_subprocess_raises_it(
    any_run: Any,
    cmd: Any,
    cwd: Any,
    ours: type[sockproc.CannotStart],
    theirs: type[OSError],
    blamed: str,
) -> None:
    with pytest.raises(theirs) as refused:
        any_run(cmd, cwd=cwd)
    error: Any = refused.value
    assert isinstance(refused.value, ours)
    assert (error.filename, error.may_have_run) == (blamed, False)
    assert str(error) == f"[Errno {error.errno}] {os.strerror(error.errno)}: {blamed!r}"


@pytest.mark.parametrize(
    ("option", "field"),
    [
        ({"cwd": "/"}, "cwd"),
        ({"env": {}}, "env"),
        ({"merge": True}, "stderr"),
        ({"idle_timeout": 1}, "idle_timeout"),
        ({"grace": 1}, "grace"),
    ],
)
def test_what_classic_cannot_carry_is_named(
    any_run: Any, option: dict[str, Any], field: str
) -> None:
    with pytest.raises(sockproc.Unsupported) as unsupported:
        any_run("true", protocol="classic", **option)
    assert unsupported.value.field == field
    assert not unsupported.value.may_have_run


@pytest.mark.parametrize("name", ["timeout", "idle_timeout", "grace"])
@pytest.mark.parametrize("value", [-1, float("nan"), "1"])
def test_what_is_no_number_of_seconds_is_told(
    any_run: Any, name: str, value: Any
) -> None:
    with pytest.raises((TypeError, ValueError), match=f"{name} must be a number"):
        any_run("true", **{name: value})


def test_there_are_two_protocols_and_a_choice(any_run: Any) -> None:
    for protocol in ("auto", "classic", "native"):
        assert any_run("echo hi", protocol=protocol).stdout == b"hi\n"
    wrong: Any = "http"
    for call in (any_run, sockproc.Client, sockproc.aio.Client):
        with pytest.raises(ValueError, match="protocol must be 'auto'"):
            call("true", protocol=wrong)
