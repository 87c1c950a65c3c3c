"""stdin: every kind, with every way to run a command."""

from __future__ import annotations

import array
import gzip
import inspect
import io
import mmap
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import OnLoop
from sockproc import aio, run
from support import python

MIB = 1024 * 1024


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


def test_a_text_file_is_sent_from_where_its_reader_is(
    any_run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_text("größe\nzwei\n" * 2, encoding="utf-8")
    with path.open(encoding="utf-8") as file:
        assert file.readline() == "größe\n"
        assert any_run("head -n 1", file).stdout == b"zwei\n"
        assert file.readline() == "zwei\n"


def test_a_text_file_without_a_position_is_refused(
    any_run: Any, tmp_path: Path
) -> None:
    path = tmp_path / "file"
    path.write_bytes("\ufeffeins\nzwei\n".encode("utf-16-be"))
    with path.open(encoding="utf-16") as file:
        assert any_run("wc -c", file).stdout.split() == [b"22"]
        file.readline()
        with pytest.raises(io.UnsupportedOperation, match="binary mode"):
            any_run("true", file)
        file.seek(0)
        next(file)
        with pytest.raises(OSError, match="position"):
            any_run("true", file)


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
import sockproc, sys
from support import peak_memory
with open(sys.argv[1], "rb") as file:
    done = sockproc.run("wc -c", file)
print(done.stdout.decode(), peak_memory())
""",
        str(tmp_path / "file"),
    ).split()
    assert int(peak[0]) == 512 * MIB
    assert int(peak[1]) < 100 * MIB


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
