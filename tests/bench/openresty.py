"""Worker CPU a request and requests/s in nginx: our client against a hand-written cosocket client.

    tests/bench/openresty.sh [--rounds N] [--seconds N]

Both run in one nginx with one worker, under wrk, in turns within every round, with canned
replies (the cost of the client itself) and with `true` (the cost of a run). The figures are
medians over the rounds; the ratios are ours to the hand-written one's.
"""

import argparse
import pathlib
import re
import statistics
import subprocess
import sys
import unittest

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent / "openresty"))
from support import Nginx, directory, end, poll, start_server

HTTP = f"""
lua_socket_buffer_size 64k;
init_by_lua_block {{
    sockproc = require("sockproc")
    handwritten = dofile("{HERE}/openresty_handwritten.lua")
    clients = setmetatable({{}}, {{ __index = function(clients, server)
        clients[server] = sockproc.client({{ server = server }})
        return clients[server]
    end }})
}}
server {{
    listen 127.0.0.1:PORT;
    keepalive_requests 100000000;
    location /ours {{ content_by_lua_block {{
        local result = clients[ngx.var.arg_server]:run("true")
        ngx.print(result.status, result.stdout, result.stderr)
    }} }}
    location /handwritten {{ content_by_lua_block {{
        ngx.print(handwritten.run("true", "", ngx.var.arg_server))
    }} }}
}}
"""
CLIENTS = ("ours", "handwritten")


def cpu_ns(pid: int) -> int:
    return int(pathlib.Path(f"/proc/{pid}/schedstat").read_text().split()[0])


def measure(
    nginx: Nginx, path: str, seconds: int, expected: str
) -> tuple[float, float]:
    """Microseconds of the worker's CPU a request, and requests a second."""
    if nginx.get(path) != expected:
        raise SystemExit(f"{path} answers {nginx.get(path)!r}, not {expected!r}")
    (worker,) = nginx.workers()
    url = f"http://127.0.0.1:{nginx.port}{path}"
    before = cpu_ns(worker)
    wrk = subprocess.run(
        ["wrk", "-t1", "-c16", f"-d{seconds}s", url],
        check=True,
        capture_output=True,
        text=True,
    )
    spent = cpu_ns(worker) - before
    if "Non-2xx" in wrk.stdout or "Socket errors" in wrk.stdout:
        raise SystemExit(f"{path}: failed requests\n{wrk.stdout}")
    requests = int(re.search(r"(\d+) requests in", wrk.stdout)[1])
    return spent / requests / 1000, float(
        re.search(r"Requests/sec: +([\d.]+)", wrk.stdout)[1]
    )


def bench(test: unittest.TestCase, rounds: int, seconds: int) -> None:
    canned = str(directory(test) / "sock")
    process = subprocess.Popen(["luajit", HERE / "openresty_canned.lua", canned])
    test.addCleanup(process.wait)
    test.addCleanup(end, process.pid)
    poll("the canned server", pathlib.Path(canned).exists)
    server, _ = start_server(test)
    nginx = Nginx(test, HTTP)

    print(f"{'':10}{'':12}{'CPU us/request':>16}{'requests/s':>14}")
    for name, address, expected in (
        ("canned", f"unix:{canned}", "0hello\n"),
        ("true", server, "0"),
    ):
        figures = {client: [] for client in CLIENTS}
        for number in range(rounds):
            for client in CLIENTS if number % 2 else reversed(CLIENTS):
                figures[client].append(
                    measure(nginx, f"/{client}?server={address}", seconds, expected)
                )
        medians = {
            client: [statistics.median(values) for values in zip(*figures[client])]
            for client in CLIENTS
        }
        for client, (cpu, rate) in medians.items():
            print(f"{name:10}{client:12}{cpu:16.1f}{rate:14.0f}")
        cpu, rate = (
            ours / theirs
            for ours, theirs in zip(medians["ours"], medians["handwritten"])
        )
        print(f"{name:10}{'ratio':12}{cpu:16.2f}{rate:14.2f}", flush=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--seconds", type=int, default=3, help="for each client in a round"
    )
    arguments = parser.parse_args()
    case = unittest.TestCase()
    try:
        bench(case, arguments.rounds, arguments.seconds)
    finally:
        case.doCleanups()
