"""In which phases commands can be run, and what happens in the others."""

import socket
import ssl
import subprocess
import unittest

from support import Nginx, directory, main, poll, start_server

HTTP = """
lua_shared_dict said 1m;
init_by_lua_block {
    sockproc = require("sockproc")
    function attempt()
        local result, err, kind = sockproc.run("touch MARKER; echo ran", nil, { server = "SERVER" })
        return result and result.stdout:gsub("\\n", "") or kind .. ": " .. err
    end
    function note() ngx.shared.said:set(ngx.get_phase(), attempt()) end
    in_init = attempt()
}
init_worker_by_lua_block { note() }
exit_worker_by_lua_block { io.open("PREFIX/exit_worker", "w"):write(attempt()):close() }
upstream balanced {
    server 0.0.0.1;
    balancer_by_lua_block { note() require("ngx.balancer").set_current_peer("127.0.0.1", PORT) }
}
ssl_certificate DIR/cert.pem;
ssl_certificate_key DIR/key.pem;
ssl_session_tickets off;
ssl_protocols TLSv1.2;
ssl_session_store_by_lua_block { note() }
ssl_session_fetch_by_lua_block { note() }
server {
    listen unix:PREFIX/tls.sock ssl;
    ssl_client_hello_by_lua_block { note() }
    ssl_certificate_by_lua_block { note() }
    location / { return 200 tls; }
}
server {
    listen 127.0.0.1:PORT;
    server_rewrite_by_lua_block {
        if ngx.var.uri == "/server_rewrite" then ngx.print(attempt()) ngx.exit(200) end
    }
    location /said { content_by_lua_block { ngx.print(ngx.shared.said:get(ngx.var.arg_phase)) } }
    location /init { content_by_lua_block { ngx.print(in_init) } }
    location /set { set_by_lua_block $said { return attempt() } return 200 $said; }
    location /rewrite { rewrite_by_lua_block { ngx.print(attempt()) ngx.exit(200) } }
    location /access { access_by_lua_block { ngx.print(attempt()) ngx.exit(200) } }
    location /content { content_by_lua_block { ngx.print(attempt()) } }
    location /timer { content_by_lua_block { ngx.timer.at(0, note) } }
    location /header_filter { return 200 ""; header_filter_by_lua_block { note() } }
    location /body_filter { return 200 "x"; body_filter_by_lua_block { note() } }
    location /log { return 200 ""; log_by_lua_block { note() } }
    location /balancer { proxy_pass http://balanced/init; }
    location /gsub { content_by_lua_block { string.gsub("x", "x", function() ngx.print(attempt()) end) } }
    location /sort { content_by_lua_block {
        local said
        table.sort({ 1, 2 }, function(a, b) said = said or attempt() return a < b end)
        ngx.print(said)
    } }
    location /module { content_by_lua_block { ngx.print(require("top_level")) } }
    location /nested { content_by_lua_block {
        local _, said = pcall(coroutine.wrap(function() return select(2, pcall(attempt)) end))
        local thread = ngx.thread.spawn(attempt)
        local _, other = ngx.thread.wait(thread)
        local metatable = setmetatable({}, { __index = attempt })
        ngx.print(said, " ", other, " ", metatable.x)
    } }
    location /callback { content_by_lua_block {
        local said = ngx.re.gsub("x", "x", function() return attempt() end)
        ngx.print(said)
    } }
}
"""


class Phases(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, _ = start_server(cls)
        cls.context = ssl._create_unverified_context()
        place = directory(cls)
        cls.marker = place / "marker"
        subprocess.run(
            [
                "openssl",
                "req",
                "-x509",
                "-newkey",
                "rsa:2048",
                "-nodes",
                "-subj",
                "/CN=localhost",
            ]
            + ["-keyout", place / "key.pem", "-out", place / "cert.pem", "-days", "2"],
            check=True,
            capture_output=True,
        )
        http = (
            HTTP.replace("SERVER", cls.server)
            .replace("DIR", str(place))
            .replace("MARKER", str(cls.marker))
        )
        cls.nginx = Nginx(cls, http)
        (cls.nginx.prefix / "top_level.lua").write_text("return attempt()")

    def setUp(self):
        self.marker.unlink(missing_ok=True)

    def said(self, phase: str) -> str:
        """The notes of a phase that has no output."""
        return poll(
            f"a word from {phase}",
            lambda: self.nginx.get(f"/said?phase={phase}").replace("nil", ""),
        )

    def tls(self, session: ssl.SSLSession | None = None) -> ssl.SSLSession | None:
        """Asks over TLS, resuming a session if one is given."""
        with socket.socket(socket.AF_UNIX) as plain:
            plain.connect(str(self.nginx.prefix / "tls.sock"))
            with self.context.wrap_socket(
                plain, server_hostname="localhost", session=session
            ) as secure:
                secure.sendall(b"GET / HTTP/1.0\r\n\r\n")
                while secure.recv(4096):
                    pass
                return secure.session

    def test_a_command_runs_in_rewrite_access_and_content(self):
        for phase in ("server_rewrite", "rewrite", "access", "content"):
            self.assertEqual(self.nginx.get(f"/{phase}"), "ran", phase)
            self.assertTrue(self.marker.exists(), phase)
            self.marker.unlink()

    def test_a_command_runs_in_a_timer(self):
        self.nginx.get("/timer")
        self.assertEqual(self.said("timer"), "ran")

    def test_a_command_runs_while_a_certificate_is_chosen(self):
        self.tls()
        self.assertEqual(self.said("ssl_cert"), "ran")

    def test_elsewhere_in_a_tls_handshake_the_error_names_the_way_out(self):
        self.tls(self.tls())
        for phase in ("ssl_client_hello", "ssl_session_store", "ssl_session_fetch"):
            self.assert_refused(self.said(phase), phase)

    def test_where_cosockets_are_off_the_error_names_the_way_out(self):
        self.assert_refused(self.nginx.get("/init"), "init")
        self.assert_refused(self.nginx.get("/set"), "set")
        self.assert_refused(self.said("init_worker"), "init_worker")
        for phase in ("header_filter", "body_filter", "log", "balancer"):
            self.nginx.get(f"/{phase}")
            self.assert_refused(self.said(phase), phase)
        self.assertFalse(self.marker.exists())

    def test_a_leaving_worker_cannot_run_a_command(self):
        nginx = Nginx(
            self, HTTP.split("upstream")[0] + "server { listen 127.0.0.1:PORT; }"
        )
        nginx.stop()
        said = (nginx.prefix / "exit_worker").read_text()
        self.assert_refused(said, "exit_worker", "nor do timers start any more")

    def test_in_init_a_timer_in_init_worker_is_the_way_out(self):
        self.assert_refused(self.nginx.get("/init"), "init", "init_worker_by_lua")

    def assert_refused(self, said: str, phase: str, hint: str = "ngx.timer.at") -> None:
        self.assertTrue(
            said.startswith(f"phase: no command can be run in the '{phase}' phase"),
            said,
        )
        self.assertIn(hint, said)

    def test_inside_a_c_call_the_error_comes_before_anything_is_sent(self):
        for place in ("gsub", "sort", "module"):
            said = self.nginx.get(f"/{place}")
            self.assertTrue(
                said.startswith("phase: no command can be run inside a C call"), said
            )
            self.assertIn("string.gsub", said)
        self.assertFalse(self.marker.exists())

    def test_what_can_yield_can_wait(self):
        self.assertEqual(self.nginx.get("/nested"), "ran ran ran")
        self.assertEqual(self.nginx.get("/callback"), "ran")


if __name__ == "__main__":
    main()
