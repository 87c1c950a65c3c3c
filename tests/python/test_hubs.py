"""Programs that gevent or eventlet has patched: a run lets their other greenlets go on."""

from __future__ import annotations

import pytest

from support import python

PATCH = {
    "gevent": "from gevent import monkey; monkey.patch_all()\nimport gevent\nspawn = gevent.spawn\njoin = gevent.joinall",
    "eventlet": "import eventlet; eventlet.monkey_patch()\nspawn = eventlet.spawn\njoin = lambda all: [one.wait() for one in all]",
}

CODE = """
import sys, time, sockproc
client = sockproc.Client(sys.argv[1])

# Ten that wait for one another: run one after the other, none would end.
def meet(n):
    line = f"touch {sys.argv[2]}.{n}; until [ $(ls {sys.argv[2]}.* | wc -l) -ge 10 ]; do sleep 0.02; done; cat"
    return client.run(line, b"x" * 300_000, timeout=60).stdout

ticks = []
def tick():
    while len(ticks) < 20:
        ticks.append(1)
        time.sleep(0.005)

outputs = []
join([spawn(lambda n=n: outputs.append(meet(n))) for n in range(10)] + [spawn(tick)])
print(len(outputs), set(map(len, outputs)), len(ticks))
try:
    client.run("sleep 30", timeout=2)
except sockproc.TimeoutExpired as error:
    print(error.may_have_run)
print(client.run("echo err >&2; exit 3").returncode)
try:
    client.run("true", stdin=b"", server="unused")
except TypeError as error:
    print(error)
"""


@pytest.mark.parametrize("hub", PATCH)
def test_runs_let_other_greenlets_go_on(hub: str, server: str, tmp_path: str) -> None:
    printed = python(PATCH[hub] + CODE, server, f"{tmp_path}/met")
    assert printed.splitlines() == [
        "10 {300000} 20",
        "True",
        "3",
        "run() does not take 'server'",
    ]


@pytest.mark.parametrize("hub", PATCH)
def test_aio_says_what_to_use_instead(hub: str, server: str) -> None:
    code = """
import asyncio, sys, sockproc
async def main():
    return await sockproc.aio.run("true", server=sys.argv[1])
try:
    print(asyncio.run(main()))
except ImportError as error:
    print(error)
"""
    printed = python(PATCH[hub] + code, server)
    assert "use sockproc.run" in printed
