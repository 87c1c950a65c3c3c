"""`sockproc.testing`: a fake server for the tests of others."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, get_type_hints

import pytest

import sockproc
from conftest import OnLoop
from sockproc import Completed, ConnectionLost, Refused, TimeoutExpired, aio, run
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


def test_the_block_names_the_server_that_clients_ask_by_default(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SOCKPROC_SOCKET", "/nonexistent")
    with FakeServer({"x": "outer"}), FakeServer({"x": "inner"}) as inner:
        assert os.environ["SOCKPROC_SOCKET"] == inner.address
        assert run("x").stdout == b"inner"
        assert sockproc.Client().run("x").stdout == b"inner"
        assert run("x", server=inner).stdout == b"inner"
    assert os.environ["SOCKPROC_SOCKET"] == "/nonexistent"
    monkeypatch.delenv("SOCKPROC_SOCKET")
    with FakeServer({"x": b""}):
        run("x")
    assert "SOCKPROC_SOCKET" not in os.environ


@pytest.mark.usefixtures("fds")
def test_nothing_is_left_behind(any_run: Any) -> None:
    threads = set(threading.enumerate())
    with FakeServer({"x": TimeoutExpired("x", 1), "y": b"y"}) as fake:
        directory = Path(fake.address).parent
        assert any_run("y").stdout == b"y"
        silent = socket.socket(socket.AF_UNIX)
        silent.connect(fake.address)
        with pytest.raises(TimeoutExpired):
            any_run("x", timeout=0.05)
    silent.close()
    assert not directory.exists()
    assert set(threading.enumerate()) == threads


def test_the_end_of_the_block_ends_clients_that_still_wait() -> None:
    ended: list[BaseException] = []

    def wait() -> None:
        with pytest.raises(ConnectionLost) as lost:
            run("x", server=fake.address)
        ended.append(lost.value)

    with FakeServer({"x": TimeoutExpired("x", 1)}) as fake:
        waiting = threading.Thread(target=wait)
        waiting.start()
        limit = time.monotonic() + 30
        while not fake.requests and time.monotonic() < limit:
            time.sleep(0.005)
    waiting.join(timeout=30)
    assert len(ended) == 1


def test_a_block_can_be_entered_again_but_not_twice_at_once() -> None:
    fake = FakeServer({"x": b""})
    with pytest.raises(RuntimeError, match="inside its block"):
        _ = fake.address
    for _ in range(2):
        with fake, pytest.raises(RuntimeError, match="already"), fake:
            pass
        with fake:
            run("x")
    assert len(fake.requests) == 2


def test_many_tasks_are_answered_at_once_on_every_loop(on_loop: OnLoop) -> None:
    barrier = threading.Barrier(20, timeout=30)

    def together(request: Request) -> bytes:
        barrier.wait()
        return request.stdin

    async def main() -> None:
        async with FakeServer({("cat",): together}) as fake:
            client = aio.Client()
            calls = [partial(client.run, ["cat"], b"%d" % n) for n in range(20)]
            got = await gather(calls)
            assert sorted(got) == sorted(b"%d" % n for n in range(20))
            assert len(fake.requests) == 20

    on_loop(main)


async def gather(calls: Sequence[Callable[[], Any]]) -> list[bytes]:
    """The output of all calls, made at the same time on the loop that runs."""
    import anyio

    got: list[bytes] = []

    async def one(call: Callable[[], Any]) -> None:
        got.append((await call()).stdout)

    async with anyio.create_task_group() as group:
        for call in calls:
            group.start_soon(one, call)
    return got


@pytest.mark.parametrize("size", [0, 1, 65536, 5_000_000])
def test_stdin_and_output_may_be_large(any_run: Any, size: int) -> None:
    with FakeServer({"x": on_both}):
        done = any_run("x", bytes(size))
    assert (len(done.stdout), len(done.stderr)) == (size, size)


def test_forked_children_and_workers_are_answered_and_leave_the_server_alone() -> None:
    fork = multiprocessing.get_context("fork")
    with FakeServer({"x": "yes"}) as fake:
        worker = fork.Process(target=leave_in_child, args=(fake,))
        worker.start()
        worker.join(timeout=30)
        assert worker.exitcode == 0
        assert run("x").stdout == b"yes"
        assert len(fake.requests) == 2


def leave_in_child(fake: FakeServer) -> None:
    assert run("x").stdout == b"yes"
    fake.__exit__(None, None, None)


@pytest.mark.parametrize(
    ("request_bytes", "recorded"),
    [
        (b"#sockproc/2\r\n0\r\n", []),
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
