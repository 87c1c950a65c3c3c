"""Ctrl-C ends the wait at once, and the command if the server was told so."""

from __future__ import annotations

from pathlib import Path

import pytest

from support import is_alive, python, read_pid, wait_until

SYNC = "sockproc.run(command, server=server)"
ASYNCIO = "asyncio.run(sockproc.aio.run(command, server=server))"
UVLOOP = "uvloop.run(sockproc.aio.run(command, server=server))"
TRIO = "trio.run(lambda: sockproc.aio.run(command, server=server))"
IDS = ["run", "asyncio", "uvloop", "trio"]

PROGRAM = """
import asyncio, os, signal, sys, threading, time
from pathlib import Path
import sockproc, trio, uvloop
server, directory = sys.argv[1:]
delays = []

def interrupt(pidfile):
    # Only when the command runs is the main thread sure to wait for it.
    while not pidfile.exists() or not pidfile.read_text().endswith("\\n"):
        time.sleep(0.01)
    time.sleep(0.05)
    global sent
    sent = time.monotonic()
    SEND

for number in range(5):
    pidfile = Path(directory, f"pid{number}")
    command = f"echo $$ >{pidfile}; sleep 60"
    thread = threading.Thread(target=interrupt, args=(pidfile,))
    thread.start()
    try:
        RUN
    except KeyboardInterrupt:
        delays.append(time.monotonic() - sent)
    thread.join()
print(*delays)
"""
TO_PROCESS = "os.kill(os.getpid(), signal.SIGINT)"
TO_THIS_THREAD = "signal.pthread_kill(threading.get_ident(), signal.SIGINT)"


@pytest.mark.parametrize("run", [SYNC, ASYNCIO, UVLOOP, TRIO], ids=IDS)
def test_ctrl_c_is_raised_at_once_and_ends_the_command(
    run: str, killing_server: str, tmp_path: Path
) -> None:
    program = PROGRAM.replace("RUN", run).replace("SEND", TO_PROCESS)
    delays = [float(x) for x in python(program, killing_server, str(tmp_path)).split()]
    assert len(delays) == 5
    # The promise; the best of five, as the machine may be busy with others.
    assert min(delays) < 0.05
    for number in range(5):
        pid = read_pid(tmp_path / f"pid{number}")
        wait_until(lambda: not is_alive(pid), f"end of process {pid}")


def test_ctrl_c_is_raised_when_another_thread_got_the_signal(
    killing_server: str, tmp_path: Path
) -> None:
    program = PROGRAM.replace("RUN", SYNC).replace("SEND", TO_THIS_THREAD)
    delays = [float(x) for x in python(program, killing_server, str(tmp_path)).split()]
    assert len(delays) == 5
    assert min(delays) < 0.05


def test_a_signal_handler_that_raises_nothing_ends_nothing() -> None:
    printed = python("""
import os, signal, sockproc, threading
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
for _ in range(20):
    timer = threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1))
    timer.start()
    assert sockproc.run("sleep 0.2; echo hi").stdout == b"hi\\n"
    timer.join()
print(len(heard))
""")
    assert printed == "20\n"


def test_ctrl_c_while_output_pours_in_is_raised(server: str) -> None:
    printed = python("""
import os, signal, sockproc, threading
timer = threading.Timer(0.5, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
try:
    while True:
        sockproc.run("head -c 20M /dev/zero")
except KeyboardInterrupt:
    print("interrupted")
timer.join()
""")
    assert printed == "interrupted\n"
