"""`run` and `Client`: what they send, and what they give back."""

from __future__ import annotations

import array
import gzip
import inspect
import io
import mmap
import os
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import Client, aio, run
from conftest import OnLoop
from support import answer, python, stub_server

MIB = 1024 * 1024


def run_sync(*args: Any, **options: Any) -> Any:
    return run(*args, **options)


def run_asyncio(*args: Any, **options: Any) -> Any:
    import asyncio

    return asyncio.run(aio.run(*args, **options))


def run_trio(*args: Any, **options: Any) -> Any:
    import trio

    async def main() -> Any:
        return await aio.run(*args, **options)

    return trio.run(main)


@pytest.fixture(params=[run_sync, run_asyncio, run_trio], ids=lambda f: f.__name__[4:])
def any_run(request: pytest.FixtureRequest) -> Any:
    """Each way to run a command: waiting, and on two event loops."""
    return request.param


def test_a_str_is_a_line_for_the_shell(any_run: Any) -> None:
    assert any_run("echo $((6 * 7)) ä").stdout == "42 ä\n".encode()


def test_bytes_are_a_line_that_need_not_be_text(any_run: Any) -> None:
    assert any_run(b"printf %s '\xff\xfe'").stdout == b"\xff\xfe"
    assert any_run("printf %s '\udcff'").stdout == b"\xff"


def test_a_sequence_is_a_program_with_exactly_these_arguments(any_run: Any) -> None:
    words = ["printf", "%s|", "", " a  b ", "$HOME", "it's", '"', "\\", "*", "ä\n\r"]
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
    ["echo \0", b"echo \r\n", [], ["echo", "\0"], ["echo", "\r\n"], "x" * 131072],
    ids=["nul", "crlf", "no words", "nul word", "crlf word", "too long"],
)
def test_a_command_that_cannot_be_sent_runs_nothing(any_run: Any, cmd: Any) -> None:
    with pytest.raises(sockproc.BadRequest) as refused:
        any_run(cmd)
    assert not refused.value.may_have_run


@pytest.mark.parametrize("cmd", [None, 5, [1], object()])
def test_a_command_of_a_wrong_type_is_a_type_error(any_run: Any, cmd: Any) -> None:
    with pytest.raises(TypeError):
        any_run(cmd)


def pieces() -> Iterator[bytes]:
    yield b"one "
    yield b""
    yield b"two"


@pytest.mark.parametrize(
    ("stdin", "expected"),
    [
        (None, b""),
        (b"", b""),
        (b"hello", b"hello"),
        (bytearray(b"hello"), b"hello"),
        (memoryview(b"hello")[::-1], b"olleh"),
        (memoryview(b"abcd").cast("B", (2, 2)), b"abcd"),
        (array.array("H", [0x6968]), b"hi"),
        (io.BytesIO(b"one\ntwo\n"), b"one\ntwo\n"),
        ([b"one ", bytearray(b"two"), memoryview(b"!")], b"one two!"),
        (iter([]), b""),
    ],
    ids=lambda value: type(value).__name__,
)
def test_stdin_may_be_anything_bytes_like(
    any_run: Any, stdin: Any, expected: bytes
) -> None:
    if hasattr(stdin, "seek"):
        stdin.seek(0)
    assert any_run("cat", stdin).stdout == expected


def test_stdin_may_be_a_generator(any_run: Any) -> None:
    assert any_run("cat", pieces()).stdout == b"one two"


def test_stdin_may_be_a_mapped_file(any_run: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * MIB)
    with path.open("rb") as file:
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert any_run("wc -c", mapped).stdout.strip() == str(MIB).encode()


def test_a_file_is_sent_from_its_position_which_stays(
    any_run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"0123456789" * MIB)
    for buffering in [0, -1]:
        with path.open("rb", buffering=buffering) as file:
            assert file.read(3) == b"012"
            done = any_run("head -c 4; wc -c", file)
            assert file.tell() == 3
        assert done.stdout.split() == [b"3456%d" % (10 * MIB - 7)]


