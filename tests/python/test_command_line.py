"""`python -m sockproc`, and the script that pip installs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from sockproc import Server, run
from support import DEADLINE, answers, is_alive, wait_until

COMMANDS = [
    [sys.executable, "-m", "sockproc"],
    [str(Path(sys.executable).parent / "sockproc")],
]


@pytest.mark.parametrize("command", COMMANDS, ids=["-m", "script"])
def test_the_command_line_is_the_binarys(command: list[str], tmp_path: Path) -> None:
    def call(*args: str) -> subprocess.CompletedProcess[str]:
        words = [*command, *args]
        return subprocess.run(words, capture_output=True, text=True, timeout=60)

    assert re.fullmatch(r"sockproc \d+\.\d+\.\d+\n", call("--version").stdout)
    assert call().returncode == 2
    done = call("run", "--", "echo hi; echo err >&2; exit 3")
    assert (done.returncode, done.stdout, done.stderr) == (3, "hi\n", "err\n")
    assert call("run", "--", "kill -9 $$").returncode == 137


@pytest.mark.parametrize("command", COMMANDS, ids=["-m", "script"])
def test_the_classic_command_line_daemonizes(
    command: list[str], tmp_path: Path
) -> None:
    address, pidfile = tmp_path / "s", tmp_path / "pid"
    subprocess.run([*command, address, pidfile], check=True, timeout=60)
    pid = int(pidfile.read_text())
    try:
        assert run("echo hi", server=address).stdout == b"hi\n"
        assert int(run("echo $PPID", server=address).stdout) == pid
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_until(lambda: not is_alive(pid), "end of the daemon")
    assert not address.exists()
    assert not pidfile.exists()


@pytest.mark.parametrize("command", COMMANDS, ids=["-m", "script"])
def test_ctrl_c_ends_the_foreground_without_a_traceback(
    command: list[str], tmp_path: Path
) -> None:
    words = [*command, str(tmp_path / "s"), "--foreground"]
    with subprocess.Popen(words, stdout=-1, stderr=-1) as process:
        wait_until(lambda: answers(str(tmp_path / "s")), "server")
        process.send_signal(signal.SIGINT)
        output = process.communicate(timeout=DEADLINE)
    assert output == (b"", b"")
    assert process.returncode == -signal.SIGINT


@pytest.fixture
def traps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, full of modules that must not be imported."""
    for name in ["subprocess", "signal", "sockproc", "tempfile"]:
        (tmp_path / f"{name}.py").write_text("raise SystemExit('trapped')")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_server_starts_in_a_directory_full_of_traps(traps: Path) -> None:
    with Server("s") as server:
        assert run("true", server=server.address).ok


def test_the_script_daemonizes_in_a_directory_full_of_traps(traps: Path) -> None:
    subprocess.run([*COMMANDS[1], "s", "pid"], check=True, timeout=60)
    os.kill(int((traps / "pid").read_text()), signal.SIGTERM)
    wait_until(lambda: not (traps / "s").exists(), "end of the daemon")
