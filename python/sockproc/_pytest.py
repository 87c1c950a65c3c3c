"""The fixtures that pytest finds by itself where sockproc is installed: see ``sockproc.testing``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from tempfile import TemporaryDirectory

import pytest

from ._server import Server
from .testing import FakeServer


@pytest.fixture
def sockproc_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A real server for one test, which ``$SOCKPROC_SOCKET`` names; all its commands end with the test."""
    with (
        TemporaryDirectory(prefix="sockproc-") as directory,
        Server(os.path.join(directory, "socket"), mode=0o600) as server,
    ):
        monkeypatch.setenv("SOCKPROC_SOCKET", server.address)
        yield server


@pytest.fixture
def fake_sockproc() -> Iterator[FakeServer]:
    """A fake server for one test, which ``$SOCKPROC_SOCKET`` names; ``answer`` lists a command."""
    with FakeServer() as fake:
        yield fake
