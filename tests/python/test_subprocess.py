"""`from sockproc import subprocess`: what is ours. The standard module's own tests are in
`test_their_tests.py`."""

from __future__ import annotations

import errno
import os
import signal
import subprocess as standard
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import sockproc
from sockproc import subprocess
from support import is_alive, python, read_pid, wait_until


def test_it_has_every_name_of_the_standard_module_and_its_types_and_constants() -> None:
    assert sorted(subprocess.__all__) == sorted(standard.__all__)
    ours = {"Popen", "call", "check_call", "check_output", "getoutput"}
    ours |= {"getstatusoutput", "run"}
    for name in standard.__all__:
        same = getattr(subprocess, name) is getattr(standard, name)
        assert same is (name not in ours), name
    assert issubclass(subprocess.Popen, standard.Popen)


def test_the_server_runs_the_commands(server: str) -> None:
    parent = sockproc.run("echo $PPID").stdout
    assert subprocess.check_output("echo $PPID", shell=True) == parent
    assert subprocess.getoutput("echo $PPID") == parent.decode().strip()


def test_a_command_sees_this_process_as_it_is_at_the_call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OF_THIS_CALL", "yes")
    before = os.umask(0o135)
    try:
        seen = subprocess.check_output("pwd; echo $OF_THIS_CALL; umask", shell=True)
    finally:
        os.umask(before)
    assert seen == b"%s\nyes\n0135\n" % bytes(tmp_path)


def test_signals_that_this_process_ignores_are_ignored_by_its_commands() -> None:
    before = signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    try:
        seen = subprocess.check_output(["grep", "SigIgn", "/proc/self/status"])
        kept = subprocess.check_output(
            ["grep", "SigIgn", "/proc/self/status"], restore_signals=False
        )
    finally:
        signal.signal(signal.SIGUSR1, before)
    ignored = int(seen.split()[1], 16)
    assert ignored == 1 << (signal.SIGUSR1 - 1)
    assert int(kept.split()[1], 16) & 1 << (signal.SIGPIPE - 1)


def test_descriptors_are_passed_under_their_numbers(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        number = file.fileno()
        subprocess.check_call(
            f"echo hi >>/dev/fd/{number}", shell=True, pass_fds=[number]
        )
        os.set_inheritable(number, True)
        subprocess.check_call(
            f"echo ho >>/dev/fd/{number}", shell=True, close_fds=False
        )
    assert (tmp_path / "file").read_text() == "hi\nho\n"
    with pytest.raises(ValueError, match="at most 16 descriptors"):
        subprocess.call("true", pass_fds=range(100, 120))


def test_what_no_process_but_ours_could_call_is_refused() -> None:
    with pytest.raises(ValueError, match="preexec_fn is not supported"):
        subprocess.call("true", preexec_fn=os.getpid)


def test_one_except_is_for_both() -> None:
    with pytest.raises(FileNotFoundError) as missing:
        subprocess.run(["no-such-program"])
    assert isinstance(missing.value, sockproc.NotFound)
    assert missing.value.filename == "no-such-program"
    with pytest.raises(standard.CalledProcessError):
        subprocess.check_call("exit 3", shell=True)
    with pytest.raises(standard.TimeoutExpired):
        subprocess.call(["sleep", "60"], timeout=0.1)


def test_threads_may_wait_for_signal_and_poll_one_command() -> None:
    process: subprocess.Popen[bytes] = subprocess.Popen(["sleep", "60"])
    codes: list[int] = []
    waiting = [
        threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(5)
    ]
    for thread in waiting:
        thread.start()
    assert process.poll() is None
    process.kill()
    for thread in waiting:
        thread.join(timeout=30)
    assert codes == [-9] * 5
    assert process.poll() == process.returncode == -9
    process.kill()


@pytest.mark.usefixtures("fds")
def test_commands_leave_no_descriptor_behind() -> None:
    for _ in range(20):
        subprocess.run(["cat"], input=b"x", capture_output=True)
        with pytest.raises(FileNotFoundError):
            subprocess.run(["no-such-program"], capture_output=True)
        with pytest.raises(standard.TimeoutExpired):
            subprocess.run(["sleep", "60"], timeout=0.01)


def test_a_command_ends_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = f"""
import os
from sockproc import subprocess
subprocess.Popen("sleep 60 & echo $! >{tmp_path}/child; echo $$ >{tmp_path}/pid; wait", shell=True)
while not os.path.exists("{tmp_path}/pid"): pass
os.kill(os.getpid(), 9)
"""
    died = standard.run([sys.executable, "-c", code], timeout=60)
    assert died.returncode == -9
    for name in ("pid", "child"):
        pid = read_pid(tmp_path / name)
        wait_until(lambda: not is_alive(pid), f"end of process {pid}")  # noqa: B023


@pytest.mark.parametrize("words", [1, 40], ids=["one word", "all together"])
def test_more_words_than_the_kernel_takes_are_its_error(words: int) -> None:
    for module in (standard, subprocess):
        with pytest.raises(OSError, match="Argument list too long: 'echo'") as raised:
            module.run(["echo", *["x" * 140_000] * words])
        assert raised.value.errno == errno.E2BIG
        assert raised.value.filename == "echo"


def test_an_error_about_a_descriptor_has_its_number() -> None:
    for module in (standard, subprocess):
        with pytest.raises(OSError, match="Bad file descriptor") as raised:
            module.run("true", shell=True, stderr=999)
        assert raised.value.errno == errno.EBADF


def test_a_lost_server_is_never_an_exit_code(tmp_path: Path) -> None:
    with sockproc.Server(tmp_path / "s") as own:
        environment: Any = {**os.environ, "SOCKPROC_SOCKET": own.address}
        code = """
import os, signal, sys
from sockproc import ConnectionLost, subprocess
process = subprocess.Popen(["sleep", "60"])
os.kill(int(sys.argv[1]), signal.SIGKILL)
try:
    process.wait()
except ConnectionLost as lost:
    print(lost.may_have_run, process.returncode)
"""
        done = standard.run(
            [sys.executable, "-c", code, str(own.pid)],
            capture_output=True,
            text=True,
            env=environment,
            timeout=60,
        )
    assert done.stdout == "True None\n", done.stderr


def test_a_server_that_speaks_classic_only_is_told(tmp_path: Path) -> None:
    from sockproc.testing import FakeServer

    with FakeServer(native=False), pytest.raises(sockproc.Unsupported):
        subprocess.call("true")


def test_starting_costs_the_same_however_big_the_caller_is() -> None:
    printed = python(
        """
import time
from sockproc import subprocess
def cost():
    costs = []
    for _ in range(10):
        began = time.thread_time()
        subprocess.Popen(["true"]).wait()
        costs.append(time.thread_time() - began)
    return min(costs)
small = cost()
heap = bytearray(400 << 20)
for at in range(0, len(heap), 4096): heap[at] = 1
print(cost() / small)
"""
    )
    assert float(printed) < 3
