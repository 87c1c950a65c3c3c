"""Servers that nginx starts."""

import os
import pathlib
import pwd
import signal
import unittest

from support import Nginx, directory, end, is_alive, main, poll

NOBODY = pwd.getpwnam("nobody").pw_uid

HTTP = """
init_by_lua_block {
    sockproc = require("sockproc")
    server, err, kind = sockproc.serve({ OPTIONS })
}
server {
    listen 127.0.0.1:PORT;
    location /init { content_by_lua_block {
        ngx.print(server and (server.reused and "reused" or server.pid) or kind .. ": " .. err)
    } }
    location /run { content_by_lua_block {
        local result, err = sockproc.run(ngx.unescape_uri(ngx.var.arg_cmd), nil, { server = "ADDRESS" })
        ngx.print(result and result.stdout or err)
    } }
    location /serve { content_by_lua_block {
        local server, err, kind = sockproc.serve({ address = "ADDRESS.other" })
        ngx.print(kind, ": ", err)
    } }
    location /foreground { content_by_lua_block {
        ngx.print(select(2, pcall(sockproc.serve, { background = false })))
    } }
}
"""


@unittest.skipUnless(os.geteuid() == 0, "only root can start servers as somebody else")
class Serve(unittest.TestCase):
    def setUp(self):
        self.address = f"unix:{directory(self)}/sock"

    def nginx(self, options: str, **more) -> Nginx:
        options = f'address = "{self.address}", {options}'
        nginx = Nginx(
            self,
            HTTP.replace("OPTIONS", options).replace("ADDRESS", self.address),
            **more,
        )
        said = nginx.get("/init")
        if said.isdecimal():
            self.addCleanup(end, int(said))
        return nginx

    def test_it_refuses_to_serve_as_root(self):
        said = self.nginx("").get("/init")
        self.assertTrue(said.startswith("refused: refusing to serve as root"), said)
        self.assertIn("allow_root", said)
        self.assertFalse(pathlib.Path(self.address.removeprefix("unix:")).exists())

    def test_it_serves_as_root_when_told_so(self):
        nginx = self.nginx("allow_root = true")
        self.assertEqual(nginx.get("/run?cmd=id%20-u"), "0\n")

    def test_it_serves_as_the_given_user_with_no_group_of_roots(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        status = pathlib.Path(f"/proc/{server}/status").read_text()
        self.assertIn(f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n", status)
        self.assertRegex(status, r"(?m)^Groups:\t *$")
        self.assertEqual(nginx.get("/run?cmd=id%20-u"), f"{NOBODY}\n")

    def test_a_user_that_is_none_is_an_error(self):
        said = self.nginx('user = "no such user"').get("/init")
        self.assertEqual(
            said,
            f'connect: cannot serve {self.address.removeprefix("unix:")}: no user "no such user"',
        )

    def test_the_server_is_a_daemon_of_its_own(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        self.assertEqual(os.getsid(server), server)
        parent = (
            pathlib.Path(f"/proc/{server}/stat")
            .read_text()
            .rpartition(")")[2]
            .split()[1]
        )
        self.assertNotEqual(int(parent), nginx.process.pid)
        self.assertEqual(os.readlink(f"/proc/{server}/cwd"), "/")

    def test_a_reload_reuses_the_server(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        nginx.reload()
        poll("the reloaded configuration", lambda: nginx.get("/init") == "reused")
        self.assertTrue(is_alive(server))
        self.assertEqual(nginx.get("/run?cmd=echo%20%24PPID"), f"{server}\n")

    def test_a_reload_starts_a_server_that_has_gone(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        os.kill(server, signal.SIGTERM)
        poll("the server's end", lambda: not is_alive(server))
        nginx.reload()
        # An old worker may still answer, even after a new one did.
        said = poll(
            "the reloaded configuration",
            lambda: {nginx.get("/init")} - {str(server)},
        )
        another = int(said.pop())
        self.addCleanup(end, another, signal.SIGKILL)
        self.assertEqual(nginx.get("/run?cmd=echo%20again"), "again\n")
        # A reloading nginx blocks signals, in what it starts too.
        os.kill(another, signal.SIGTERM)
        poll("the other server's end", lambda: not is_alive(another))

    def test_nginx_can_restart_on_its_port_while_the_server_lives(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        nginx.stop()
        self.assertTrue(is_alive(server))
        held = [
            os.readlink(f"/proc/{server}/fd/{fd}")
            for fd in os.listdir(f"/proc/{server}/fd")
        ]
        self.assertEqual(
            [name for name in held if "error.log" in name or str(nginx.prefix) in name],
            [],
        )
        again = self.nginx('user = "nobody"', port=nginx.port)
        self.assertEqual(again.get("/init"), "reused")
        self.assertEqual(again.get("/run?cmd=echo%20%24PPID"), f"{server}\n")

    def test_elsewhere_than_in_init_it_would_block_a_worker(self):
        nginx = self.nginx('user = "nobody"')
        self.assertRegex(nginx.get("/serve"), r"\Aphase: .*init_by_lua")
        self.assertIn("nginx serves only in the background", nginx.get("/foreground"))


if __name__ == "__main__":
    main()