def test_a_text_file_is_sent_as_the_bytes_it_is(any_run: Any, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes("größe\r\n".encode("latin-1"))
    with path.open(encoding="latin-1") as file:
        assert any_run("cat", file).stdout == "größe\r\n".encode("latin-1")


def test_a_temporary_file_is_a_file(any_run: Any) -> None:
    with tempfile.NamedTemporaryFile() as named, tempfile.TemporaryFile() as file:
        for each in [named, file]:
            each.write(b"pear")
            each.seek(0)
            assert any_run("tr a-z A-Z", each).stdout == b"PEAR"


def test_a_file_of_proc_is_sent_whole(any_run: Any) -> None:
    with open("/proc/self/status", "rb") as file:
        assert b"VmRSS" in any_run("cat", file).stdout


def test_a_compressed_file_is_sent_as_it_reads(any_run: Any, tmp_path: Path) -> None:
    with gzip.open(tmp_path / "file.gz", "wb") as file:
        file.write(b"plain")
    with gzip.open(tmp_path / "file.gz", "rb") as file:
        assert any_run("cat", file).stdout == b"plain"


def test_a_large_file_is_not_read_into_memory(tmp_path: Path) -> None:
    with (tmp_path / "file").open("wb") as file:
        file.truncate(512 * MIB)
    peak = python(
        """
import resource, sockproc, sys
with open(sys.argv[1], "rb") as file:
    done = sockproc.run("wc -c", file)
print(done.stdout.decode(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
""",
        str(tmp_path / "file"),
    ).split()
    assert int(peak[0]) == 512 * MIB
    assert int(peak[1]) * 1024 < 100 * MIB


def test_a_file_that_shrinks_under_way_is_an_error(
    any_run: Any, tmp_path: Path, killing_server: str
) -> None:
    path = tmp_path / "file"
    with path.open("wb") as file:
        file.truncate(64 * MIB)

    class Shrinking(io.FileIO):
        def fileno(self) -> int:
            number = super().fileno()
            frame = inspect.currentframe()
            assert frame and frame.f_back
            if frame.f_back.f_code.co_name == "read":
                os.truncate(path, MIB)
            return number

    with Shrinking(path) as shrinking:
        with pytest.raises(EOFError, match="ended 66060288 bytes early"):
            any_run("cat >/dev/null", shrinking, server=killing_server)


def test_a_pipe_is_read_to_its_end_by_run() -> None:
    ours, theirs = os.pipe()
    os.write(theirs, b"through a pipe")
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:
        assert run("cat", pipe).stdout == b"through a pipe"


def test_a_pipe_is_refused_by_aio_run(on_loop: OnLoop) -> None:
    ours, theirs = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "rb") as pipe:

        async def main() -> None:
            with pytest.raises(TypeError, match="block the event loop"):
                await aio.run("cat", pipe)

        on_loop(main)


@pytest.mark.parametrize("stdin", ["text", 5, [5], ["text"], object(), {"a": 1}])
def test_stdin_of_a_wrong_type_is_a_type_error(any_run: Any, stdin: Any) -> None:
    with pytest.raises(TypeError, match="stdin must be bytes-like, a file or an iter"):
        any_run("cat", stdin)


@pytest.mark.parametrize("stdin", [b"bytes", bytearray(b"b"), [b"bytes"], 5])
def test_bytes_are_no_stdin_in_text_mode(any_run: Any, stdin: Any) -> None:
    with pytest.raises(TypeError, match="stdin must be str"):
        any_run("cat", stdin, text=True)


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
import resource, sockproc
done = sockproc.run("head -c 200M /dev/zero")
assert len(done.stdout) == 200 << 20
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
""")
    assert int(peak) * 1024 < 250 * MIB


def test_max_output_counts_both_streams(any_run: Any) -> None:
    command = "printf 12345; printf 678 >&2"
    assert any_run(command, max_output=8).stderr == b"678"
    with pytest.raises(sockproc.OutputTooLarge) as refused:
        any_run(command, max_output=7)
    error = refused.value
    assert (error.stream, error.length, error.max_output) == ("stderr", 3, 7)
    assert error.may_have_run


def test_a_timeout_says_what_had_come(any_run: Any, tmp_path: Path) -> None:
    reply = b"status:0\r\n4\r\nhalf100\r\nhal"
    release = io.BytesIO()

    def serve(connection: Any) -> None:
        answer(reply)(connection)
        connection.recv(1)  # until the client gives up
        release.write(b"x")

    with stub_server(tmp_path / "s", serve) as server:
        with pytest.raises(sockproc.TimeoutExpired) as expired:
            any_run("sleep 60", server=server, timeout=0.3)
    error = expired.value
    assert (error.cmd, error.timeout) == ("sleep 60", 0.3)
    assert (error.stdout, error.output, error.stderr) == (b"half", b"half", b"hal")
    assert error.may_have_run
    assert release.getvalue() == b"x"


def test_a_timeout_of_nothing_at_all_expires(any_run: Any) -> None:
    for timeout in [0, -1, -0.5]:
        with pytest.raises(subprocess.TimeoutExpired) as expired:
            any_run("sleep 60", timeout=timeout)
        assert expired.value.timeout == timeout
        assert expired.value.stdout is None


def test_a_timeout_of_ages_does_not_expire(any_run: Any) -> None:
    for timeout in [float("inf"), 1e9, 30]:
        assert any_run("echo hi", timeout=timeout).stdout == b"hi\n"


def test_a_timeout_that_is_no_number_runs_nothing(any_run: Any) -> None:
    with pytest.raises(ValueError, match="nan"):
        any_run("true", timeout=float("nan"))
    with pytest.raises(TypeError):
        any_run("true", timeout="5")


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
