"""The exceptions: what they derive from, and that they survive pickling."""

from __future__ import annotations

import pickle
import subprocess
from pathlib import Path

import pytest

import sockproc
from sockproc import Completed, Error, run
from support import answer, stub_server

EXAMPLES: list[Error] = [
    sockproc.NoServer(),
    sockproc.BadAddress("no"),
    sockproc.BadRequest("no"),
    sockproc.CannotConnect(113, "No route to host", "unix:/x"),
    sockproc.ServerNotFound(2, "No such file or directory", "unix:/x"),
    sockproc.ServerNotListening(111, "Connection refused", "unix:/x"),
    sockproc.ServerForbidden(13, "Permission denied", "unix:/x"),
    sockproc.ConnectionLost("lost", True),
    sockproc.ConnectionLost("lost", False),
    sockproc.ProtocolError("no"),
    sockproc.NoRoom("no"),
    sockproc.Refused("busy", "the server is shutting down"),
    sockproc.StatusUnknown(Completed("x", 0x7F, b"out", b"err")),
    sockproc.Refused("cannot-spawn", "clone: no", False, "clone", 11),
    sockproc.CannotStart("cannot-spawn", "clone: no", "clone", 11),
    sockproc.NotFound("cannot-spawn", "exec: no", "exec", 2, "no-such-program"),
    sockproc.Forbidden("cannot-spawn", "exec: no", "exec", 13, "/etc/passwd"),
    sockproc.NotADirectory("cannot-spawn", "chdir: no", "chdir", 20, "/etc/passwd"),
    sockproc.Unsupported("the classic protocol cannot carry cwd", "cwd"),
    sockproc.OutputTooLarge("stdout", 2000, 1000),
    sockproc.CalledProcessError(3, "exit 3", b"out", b"err"),
    sockproc.TimeoutExpired("sleep 5", 0.5, b"out", None),
    sockproc.TimeoutExpired("sleep 5", 0.5, may_have_run=False),
    sockproc.ServerFailed(17),
    sockproc.ServerFailed(None),
    sockproc.ServerFailed(None, "cannot write the pidfile"),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_exception_survives_pickling(error: Error) -> None:
    for protocol in range(pickle.HIGHEST_PROTOCOL + 1):
        again = pickle.loads(pickle.dumps(error, protocol))
        assert type(again) is type(error)
        assert again.args == error.args
        assert vars(again) == vars(error)
        assert str(again) == str(error) != ""
        assert again.may_have_run == error.may_have_run


def test_every_exception_has_an_example_here() -> None:
    public = {getattr(sockproc, name) for name in sockproc.__all__}
    classes = {value for value in public if isinstance(value, type)}
    errors = {value for value in classes if issubclass(value, Error)}
    assert errors - {Error} == {type(example) for example in EXAMPLES}


def test_exceptions_derive_from_those_that_people_know() -> None:
    assert issubclass(sockproc.TimeoutExpired, (subprocess.TimeoutExpired))
    assert issubclass(sockproc.TimeoutExpired, TimeoutError)
    assert issubclass(sockproc.CalledProcessError, subprocess.CalledProcessError)
    assert issubclass(sockproc.ServerNotFound, FileNotFoundError)
    assert issubclass(sockproc.ServerNotListening, ConnectionRefusedError)
    assert issubclass(sockproc.ServerForbidden, PermissionError)
    assert issubclass(sockproc.CannotConnect, ConnectionError)
    assert issubclass(sockproc.ConnectionLost, ConnectionError)
    assert issubclass(sockproc.NoRoom, MemoryError)
    assert issubclass(sockproc.CannotStart, OSError)
    assert issubclass(sockproc.NotFound, FileNotFoundError)
    assert issubclass(sockproc.Forbidden, PermissionError)
    assert issubclass(sockproc.NotADirectory, NotADirectoryError)
    assert issubclass(sockproc.BadRequest, ValueError)


@pytest.mark.parametrize("address", ["", "127.0.0.1:0", "70000", "example.org:80", 0])
def test_what_is_no_address_is_refused_at_once(address: str | int) -> None:
    with pytest.raises(sockproc.BadAddress):
        run("true", server=address)
    with pytest.raises(sockproc.BadAddress):
        sockproc.Client(address)


def test_a_server_that_is_not_there_has_run_nothing(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as missing:
        run("true", server=tmp_path / "s")
    assert isinstance(missing.value, sockproc.ServerNotFound)
    assert not missing.value.may_have_run
    assert missing.value.filename == f"unix:{tmp_path}/s"
    assert missing.value.errno == 2
    with stub_server(tmp_path / "s", answer(b"")) as dead:
        pass
    with pytest.raises(sockproc.ServerNotListening):
        run("true", server=dead)


@pytest.mark.parametrize(
    "reply",
    [b"", b"stat", b"status:0\r\n", b"status:0\r\n5\r\nabc", b"status:0\r\n0\r\n"],
)
def test_an_answer_that_is_cut_off_may_have_run(tmp_path: Path, reply: bytes) -> None:
    with stub_server(tmp_path / "s", answer(reply)) as server:
        with pytest.raises(sockproc.ConnectionLost) as lost:
            run("true", server=server, protocol="classic")
    assert lost.value.may_have_run


@pytest.mark.parametrize("reply", [b"", b"#sock", b"stat"])
def test_an_answer_to_the_opening_that_is_cut_off_has_run_nothing(
    tmp_path: Path, reply: bytes
) -> None:
    with stub_server(tmp_path / "s", answer(reply)) as server:
        with pytest.raises(sockproc.ConnectionLost) as lost:
            run("true", server=server)
    assert not lost.value.may_have_run


@pytest.mark.parametrize(
    "reply",
    [b"HTTP/1.1 400 Bad Request\r\n", b"status:x\r\n", b"status:0\r\n-1\r\n"],
)
def test_an_answer_of_something_else_is_a_protocol_error(
    tmp_path: Path, reply: bytes
) -> None:
    with stub_server(tmp_path / "s", answer(reply)) as server:
        with pytest.raises(sockproc.ProtocolError, match="not a sockproc server"):
            run("true", server=server, protocol="classic")


def test_an_opening_that_something_else_answers_has_run_nothing(tmp_path: Path) -> None:
    with stub_server(tmp_path / "s", answer(b"HTTP/1.1 400 Bad Request\r\n")) as server:
        with pytest.raises(sockproc.ProtocolError, match="not a sockproc server") as no:
            run("true", server=server)
    assert not no.value.may_have_run


@pytest.mark.parametrize("status", [0x7F, 0x137F, 0xFFFF, -1, 0x10000])
def test_a_status_that_names_no_end_is_never_taken_for_one(
    tmp_path: Path, status: int
) -> None:
    reply = b"status:%d\r\n3\r\nout3\r\nerr" % status
    with stub_server(tmp_path / "s", answer(reply)) as server:
        with pytest.raises(sockproc.StatusUnknown) as unknown:
            run("true", server=server, protocol="classic")
    assert unknown.value.completed == Completed("true", status, b"out", b"err")


def test_a_length_that_no_memory_holds_is_refused_before_it_comes(
    tmp_path: Path,
) -> None:
    reply = b"status:0\r\n%d\r\n" % 2**62
    with stub_server(tmp_path / "s", answer(reply)) as server:
        with pytest.raises(MemoryError):
            run("true", server=server)
        with pytest.raises(sockproc.OutputTooLarge):
            run("true", server=server, max_output=2**40)
