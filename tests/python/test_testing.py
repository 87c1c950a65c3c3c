"""`sockproc.testing`: a fake server for the tests of others."""

from __future__ import annotations

import asyncio
import socket
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import sockproc
from sockproc import Completed, ConnectionLost, Refused, TimeoutExpired, run, subprocess
from sockproc.testing import FakeServer, Request, UnlistedCommand, reply


def test_a_listed_command_gets_its_answer(any_run: Any) -> None:
    done = Completed("any", 3 << 8, b"out", b"err")
    with FakeServer({"git status": done}) as fake:
        got = any_run("git status")
    assert got == Completed("git status", 3 << 8, b"out", b"err")
    assert fake.requests == [Request("git status")]


@pytest.mark.parametrize(
    "listed",
    [
        "git log | head",
        b"git log | head",
        ("git", "log", "it's", "", "a\r\nb", "\udcff"),
        (b"git", Path("log"), "-n"),
        Path("/usr/bin/git"),
        "exec git log",
    ],
)
def test_a_command_is_listed_as_it_is_run(any_run: Any, listed: Any) -> None:
    with FakeServer({listed: "yes"}):
        assert any_run(listed).stdout == b"yes"


def test_an_argv_is_recorded_as_words_and_a_line_as_str() -> None:
    with FakeServer({("cat", "a b"): b"", "cat a b": b""}) as fake:
        run(["cat", "a b"], b"one")
        run("cat a b", b"two")
    assert fake.requests == [
        Request(("cat", "a b"), b"one"),
        Request("cat a b", b"two"),
    ]


def test_a_line_does_not_stand_for_an_argv() -> None:
    with pytest.raises(UnlistedCommand), FakeServer({"git status": b""}):
        with pytest.raises(Refused):
            run(["git", "status"])


def twice(request: Request) -> bytes:
    return request.stdin * 2


def on_both(request: Request) -> Completed[bytes]:
    return reply(request.stdin, request.stdin)


@pytest.mark.parametrize(
    ("answer", "completed"),
    [
        (b"\xff", Completed("x", 0, b"\xff", b"")),
        ("é", Completed("x", 0, "é".encode(), b"")),
        (Completed(None, 9, "é", "\udcff"), Completed("x", 9, "é".encode(), b"\xff")),
        (reply("out", "err", 2), Completed("x", 512, b"out", b"err")),
        (reply(b"out", returncode=-9), Completed("x", 9, b"out", b"")),
        (twice, Completed("x", 0, b"inin", b"")),
    ],
    ids=["bytes", "str", "completed", "exit code", "signal", "function"],
)
def test_each_kind_of_answer_becomes_a_completed(
    answer: Any, completed: Completed[bytes]
) -> None:
    with FakeServer({"x": answer}):
        assert run("x", b"in") == completed


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (Refused("busy", "too many run"), Refused),
        (Refused("cannot-spawn", "no memory"), Refused),
        (ConnectionLost("gone"), ConnectionLost),
        (TimeoutExpired("x", 1), TimeoutExpired),
    ],
    ids=["busy", "cannot-spawn", "lost", "timeout"],
)
@pytest.mark.parametrize("by", ["listed", "returned", "raised"])
def test_an_exception_is_what_the_client_raises(
    any_run: Any, error: Any, kind: type[Exception], by: str
) -> None:
    def returns(request: Request) -> Any:
        return error

    def raises(request: Request) -> Any:
        raise error

    answers = {"listed": error, "returned": returns, "raised": raises}
    with FakeServer({"x": answers[by]}):
        with pytest.raises(kind) as raised:
            any_run("x", timeout=0.1 if kind is TimeoutExpired else 30)
    if isinstance(raised.value, Refused):
        assert (raised.value.kind, raised.value.message) == (error.kind, error.message)


def test_the_same_command_may_get_another_answer_each_time() -> None:
    answers: list[Any] = [Refused("busy", "later"), "done"]

    def next_answer(request: Request) -> Any:
        return answers.pop(0)

    with FakeServer({"x": next_answer}) as fake:
        with pytest.raises(Refused):
            run("x")
        assert run("x").stdout == b"done"
        fake.answer("x", "listed again")
        assert run("x").stdout == b"listed again"


