"""`run` and `Client`: what they send, and what they return."""

from __future__ import annotations

import io
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import BadAddress, Client, run
from support import answer, python, stub_server

MIB = 1024 * 1024


def test_a_str_is_a_line_for_the_shell(any_run: Any) -> None:
    assert any_run("echo $((6 * 7)) ä").stdout == "42 ä\n".encode()


def test_bytes_are_a_line_that_need_not_be_text(any_run: Any) -> None:
    assert any_run(b"printf %s '\xff\xfe'").stdout == b"\xff\xfe"
    assert any_run("printf %s '\udcff'").stdout == b"\xff"


def test_a_sequence_is_a_program_with_exactly_these_arguments(any_run: Any) -> None:
    words = [
        "printf",
        "%s|",
        "",
        " a  b ",
        "$HOME",
        "it's",
        '"',
        "\\",
        "*",
        "ä\n\r",
        "a\r\nb",
    ]
    expected = "".join(word + "|" for word in words[2:]).encode()
    assert any_run(words).stdout == expected
    assert any_run(tuple(words)).stdout == expected
    mixed = [Path("/bin/echo"), b"\xff", Path("/tmp")]
    assert any_run(mixed).stdout == b"\xff /tmp\n"


def test_a_path_is_a_program(any_run: Any, tmp_path: Path) -> None:
    program = tmp_path / "a program; exit 3"
    program.write_text("#!/bin/sh\necho ran\n")
    program.chmod(0o755)
    assert any_run(program).stdout == b"ran\n"


@pytest.mark.parametrize(
    "cmd",
    ["echo \0", [], ["echo", "\0"]],
    ids=["nul", "no words", "nul word"],
)
def test_a_command_that_cannot_be_sent_runs_nothing(any_run: Any, cmd: Any) -> None:
    with pytest.raises(sockproc.BadRequest) as refused:
        any_run(cmd)
    assert not refused.value.may_have_run


@pytest.mark.parametrize("cmd", [b"echo \r\n", "x" * 131072], ids=["crlf", "too long"])
def test_what_classic_cannot_carry_runs_nothing(any_run: Any, cmd: Any) -> None:
    with pytest.raises(sockproc.BadRequest) as refused:
        any_run(cmd, protocol="classic")
    assert not refused.value.may_have_run


def test_a_line_may_hold_a_crlf(any_run: Any) -> None:
    assert any_run("printf 'a\r\nb'").stdout == b"a\r\nb"


@pytest.mark.parametrize("cmd", [None, 5, [1], object()])
def test_a_command_of_a_wrong_type_is_a_type_error(any_run: Any, cmd: Any) -> None:
    with pytest.raises(TypeError):
        any_run(cmd)


def test_text_encoding_and_errors_each_mean_str(any_run: Any) -> None:
    assert any_run("cat", "äöü", text=True).stdout == "äöü"
    assert any_run("cat", "äöü", encoding="utf-16").stdout == "äöü"
    assert any_run("printf '\\344'", encoding="latin-1").stdout == "ä"
    assert any_run("printf 'a\\377b' >&2", errors="ignore").stderr == "ab"
    assert any_run("cat", io.StringIO("ä\nö"), encoding="utf-8").stdout == "ä\nö"
    assert any_run("cat", ["ä", "ö"], text=True).stdout == "äö"
    with pytest.raises(UnicodeDecodeError):
        any_run("printf '\\377'", encoding="utf-8")
    with pytest.raises(UnicodeEncodeError):
        any_run("cat", "ä", encoding="ascii")
    with pytest.raises(LookupError):
        any_run("true", encoding="no such")


def test_every_line_ending_is_a_newline_in_text_mode(any_run: Any) -> None:
    command = "printf 'a\\r\\nb\\rc\\n\\r'"
    expected = subprocess.run(command, shell=True, text=True, stdout=-1).stdout
    assert any_run(command, text=True).stdout == expected == "a\nb\nc\n\n"


@pytest.mark.parametrize("size", [0, 1, 65535, 65536, 65537, MIB, 10 * MIB])
def test_output_of_any_size_arrives(any_run: Any, size: int) -> None:
    data = os.urandom(size)
    done = any_run("tee /dev/stderr", data)
    assert type(done.stdout) is bytes
    assert done.stdout == data
    assert done.stderr == data


def test_output_is_in_memory_once() -> None:
    peak = python("""
import sockproc
from support import peak_memory
done = sockproc.run("head -c 200M /dev/zero")
assert len(done.stdout) == 200 << 20
print(peak_memory())
""")
    assert int(peak) < 250 * MIB


