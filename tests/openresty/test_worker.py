"""The cost for a worker: no request waits for a command, nothing leaks, reloads lose nothing."""

import asyncio
import http.client
import os
import time
import unittest
from itertools import pairwise

from support import (
    DEADLINE,
    Nginx,
    descriptors,
    is_alive,
    main,
    poll,
    resident_kib,
    start_server,
)

#: Set SOCKPROC_TEST_RUNS=100000 for the full count; it takes some minutes.
RUNS = int(os.environ.get("SOCKPROC_TEST_RUNS", "8000"))

SERVER_BLOCK = """
server {
    listen 127.0.0.1:PORT;
    keepalive_requests 1000000;
    location /hello { content_by_lua_block { ngx.print("hello") } }
    location /run { content_by_lua_block {
        local sockproc = require("sockproc")
        local result, err = sockproc.run(ngx.unescape_uri(ngx.var.arg_cmd), nil, { server = "SERVER" })
        ngx.print(result and result.stdout or "lost: " .. err)
    } }
    location /many { content_by_lua_block {
        local client = require("sockproc").client({ server = "SERVER" })
        for i = 1, tonumber(ngx.var.arg_runs) do
            local result, err = client:run("exit 3", "stdin")
            if not result or result.code ~= 3 then return ngx.print("lost: ", err) end
        end
        ngx.print("done")
    } }
    location /collect { content_by_lua_block { collectgarbage() collectgarbage() ngx.print("collected") } }
}
"""


class Worker(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.server, _ = start_server(cls)

    def nginx(self, more: str = "", **options) -> Nginx:
        return Nginx(
            self, more + SERVER_BLOCK.replace("SERVER", self.server), **options
        )

    def test_20_commands_of_2_seconds_delay_no_other_request(self):
        nginx = self.nginx()

        async def commands() -> list[str]:
            asked = (
                nginx.get_async(f"/run?cmd=sleep+2;echo+{n}".replace("+", "%20"))
                for n in range(20)
            )
            return await asyncio.gather(*asked)

        async def nothing() -> list[str]:
            await asyncio.sleep(2)
            return []

        def p99_beside(work) -> tuple[float, list[str]]:
            with asyncio.Runner() as runner:
                answers = asyncio.run_coroutine_threadsafe(work(), runner.get_loop())
                took = runner.run(asyncio.to_thread(self.sample, nginx, answers))
            print(f"{len(took)} samples of /hello")
            return sorted(took)[len(took) * 99 // 100], answers.result()

        # The machine may be busy, which slows both; a worker that waits for a command takes 2 s.
        attempts = []
        while len(attempts) < 5:
            idle, _ = p99_beside(nothing)
            busy, answers = p99_beside(commands)
            self.assertEqual(answers, [f"{n}\n" for n in range(20)])
            if busy < max(0.005, 3 * idle):
                return
            attempts.append((idle, busy))
        self.fail(f"p99 in seconds without and with commands: {attempts}")

    def sample(self, nginx: Nginx, answers) -> list[float]:
        """How long each /hello took while the commands ran."""
        connection = http.client.HTTPConnection(
            "127.0.0.1", nginx.port, timeout=DEADLINE
        )
        took = []
        while not answers.done():
            start = time.perf_counter()
            connection.request("GET", "/hello")
            body = connection.getresponse().read()
            took.append(time.perf_counter() - start)
            assert body == b"hello"
        connection.close()
        return took

    def runs(self, nginx: Nginx, runs: int, at_once: int = 8) -> None:
        async def all_of_them() -> list[str]:
            return await asyncio.gather(
                *(
                    nginx.get_async(f"/many?runs={runs // at_once}")
                    for _ in range(at_once)
                )
            )

        self.assertEqual(set(asyncio.run(all_of_them())), {"done"})
        nginx.get("/collect")

    def test_memory_and_descriptors_stay_flat(self):
        nginx = self.nginx()
        worker = nginx.workers()[0]
        self.runs(nginx, 2000)
        memory, fds = [resident_kib(worker)], descriptors(worker)
        for _ in range(10):
            self.runs(nginx, RUNS // 10)
            memory.append(resident_kib(worker))
        print(f"{RUNS} runs: RSS in KiB {memory}")
        # The collector may use more memory at any time; a leak grows all the time.
        growth = sorted(after - before for before, after in pairwise(memory))
        self.assertLess(growth[5], 32)
        self.assertLess(memory[-1] - memory[0], 8192)
        poll("as few descriptors as before", lambda: descriptors(worker) <= fds)

    def test_a_reload_under_load_loses_nothing_and_leaks_nothing(self):
        nginx = self.nginx(workers=2)
        nginx.reload()
        fds = descriptors(nginx.process.pid)
        workers = set(nginx.workers())

        async def ask(until: asyncio.Event, answers: list[str]) -> None:
            while not until.is_set():
                answers.append(
                    await nginx.get_async("/run?cmd=sleep%200.05;echo%20right")
                )

        async def load() -> list[str]:
            until, answers = asyncio.Event(), []
            askers = [asyncio.create_task(ask(until, answers)) for _ in range(16)]
            for _ in range(5):
                await asyncio.to_thread(nginx.reload)
                await asyncio.sleep(0.2)
            until.set()
            await asyncio.gather(*askers)
            return answers

        answers = asyncio.run(load())
        self.assertEqual(set(answers), {"right\n"})
        self.assertGreater(len(answers), 100)
        poll("the end of the old workers", lambda: len(nginx.workers()) == 2)
        self.assertFalse(workers & set(nginx.workers()))
        poll(
            "as few descriptors as before",
            lambda: descriptors(nginx.process.pid) <= fds,
        )
        self.assertNotRegex(nginx.log(), r"exited on signal|\[(crit|alert|emerg)\]")

    def test_without_the_code_cache_a_worker_lives_on(self):
        nginx = self.nginx("lua_code_cache off;")
        worker = nginx.workers()[0]
        for _ in range(3):
            self.assertEqual(
                [nginx.get("/run?cmd=echo%20hi") for _ in range(100)], ["hi\n"] * 100
            )
        memory = resident_kib(worker)
        for _ in range(500):
            nginx.get("/run?cmd=true")
        self.assertEqual(nginx.workers(), [worker])
        self.assertTrue(is_alive(worker))
        # Each request had a Lua state of its own; a leaked one takes some 200 KiB.
        self.assertLess(resident_kib(worker) - memory, 500 * 32)
        self.assertNotIn("exited on signal", nginx.log())


if __name__ == "__main__":
    main()
