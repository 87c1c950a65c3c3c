"""Fixtures: servers, and the event loops that are tested."""

from __future__ import annotations

import asyncio
import gc
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trio
import uvloop

from sockproc import Server, aio, run

OnLoop = Callable[[Callable[[], Awaitable[Any]]], Any]


@pytest.fixture(scope="session", autouse=True)
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The server that `$SOCKPROC_SOCKET` names for all tests."""
    path = tmp_path_factory.mktemp("server") / "s"
    patient = Server(path, classic_on_disconnect="finish")
    with patient as server, pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOCKPROC_SOCKET", server.address)
        yield server.address


@pytest.fixture(scope="session")
def killing_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server that kills the command of a client that has gone."""
    path = tmp_path_factory.mktemp("killing") / "s"
    with Server(path) as server:
        yield server.address


@pytest.fixture(scope="session")
def tcp_server() -> Iterator[str]:
    """A server on a TCP port."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    with Server(port) as server:
        yield server.address


@pytest.fixture(params=["asyncio", "uvloop", "trio"])
def on_loop(request: pytest.FixtureRequest) -> OnLoop:
    """Runs an async function on one of the event loops."""

    def run_function(function: Callable[[], Awaitable[Any]]) -> Any:
        async def main() -> Any:
            return await function()

        match request.param:
            case "trio":
                return trio.run(main)
            case "uvloop":
                return uvloop.run(main())
            case _:
                return asyncio.run(main())

    return run_function


def run_sync(*args: Any, **options: Any) -> Any:
    return run(*args, **options)


def run_asyncio(*args: Any, **options: Any) -> Any:
    return asyncio.run(aio.run(*args, **options))


def run_trio(*args: Any, **options: Any) -> Any:
    async def main() -> Any:
        return await aio.run(*args, **options)

    return trio.run(main)


@pytest.fixture(params=[run_sync, run_asyncio, run_trio], ids=lambda f: f.__name__[4:])
def any_run(request: pytest.FixtureRequest) -> Any:
    """Each way to run a command: waiting, and on two event loops."""
    return request.param


@pytest.fixture
def fds() -> Iterator[None]:
    """Fails a test that leaves descriptors behind."""
    # The loops of earlier tests are closed when their garbage is collected.
    gc.collect()
    before = open_fds()
    yield
    assert open_fds() == before


def open_fds() -> set[str]:
    """The targets of this process' descriptors, without that of the listing itself."""
    found: set[str] = set()
    for entry in Path("/proc/self/fd").iterdir():
        try:
            found.add(f"{entry.name} {os.readlink(entry)}")
        except FileNotFoundError:
            pass
    return found