def test_max_output_counts_both_streams(any_run: Any) -> None:
    command = "printf 12345; printf 678 >&2"
    assert any_run(command, max_output=8).stderr == b"678"
    with pytest.raises(sockproc.OutputTooLarge) as refused:
        any_run(command, max_output=7)
    error = refused.value
    # Which stream goes past it depends on which came first.
    assert (error.stream, error.length) in [("stderr", 3), ("stdout", 5)]
    assert error.max_output == 7
    assert error.may_have_run
    assert len(error.stdout) + len(error.stderr) == 7


def test_a_timeout_says_what_had_come(any_run: Any, tmp_path: Path) -> None:
    reply = b"status:0\r\n4\r\nhalf100\r\nhal"
    release = io.BytesIO()

    def serve(connection: Any) -> None:
        answer(reply)(connection)
        connection.recv(1)  # until the client gives up
        release.write(b"x")

    with stub_server(tmp_path / "s", serve) as server:
        with pytest.raises(sockproc.TimeoutExpired) as expired:
            any_run("sleep 60", server=server, timeout=2, protocol="classic")
    error = expired.value
    assert (error.cmd, error.timeout) == ("sleep 60", 2)
    assert (error.stdout, error.output, error.stderr) == (b"half", b"half", b"hal")
    assert error.may_have_run
    assert release.getvalue() == b"x"


def test_a_timeout_of_nothing_at_all_expires(any_run: Any) -> None:
    with pytest.raises(subprocess.TimeoutExpired) as expired:
        any_run("sleep 60", timeout=0)
    assert expired.value.timeout == 0
    assert expired.value.stdout is None


def test_a_timeout_of_ages_does_not_expire(any_run: Any) -> None:
    for timeout in [float("inf"), 1e9, 30]:
        assert any_run("echo hi", timeout=timeout).stdout == b"hi\n"


def test_a_timeout_that_is_no_number_runs_nothing(any_run: Any) -> None:
    with pytest.raises(ValueError, match="nan"):
        any_run("true", timeout=float("nan"))
    with pytest.raises(TypeError, match="timeout must be a number of seconds, not '5'"):
        any_run("true", timeout="5")
    with pytest.raises(ValueError, match="not 1000"):
        any_run("true", timeout=10**400)


def test_an_output_limit_that_is_no_number_runs_nothing(any_run: Any) -> None:
    with pytest.raises(ValueError, match="max_output must be .*, not -1"):
        any_run("true", max_output=-1)
    for wrong in ["5", 1.5]:
        with pytest.raises(TypeError, match=f"max_output must be .*, not {wrong!r}"):
            any_run("true", max_output=wrong)


def test_an_infinite_output_limit_is_no_limit(any_run: Any) -> None:
    assert any_run("echo hi", max_output=2**64).stdout == b"hi\n"


def test_a_number_that_is_no_port_is_named(any_run: Any) -> None:
    for wrong in [-1, 0, 70000, True]:
        with pytest.raises(BadAddress, match=f'port "{wrong}" is not a number'):
            any_run("true", server=wrong)


def test_check_raises_what_subprocess_raises(any_run: Any) -> None:
    assert any_run("true", check=True).ok
    with pytest.raises(subprocess.CalledProcessError) as theirs:
        subprocess.run(["sh", "-c", "kill -9 $$"], check=True)
    with pytest.raises(subprocess.CalledProcessError) as ours:
        any_run(["sh", "-c", "kill -9 $$"], check=True)
    assert str(ours.value) == str(theirs.value)
    assert ours.value.returncode == -9


def test_the_server_may_be_named_in_any_form(server: str, tcp_server: str) -> None:
    port = int(tcp_server.rpartition(":")[2])
    path = server.removeprefix("unix:")
    forms: list[Any] = [path, f"unix:{path}", Path(path), os.fsencode(path)]
    for form in [*forms, tcp_server, f"localhost:{port}", str(port), port]:
        assert run("echo hi", server=form).stdout == b"hi\n"
        assert Client(form).run("echo hi").stdout == b"hi\n"


def test_a_run_leaves_no_descriptor_behind(any_run: Any, tmp_path: Path) -> None:
    from conftest import open_fds

    any_run("true")
    before = open_fds()
    any_run("cat", b"x" * MIB)
    with pytest.raises(sockproc.TimeoutExpired):
        any_run("sleep 60", timeout=0.01)
    with pytest.raises(sockproc.ServerNotFound):
        any_run("true", server=tmp_path / "none")
    assert open_fds() == before
