"""The client in a worker: results, errors, and waits."""

import contextlib
import http.client
import re
import socket
import subprocess
import threading
import unittest

from support import (
    BINARY,
    ROOT,
    Nginx,
    descriptors,
    directory,
    end,
    free_port,
    main,
    poll,
    start_server,
)

HTTP = """
init_by_lua_block {
    sockproc = require("sockproc")
    package.preload["resty.shell"] = function() return require("sockproc.resty_shell") end
    function show(...)
        local shown = {}
        for i = 1, select("#", ...) do shown[i] = tostring((select(i, ...))) end
        ngx.print(table.concat(shown, "|"))
    end
}
server {
    listen 127.0.0.1:PORT;
    client_max_body_size 100m;
    location /conformance { content_by_lua_block {
        local cases = require("cases")
        local client = sockproc.client({ server = "SERVER" })
        local all = cases.read("ROOT/tests/conformance/cases.txt")
        for _, case in ipairs(all) do
            local wrong = cases.compare(case, client:run(case.command, case.stdin))
            if wrong then ngx.say(wrong) end
        end
        ngx.print("conformance: ", #all, " cases")
    } }
    location /run { content_by_lua_block {
        local arguments = ngx.req.get_uri_args()
        local result, err, kind = sockproc.run(arguments.cmd, arguments.stdin, {
            server = arguments.server or "SERVER",
            timeout = tonumber(arguments.timeout),
            max_output = tonumber(arguments.max_output),
        })
        if not result then return show(result, err, kind) end
        show(result.status, result.code, result.signal, result.stdout, result.stderr)
    } }
    location /cat { content_by_lua_block {
        local data = ("0123456789abcdef"):rep(1024 * 1024)
        local result = assert(sockproc.run("cat", data, { server = "SERVER" }))
        show(#data, result.stdout == data)
    } }
    location /unread { content_by_lua_block {
        local data = ("x"):rep(4 * 1024 * 1024)
        local result, err = sockproc.run("x", data, { server = ngx.var.arg_server })
        show(result and result.stderr, err)
    } }
    location /abort {
        lua_check_client_abort on;
        content_by_lua_block { show(sockproc.run("x", nil, { server = ngx.var.arg_server })) }
    }
    location /misuse { content_by_lua_block {
        show(pcall(function()
            sockproc.run({}, nil)
        end))
        show(pcall(sockproc.run, "x", nil, { timeout = "soon" }))
    } }
    location /panic { content_by_lua_block { show(require("sockproc_native").panic()) } }
    location /execute { content_by_lua_block {
        local shell = require("resty.shell")
        show(shell.execute("cat; echo err >&2; exit 2", { socket = "SERVER", data = "in" }))
        show("", shell.execute("sleep 20", { socket = "SERVER", timeout = 50 }))
        show("", shell.execute("true", { socket = "unix:/nowhere" }))
    } }
    location /shell_run { content_by_lua_block {
        local shell = require("resty.shell")
        show(shell.run("cat; exit 3", "in"))
        show("", shell.run({ "sleep", "20" }, nil, 50))
        show("", shell.run("echo 12345", nil, nil, 3))
    } }
    location /descriptors { content_by_lua_block { show(ngx.worker.pid()) } }
}
"""


class FakeServer:
    """Listens on a unix socket and handles each connection as it is told."""

    def __init__(self, test: unittest.TestCase, backlog: int = 16):
        path = directory(test) / "sock"
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(path))
        self.listener.listen(backlog)
        self.path = str(path)
        test.addCleanup(self.listener.close)

    def answer(self, data: bytes) -> None:
        """In a thread: answers one request, before it is complete too."""

        def serve() -> None:
            connection, _ = self.listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(data)

        threading.Thread(target=serve, daemon=True).start()


