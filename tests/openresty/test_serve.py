"""Servers that nginx starts."""

import concurrent.futures
import os
import pathlib
import pwd
import re
import signal
import subprocess
import sys
import unittest

from support import Nginx, children, directory, end, is_alive, main, poll

NOBODY = pwd.getpwnam("nobody").pw_uid

HTTP = """
lua_check_client_abort on;
init_by_lua_block {
    sockproc = require("sockproc")
    server, err, kind = sockproc.serve({ OPTIONS })
    client = sockproc.client({ server = "ADDRESS" })
    function say(result, err, kind) ngx.print(result and result.stdout or kind .. ": " .. err) end
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
    location /stop { content_by_lua_block { say(server:stop()) } }
    location /sleep { content_by_lua_block {
        say(client:run("echo $$ >" .. ngx.var.arg_file .. "; sleep 31"))
    } }
    location /yes { content_by_lua_block {
        say(client:run({ "yes" }, nil, { max_output = 1000, timeout = 500 }))
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


@unittest.skipUnless(os.geteuid() == 0, "only root can start servers as another user")
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

    def test_it_serves_as_the_given_user_with_the_groups_of_that_user(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        status = pathlib.Path(f"/proc/{server}/status").read_text()
        self.assertIn(f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}\t{NOBODY}\n", status)
        groups = os.getgrouplist("nobody", pwd.getpwnam("nobody").pw_gid)
        said = re.search(r"(?m)^Groups:\t(.*)$", status)[1].split()
        self.assertEqual(sorted(map(int, said)), sorted(groups))
        home = nginx.get("/run?cmd=echo%20%24HOME").strip()
        self.assertEqual(home, pwd.getpwnam("nobody").pw_dir)
        self.assertEqual(nginx.get("/run?cmd=id%20-u"), f"{NOBODY}\n")

    def test_an_unknown_user_is_an_error(self):
        said = self.nginx('user = "no such user"').get("/init")
        self.assertEqual(
            said,
            f'connect: cannot serve {self.address.removeprefix("unix:")}: there is no user "no such user"',
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
        # A reloading nginx blocks signals; the processes that it starts inherit that.
        os.kill(another, signal.SIGTERM)
        poll("the other server's end", lambda: not is_alive(another))

    def test_a_server_that_has_gone_is_started_again_by_the_next_calls(self):
        nginx = self.nginx('user = "nobody"', workers=2)
        first = int(nginx.get("/init"))
        for how in (signal.SIGKILL, signal.SIGTERM):
            os.kill(first, how)
            poll("the server's end", lambda pid=first: not is_alive(pid))
            with concurrent.futures.ThreadPoolExecutor(20) as pool:
                said = set(pool.map(nginx.get, ["/run?cmd=echo%20%24PPID"] * 20))
            self.assertEqual(len(said), 1, said)
            again = int(said.pop())
            self.addCleanup(end, again)
            self.assertNotEqual(again, first)
            status = pathlib.Path(f"/proc/{again}/status").read_text()
            self.assertIn(f"Uid:\t{NOBODY}\t", status)
            self.assertEqual(os.getsid(again), again)
            first = again
        # It has the environment of the first one, though nginx empties that of its workers.
        path = nginx.get("/run?cmd=echo%20%24PATH").strip()
        self.assertEqual(path, os.environ["PATH"])

    def test_a_worker_of_another_user_says_that_it_cannot_start_the_server_again(self):
        nginx = self.nginx('user = "nobody", mode = 666', user="www-data")
        server = int(nginx.get("/init"))
        os.kill(server, signal.SIGKILL)
        poll("the server's end", lambda: not is_alive(server))
        self.assertRegex(
            nginx.get("/run?cmd=true"),
            rf"connection refused; user \d+ cannot start it again as user {NOBODY}",
        )

    def test_a_server_that_cannot_come_back_is_an_error_and_it_comes_when_it_can(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        place = pathlib.Path(self.address.removeprefix("unix:"))
        os.kill(server, signal.SIGKILL)
        poll("the server's end", lambda: not is_alive(server))
        place.unlink()
        place.write_text("in the way")
        self.assertIn("connection refused", nginx.get("/run?cmd=true"))
        poll("the reason", lambda: "cannot listen" in nginx.log())
        place.unlink()
        poll("its return", lambda: nginx.get("/run?cmd=echo+hi") == "hi\n")
        self.addCleanup(end, int(nginx.get("/run?cmd=echo%20%24PPID")))

    def test_a_stranger_is_not_taken_for_the_server(self):
        place = self.address.removeprefix("unix:")
        script = (
            "import os, socket, sys, time; os.setuid(int(sys.argv[1]));"
            "s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[2]); s.listen();"
            "print(flush=True); time.sleep(60)"
        )
        command = [sys.executable, "-c", script, str(NOBODY), place]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as stranger:
            self.addCleanup(stranger.kill)
            stranger.stdout.readline()
            said = self.nginx('user = "www-data"').get("/init")
            self.assertRegex(said, rf"\Arefused: .* is served by user {NOBODY}, not by")
            stranger.kill()

    def test_stop_in_a_handler_would_freeze_the_worker_and_is_refused(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        self.assertRegex(nginx.get("/stop"), r"\Aphase: .*init_by_lua")
        self.assertTrue(is_alive(server))

    def test_the_command_of_a_request_that_gives_up_is_ended(self):
        nginx = self.nginx('user = "nobody"')
        place = self.address.removeprefix("unix:")
        pids = [pathlib.Path(f"{place}.{n}") for n in range(20)]
        clients = [
            subprocess.Popen(
                ["curl", "-s", f"http://127.0.0.1:{nginx.port}/sleep?file={path}"],
                stdout=subprocess.DEVNULL,
            )
            for path in pids
        ]
        for path in pids:
            poll("a command", lambda path=path: path.exists() and path.read_text())
        for client in clients:
            client.kill()
            client.wait()
        for path in pids:
            poll("its end", lambda path=path: not is_alive(int(path.read_text())))

    def test_output_without_end_ends_with_the_wait_for_it(self):
        nginx = self.nginx('user = "nobody"')
        server = int(nginx.get("/init"))
        self.assertRegex(nginx.get("/yes"), r"\Atimeout: ")
        poll("the end of yes", lambda: children(server) == [])

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
