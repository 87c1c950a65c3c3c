"""The recipes of docs/recipes, as they stand, in the real servers for which they are."""

from __future__ import annotations

import hashlib
import http.client
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from sockproc import Server
from support import DEADLINE, children, wait_until

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"


class Connection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=DEADLINE)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(DEADLINE)
        self.sock.connect(str(self._path))


def ask(path: Path, method: str, target: str, body: bytes = b"") -> bytes:
    connection = Connection(path)
    try:
        connection.request(method, target, body)
        response = connection.getresponse()
        text = response.read()
        assert response.status == 200, text
        return text
    finally:
        connection.close()


def is_ready(path: Path) -> bool:
    """Whether there is this file; a socket is there a moment before someone listens."""
    if not path.is_socket():
        return path.exists()
    with socket.socket(socket.AF_UNIX) as asking:
        return asking.connect_ex(str(path)) == 0


@contextmanager
def program(*command: str | Path, ready: Path, **env: str) -> Generator[None]:
    """Runs a program of the environment in the recipes' directory, until the end of the block."""
    words = [sys.executable, "-m", *map(str, command)]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **env}
    with subprocess.Popen(words, cwd=RECIPES, env=environment) as process:
        try:
            wait_until(
                lambda: is_ready(ready) or process.poll() is not None,
                f"start of {words}",
            )
            assert process.poll() is None
            yield
            process.terminate()
            # uvicorn ends by the signal itself, once it has shut down.
            assert process.wait(DEADLINE) in (0, -signal.SIGTERM)
        finally:
            process.kill()


def test_fastapi_runs_commands_on_the_loop_of_uvicorn(tmp_path: Path) -> None:
    path = tmp_path / "http"
    with Server(tmp_path / "s") as server:
        app = ["uvicorn", "fastapi_app:app", "--uds", str(path)]
        with program(*app, ready=path, SOCKPROC_SOCKET=server.address):
            assert ask(path, "POST", "/upper?text=hello") == b"HELLO"
            client = Connection(path)
            client.request("GET", "/count")
            stream = client.getresponse()
            assert [stream.readline() for _ in range(3)] == [b"1\n", b"2\n", b"3\n"]
            assert children(server.pid)
            stream.close()
            client.close()
            wait_until(lambda: not children(server.pid), "end of the command")


def seconds_of_16(path: Path, target: str, answer: bytes) -> float:
    """How long 16 requests take that are made at once."""
    began = time.monotonic()
    with ThreadPoolExecutor(16) as pool:
        asked = [pool.submit(ask, path, "GET", target) for _ in range(16)]
        assert [each.result() for each in asked] == [answer] * 16
    return time.monotonic() - began


def test_django_goes_on_in_its_other_threads(tmp_path: Path) -> None:
    path = tmp_path / "http"
    options = ["--bind", f"unix:{path}", "--threads", "16"]
    with program("gunicorn", *options, "django_app:application", ready=path):
        assert ask(path, "POST", "/words", b"one two three") == b"3\n"
        # One after the other they would take 8 seconds.
        assert seconds_of_16(path, "/sleep", b"slept\n") < 8


@pytest.mark.parametrize("kind", ["sync", "gthread", "gevent"])
def test_gunicorn_runs_commands_in_each_kind_of_worker(
    kind: str, tmp_path: Path
) -> None:
    path = tmp_path / "http"
    options = ["--bind", f"unix:{path}", "--worker-class", kind]
    with program("gunicorn", *options, "gunicorn_app:app", ready=path):
        assert ask(path, "GET", "/") == b"Linux\n"
        if kind == "gevent":
            assert seconds_of_16(path, "/", b"Linux\n") < 8


def test_celery_runs_commands_in_the_processes_of_its_pool(tmp_path: Path) -> None:
    queue, ready = tmp_path / "queue", tmp_path / "pid"
    queue.mkdir()
    worker = ["celery", "--app", "celery_app", "worker", "--concurrency", "2"]
    quiet = ["--without-gossip", "--without-mingle", "--without-heartbeat"]
    code = """
from celery_app import checksum
for result in [checksum.delay(str(n)) for n in range(8)]:
    print(result.get(timeout=60))
"""
    directory = {"CELERY_DIRECTORY": str(queue)}
    with program(*worker, *quiet, "--pidfile", ready, ready=ready, **directory):
        printed = subprocess.check_output(
            [sys.executable, "-B", "-c", code],
            cwd=RECIPES,
            env={**os.environ, **directory},
            text=True,
            timeout=100,
        )
    sums = [hashlib.sha256(b"%d" % n).hexdigest() for n in range(8)]
    assert printed.split() == sums


@pytest.mark.parametrize("who", ["server", "helper"])
def test_a_notebook_runs_commands(
    who: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if who == "helper":
        monkeypatch.delenv("SOCKPROC_SOCKET")
    notebook = tmp_path / "notebook.ipynb"
    shutil.copy(RECIPES / "notebook.ipynb", notebook)
    subprocess.run(
        [Path(sys.executable).parent / "jupyter-execute", "--inplace", notebook],
        env={**os.environ, "IPYTHONDIR": str(tmp_path)},
        timeout=100,
        check=True,
    )
    cells = json.loads(notebook.read_text())["cells"]
    outputs = [cell["outputs"][0] for cell in cells if cell["cell_type"] == "code"]
    assert outputs[0]["data"]["text/plain"] == ["'Linux\\n'"]
    assert outputs[1]["data"]["text/plain"] == ["'HELLO'"]
    assert outputs[2]["text"] == ["line 1\n", "line 2\n", "line 3\n"]
