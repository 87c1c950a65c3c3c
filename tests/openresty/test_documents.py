"""The example works as it is, with other ports and paths."""

import contextlib
import http.client
import pathlib
import re
import socket
import struct
import subprocess
import unittest

from support import (
    DEADLINE,
    MODULES,
    ROOT,
    directory,
    end,
    free_port,
    load_modules,
    main,
    poll,
)


def listener(path: pathlib.Path) -> int:
    """The pid of the process that listens on a unix socket."""
    with socket.socket(socket.AF_UNIX) as probe:
        probe.connect(str(path))
        pid, _, _ = struct.unpack(
            "3i", probe.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
        )
    return pid


class Documents(unittest.TestCase):
    def start(self, conf: str) -> None:
        """Starts a whole configuration, with a port and sockets of its own."""
        self.port, prefix, sockets = free_port(), directory(self), directory(self)
        paths = f'lua_package_path "{ROOT}/lua/?.lua;{ROOT}/lua/?/init.lua;;"; lua_package_cpath "{MODULES}/?.so;;";'
        conf = re.sub(r"(?m)^load_module.*\n", "", conf).replace(
            "http {", "http { " + paths, 1
        )
        conf = conf.replace(":8080", f":{self.port}").replace(
            "/run/sockproc/", f"{sockets}/"
        )
        (prefix / "nginx.conf").write_text(f"{load_modules()}\ndaemon off;\n{conf}")
        command = ["nginx", "-p", prefix, "-c", "nginx.conf", "-e", "error.log"]
        process = subprocess.Popen(command)
        self.addCleanup(process.wait, DEADLINE)
        self.addCleanup(process.terminate)
        poll("nginx", lambda: self.is_up(process))
        for path in sockets.iterdir():
            self.addCleanup(end, listener(path))

    def is_up(self, process: subprocess.Popen) -> bool:
        self.assertIsNone(process.poll(), "nginx did not start")
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(
            "127.0.0.1", self.port, timeout=DEADLINE
        )
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            response = connection.getresponse()
            return response.status, response.read()

    def test_the_example_sorts_a_body(self):
        self.start((ROOT / "lua/examples/nginx.conf").read_text())
        self.assertEqual(self.post("/sort", b"b\na\n"), (200, b"a\nb\n"))
        self.assertEqual(self.post("/sort", b""), (200, b""))
        # More than nginx keeps in memory.
        lines = [b"%06d\n" % number for number in range(1000000)]
        status, body = self.post("/sort", b"".join(reversed(lines)))
        self.assertEqual((status, body == b"".join(lines)), (200, True))


if __name__ == "__main__":
    main()
