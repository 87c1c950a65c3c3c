"""Starts real nginxes and servers, each in a directory of its own, and stops them."""

import asyncio
import contextlib
import http.client
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BINARY = os.environ["SOCKPROC_BIN"]
MODULES = os.environ["SOCKPROC_LUA_MODULES"]
DEADLINE = 30.0

CONF = """
{load_modules}
daemon off;
user {user};
worker_processes {workers};
pid nginx.pid;
error_log error.log info;
{main}
events {{ worker_connections 4096; }}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    lua_package_path "{root}/lua/?.lua;{root}/lua/?/init.lua;{root}/tests/lua/?.lua;$prefix/?.lua;;";
    lua_package_cpath "{modules}/?.so;;";
    lua_socket_log_errors off;
    {http}
}}
"""


def load_modules() -> str:
    """Debian's nginx loads Lua as a module; OpenResty's has it inside."""
    modules = pathlib.Path("/usr/lib/nginx/modules")
    names = ("ndk_http_module.so", "ngx_http_lua_module.so")
    return "\n".join(
        f"load_module {modules / name};" for name in names if (modules / name).exists()
    )


def poll(what: str, condition, deadline: float = DEADLINE):
    end = time.monotonic() + deadline
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.01)
    raise AssertionError(f"never came: {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def is_alive(pid: int) -> bool:
    """Whether any of its threads is left: a killed process holds its sockets until the last one has ended."""
    try:
        threads = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return False
    return any(state_of(f"{pid}/task/{thread}") not in "ZX" for thread in threads)


def state_of(task: str) -> str:
    """The state's letter; X once it is gone."""
    try:
        stat = pathlib.Path(f"/proc/{task}/stat").read_text()
    except OSError:
        return "X"
    return stat.rpartition(")")[2].split()[0]


def children(pid: int) -> list[int]:
    return [
        int(child)
        for child in pathlib.Path(f"/proc/{pid}/task/{pid}/children")
        .read_text()
        .split()
    ]


def descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


def resident_kib(pid: int) -> int:
    for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise AssertionError(f"no VmRSS of {pid}")


def directory(test: unittest.TestCase | type[unittest.TestCase]) -> pathlib.Path:
    """A directory that every user may enter and write to; it is removed after the test."""
    path = pathlib.Path(tempfile.mkdtemp(prefix="sockproc-nginx-"))
    path.chmod(0o777)
    cleanup(test)(shutil.rmtree, path, ignore_errors=True)
    return path


def cleanup(test: unittest.TestCase | type[unittest.TestCase]):
    return test.addClassCleanup if isinstance(test, type) else test.addCleanup


def start_server(test) -> tuple[str, int]:
    """Starts a server on a unix socket; returns its address and pid."""
    place = directory(test)
    subprocess.run([BINARY, place / "sock", place / "pid"], check=True)
    pid = int((place / "pid").read_text())
    cleanup(test)(end, pid)
    return f"unix:{place / 'sock'}", pid


def end(pid: int, how: signal.Signals = signal.SIGTERM) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, how)


class Nginx:
    """A running nginx; `http` is the text of its http block, in which PORT is its port."""

    def __init__(
        self,
        test,
        http: str,
        main: str = "",
        workers: int = 1,
        port: int | None = None,
        user: str = "root",
    ):
        self.port = port or free_port()
        self.prefix = directory(test)
        conf = CONF.format(
            load_modules=load_modules(),
            workers=workers,
            user=user,
            main=main,
            root=ROOT,
            modules=MODULES,
            http=http.replace("PORT", str(self.port)).replace(
                "PREFIX", str(self.prefix)
            ),
        )
        (self.prefix / "nginx.conf").write_text(conf)
        self.start()
        cleanup(test)(self.stop)

    def start(self) -> None:
        command = [
            "nginx",
            "-p",
            str(self.prefix),
            "-c",
            "nginx.conf",
            "-e",
            "error.log",
        ]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        poll("nginx", self.is_up)

    def is_up(self) -> bool:
        if self.process.poll() is not None:
            raise AssertionError(f"nginx did not start: {self.process.stderr.read()}")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0 and bool(
                self.workers()
            )

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(DEADLINE)
        self.process.stderr.close()

    def reload(self) -> None:
        """Returns when there are new workers."""
        old = set(self.workers())
        self.process.send_signal(signal.SIGHUP)
        poll("new workers", lambda: set(self.workers()) - old)

    def workers(self) -> list[int]:
        return children(self.process.pid)

    def get(self, path: str, timeout: float = 60) -> str:
        status, body = self.fetch(path, timeout)
        assert status == 200, f"{path}: {status} {body}\n{self.log()}"
        return body

    def fetch(self, path: str, timeout: float = 60) -> tuple[int, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        with contextlib.closing(connection):
            connection.request("GET", path)
            response = connection.getresponse()
            return response.status, response.read().decode("latin-1")

    async def get_async(self, path: str) -> str:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        writer.write(f"GET {path} HTTP/1.0\r\n\r\n".encode())
        answer = await reader.read()
        writer.close()
        head, _, body = answer.partition(b"\r\n\r\n")
        assert b" 200 " in head.splitlines()[0], answer
        return body.decode("latin-1")

    def log(self) -> str:
        return (self.prefix / "error.log").read_text(errors="replace")


def main() -> None:
    """Runs the tests of the calling file, and prints how many passed."""
    result = unittest.main(exit=False, verbosity=1).result
    failed = len(result.failures) + len(result.errors) + len(result.skipped)
    print(f"{result.testsRun - failed} passed, {failed} failed")
    sys.exit(failed != 0)