class Client(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, _ = start_server(cls)
        http = HTTP.replace("SERVER", cls.server).replace("ROOT", str(ROOT))
        cls.nginx = Nginx(cls, http, main=f"env SOCKPROC_SOCKET={cls.server};")

    def run_at(self, server: str, query: str = "cmd=x") -> str:
        return self.nginx.get(f"/run?{query}&server={server}")

    def test_every_conformance_case_passes(self):
        said = self.nginx.get("/conformance")
        self.assertRegex(said, r"\Aconformance: \d+ cases\Z")
        self.assertGreaterEqual(int(re.findall(r"\d+", said)[0]), 60)
        print(said)

    def test_a_result_has_status_code_signal_and_both_streams(self):
        said = self.nginx.get(
            "/run?cmd=cat;echo+err>%262;exit+3&stdin=in%00put".replace(">", "%3E")
        )
        self.assertEqual(said, "768|3|nil|in\0put|err\n")
        self.assertEqual(self.nginx.get("/run?cmd=kill+-9+$$"), "9|nil|9||")

    def test_16_mib_go_through_in_both_directions(self):
        self.assertEqual(self.nginx.get("/cat"), f"{16 << 20}|true")

    def test_a_server_on_tcp_answers_too(self):
        port, place = free_port(), directory(self)
        subprocess.run([BINARY, str(port), place / "pid"], check=True)
        self.addCleanup(end, int((place / "pid").read_text()))
        self.assertEqual(self.run_at(str(port), "cmd=echo+hi"), "0|0|nil|hi\n|")

    def test_failures_have_the_kinds_of_plain_lua(self):
        nowhere = (
            "nil|cannot connect to unix:/nowhere: no such file or directory|connect"
        )
        self.assertEqual(self.run_at("/nowhere"), nowhere)
        late = self.nginx.get("/run?cmd=sleep+20&timeout=50")
        self.assertRegex(late, r"\Anil\|no answer from .* may have run\|timeout\Z")
        large = self.nginx.get("/run?cmd=echo+12345&max_output=5")
        self.assertEqual(large, "nil|output is longer than 5 bytes|too_large")
        self.assertRegex(self.nginx.get("/run?cmd=a%0D%0Ab"), r"CRLF.*\|bad_request\Z")

    def test_a_server_that_answers_garbage_or_nothing_is_an_error(self):
        for data, kind in (
            (b"HTTP/1.1 400 Bad Request\r\n\r\n", "protocol"),
            (b"\x00\xff" * 500, "protocol"),
            (b"status:0\r\n-1\r\n", "protocol"),
            (b"status:0\r\n3\r\nab", "closed"),
            (b"stat", "closed"),
            (b"", "closed"),
        ):
            fake = FakeServer(self)
            fake.answer(data)
            said = self.run_at(fake.path)
            self.assertTrue(
                said.startswith("nil|") and said.endswith("|" + kind), (data, said)
            )

    def test_an_answer_that_comes_before_all_of_stdin_was_sent_counts(self):
        fake = FakeServer(self)
        fake.answer(b"status:19200\r\n0\r\n4\r\nbusy")
        self.assertEqual(self.nginx.get(f"/unread?server={fake.path}"), "busy|nil")

    def test_a_full_backlog_is_waited_for(self):
        fake = FakeServer(self, backlog=0)
        with contextlib.ExitStack() as fillers:
            for _ in range(10):
                filler = fillers.enter_context(socket.socket(socket.AF_UNIX))
                filler.setblocking(False)
                try:
                    filler.connect(fake.path)
                except BlockingIOError:
                    break
            else:
                self.fail("the backlog never filled")
            said = self.run_at(fake.path, "cmd=x&timeout=100")
            self.assertRegex(
                said, r"\Anil\|.*resource temporarily unavailable\|connect\Z"
            )
            answers = []
            waiting = threading.Thread(
                target=lambda: answers.append(self.run_at(fake.path))
            )
            waiting.start()
            retries = r"connect\(\) to unix:" + re.escape(fake.path)
            poll("a retry", lambda: len(re.findall(retries, self.nginx.log())) > 6)
        poll("the worker", lambda: self.accept_and_answer(fake))
        waiting.join(30)
        self.assertEqual(answers, ["0|0|nil|hi|"])

    def accept_and_answer(self, fake: FakeServer) -> bool:
        connection, _ = fake.listener.accept()
        with connection:
            is_request = connection.recv(65536) != b""
            if is_request:
                connection.sendall(b"status:0\r\n2\r\nhi0\r\n")
            return is_request

    def test_a_client_that_goes_away_ends_the_wait(self):
        fake = FakeServer(self)
        before = descriptors(self.nginx.workers()[0])
        browser = http.client.HTTPConnection("127.0.0.1", self.nginx.port, timeout=30)
        browser.request("GET", f"/abort?server={fake.path}")
        connection, _ = fake.listener.accept()
        with connection:
            connection.settimeout(30)
            self.assertEqual(connection.recv(100), b"x\r\n0\r\n")
            browser.close()
            self.assertEqual(
                connection.recv(100), b"", "the worker lets go of the server"
            )
        poll(
            "the worker's descriptors",
            lambda: descriptors(self.nginx.workers()[0]) <= before,
        )

    def test_misuse_and_a_panic_are_errors_that_can_be_printed(self):
        said = self.nginx.get("/misuse")
        self.assertRegex(
            said,
            r"\Afalse\|content_by_lua\(nginx.conf:\d+\):3: bad argument 'cmd'.*argv is empty",
        )
        self.assertIn("option 'timeout' (number expected, got string)", said)
        self.assertEqual(
            self.nginx.get("/panic"),
            "nil|sockproc_native.panic panicked: asked to panic|protocol",
        )

    def test_juces_resty_shell_is_served(self):
        said = self.nginx.get("/execute")
        self.assertEqual(
            said, "512|in|err\n|-1|nil|timeout|-2|nil|no such file or directory"
        )

    def test_openrestys_resty_shell_is_served(self):
        said = self.nginx.get("/shell_run")
        expected = "false|in||exit|3|nil|||failed to wait for process: timeout"
        self.assertEqual(
            said, expected + "|nil|1234||failed to read stdout: too much data"
        )


if __name__ == "__main__":
    main()