def test_an_unlisted_command_is_an_error_of_the_test_even_if_its_client_hides_it() -> (
    None
):
    message = (
        r"no answer to 'git push' is listed; listed is 'git fetch', \('git', 'add'\)"
    )
    with pytest.raises(UnlistedCommand, match=message):
        with FakeServer({"git fetch": b"", ("git", "add"): b""}):
            with pytest.raises(Refused, match=message) as refused:
                run("git push")
            assert refused.value.kind == "policy"
            assert not refused.value.may_have_run


def test_an_exception_of_the_block_gets_a_note_of_what_was_unlisted() -> None:
    with pytest.raises(ZeroDivisionError) as failed, FakeServer():
        with pytest.raises(Refused):
            run("git push")
        raise ZeroDivisionError
    assert "'git push'" in failed.value.__notes__[0]


def test_what_a_function_raises_is_raised_at_the_end_of_the_block() -> None:
    def wants_stdin(request: Request) -> str:
        assert request.stdin, "nothing to read\non stdin"
        return "fine"

    with pytest.raises(AssertionError, match="^nothing to read\n"):
        with FakeServer({"x": wants_stdin}):
            assert run("x", b"1").stdout == b"fine"
            with pytest.raises(Refused, match="AssertionError: nothing to read$"):
                run("x")


def no_answer(request: Request) -> Any:
    return 3


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (3, TypeError),
        (None, TypeError),
        (ValueError("no"), TypeError),
        (Refused("unknown", "no"), ValueError),
        (Refused("busy", "two\nlines"), ValueError),
    ],
)
def test_what_cannot_be_an_answer_is_told_at_once(
    answer: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        FakeServer({"x": answer})
    fake = FakeServer()
    with pytest.raises(error):
        fake.answer("x", answer)
    with pytest.raises(TypeError, match="not 3"), FakeServer({"x": no_answer}):
        with pytest.raises(Refused):
            run("x")


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_stdin_and_output_may_be_large(any_run: Any, size: int) -> None:
    with FakeServer({"x": on_both}):
        done = any_run("x", bytes(size))
    assert (len(done.stdout), len(done.stderr)) == (size, size)


@pytest.mark.parametrize(
    ("request_bytes", "recorded"),
    [
        (b"x\r\n3\r\nabc", [Request("x", b"abc")]),
        (b"x\r\n 3 bytes\r\nabcdef", [Request("x", b"abc")]),
        (b"x\r\n9223372036854775807\r\nabc", [Request("x", b"abc")]),
        (b"x\r\n", [Request("x", b"")]),
        (b"x\r\nnone\r\n", [Request("x", b"")]),
    ],
)
def test_any_classic_client_is_answered(
    request_bytes: bytes, recorded: list[Request]
) -> None:
    with FakeServer({"x": b""}) as fake, socket.socket(socket.AF_UNIX) as client:
        client.connect(fake.address)
        client.sendall(request_bytes)
        client.shutdown(socket.SHUT_WR)
        assert client.makefile("rb").read() == b"status:0\r\n0\r\n0\r\n"
    assert fake.requests == recorded


def test_a_fake_may_speak_classic_only_as_the_c_daemon_does() -> None:
    with FakeServer({"x": "yes"}, native=False):
        assert run("x", protocol="auto").stdout == b"yes"
        with pytest.raises(sockproc.Unsupported, match="cwd"):
            run("x", cwd="/")
        with pytest.raises(sockproc.Unsupported):
            subprocess.call("x", shell=True)


def test_a_client_that_goes_amid_its_command_is_not_recorded() -> None:
    with FakeServer() as fake:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(fake.address)
            client.sendall(b"git pu")
        asyncio.run(asyncio.sleep(0))
    assert fake.requests == []


def test_hints_can_be_evaluated() -> None:
    for function in (FakeServer.__init__, FakeServer.answer, reply):
        assert get_type_hints(function)
