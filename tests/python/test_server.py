"""`Server`: a server for a block."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import pytest

import sockproc
from conftest import OnLoop
from sockproc import Server, ServerFailed, aio, run
from support import children, is_alive, wait_until


def test_a_server_has_the_options_that_it_is_given(tmp_path: Path) -> None:
    path, pidfile = tmp_path / "s", tmp_path / "pid"
    with Server(
        path,
        mode=0o640,
        owner="root" if os.getuid() == 0 else str(os.getuid()),
        pidfile=pidfile,
        log="error",
        classic_linger=100,
        classic_on_disconnect="finish",
        spill_dir=tmp_path,
        max_spill="10M",
        max_spill_total=20 * 1024 * 1024,
        drain_timeout=1,
    ) as server:
        assert path.stat().st_mode & 0o777 == 0o640
        assert int(pidfile.read_text()) == server.pid
        # Its output ends when the linger time is over, not when sleep ends.
        assert run("sleep 60 & echo hi", server=path, timeout=20).stdout == b"hi\n"


def test_a_server_with_a_token_runs_what_comes_with_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    token = tmp_path / "token"
    token.write_bytes(b"secret\n")
    token.chmod(0o640)
    with (
        pytest.raises(ServerFailed, match="chmod 600"),
        Server(tmp_path / "s", token_file=token),
    ):
        pytest.fail("a token that others can read")
    token.chmod(0o600)
    with Server(tmp_path / "s", token_file=token) as server:
        for protocol in ("native", "classic"):
            client = sockproc.Client(server, protocol=protocol)
            try:
                assert client.run("true").status == 69 << 8
            except sockproc.Refused as error:
                assert error.kind == "policy"
        monkeypatch.setenv("SOCKPROC_SOCKET", server.address)
        monkeypatch.setenv("SOCKPROC_TOKEN_FILE", str(token))
        assert run("echo hi").stdout == b"hi\n"
        with sockproc.Process("exit 3") as process:
            assert process.wait() == 3
        monkeypatch.setenv("SOCKPROC_TOKEN_FILE", "/nonexistent")
        with pytest.raises(sockproc.BadRequest, match="/nonexistent"):
            run("echo hi")


def test_an_unknown_option_is_a_failure(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="no option 'nonsense'"):
        Server(tmp_path / "s", nonsense=1)  # type: ignore[call-arg] # pyright: ignore


def test_a_server_is_there_on_entry_and_gone_on_exit(tmp_path: Path) -> None:
    path = tmp_path / "s"
    for _ in range(5):
        with Server(path) as server:
            assert run("echo hi", server=server.address).stdout == b"hi\n"
            pid = server.pid
            assert is_alive(pid)
        assert not is_alive(pid)
        assert not path.exists()
        with pytest.raises(RuntimeError):
            server.pid  # noqa: B018


def test_a_server_may_be_entered_again_but_not_twice(tmp_path: Path) -> None:
    server = Server(tmp_path / "s")
    for _ in range(2):
        with server:
            pid = server.pid
            with pytest.raises(RuntimeError, match="runs already"), server:
                pass
            assert server.pid == pid
            assert run("true", server=server.address).ok
        assert not is_alive(pid)


def test_a_server_is_an_async_context_manager_too(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> int:
        async with Server(tmp_path / "s") as server:
            assert (await aio.run("echo hi", server=server.address)).ok
            return server.pid

    assert not is_alive(on_loop(main))
    assert not (tmp_path / "s").exists()


def test_a_cancelled_block_still_ends_its_server(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    pids: list[int] = []

    async def main() -> None:
        with anyio.CancelScope() as scope:
            async with Server(tmp_path / "s") as server:
                pids.append(server.pid)
                scope.cancel()
                await anyio.sleep(60)

    on_loop(main)
    assert not is_alive(pids[0])
    assert not (tmp_path / "s").exists()


def test_the_thread_that_watches_the_owner_takes_no_signal(tmp_path: Path) -> None:
    """At the first moment of the socket, it would end the server and leave that."""
    with Server(tmp_path / "s") as server:
        threads = [*Path(f"/proc/{server.pid}/task").iterdir()]
        named = {(thread / "comm").read_text(): thread for thread in threads}
        status = (named["owner\n"] / "status").read_text()
        blocked = int(status.split("SigBlk:")[1].split()[0], 16)
        for number in (signal.SIGINT, signal.SIGTERM):
            assert blocked >> (number - 1) & 1


def test_a_start_that_is_cancelled_leaves_no_server(
    on_loop: OnLoop, tmp_path: Path
) -> None:
    async def main() -> None:
        for seconds in (0, 0.001, 0.01, 0.05):
            with anyio.move_on_after(seconds):
                async with Server(tmp_path / "s"):
                    pass
            assert set(children(os.getpid())) == before
            assert not (tmp_path / "s").exists()

    before = set(children(os.getpid()))
    on_loop(main)


def test_a_stopped_server_ends_with_its_block(tmp_path: Path) -> None:
    with Server(tmp_path / "s") as server:
        os.kill(server.pid, signal.SIGSTOP)
        pid = server.pid
    assert not is_alive(pid)


def test_an_exception_in_the_block_ends_its_server(tmp_path: Path) -> None:
    pids: list[int] = []
    with pytest.raises(KeyError):
        with Server(tmp_path / "s") as server:
            pids.append(server.pid)
            raise KeyError
    assert not is_alive(pids[0])


OWNER = """
import os, signal, sockproc, sys, time
with sockproc.Server(sys.argv[1]) as server:
    print(server.pid, flush=True)
    if sys.argv[2] == "fork" and os.fork():
        os._exit(0)
    signal.pause()
"""


@pytest.mark.parametrize("how", ["kill", "fork"])
def test_a_server_ends_when_its_owner_dies_though_a_fork_lives_on(
    how: str, tmp_path: Path
) -> None:
    address = str(tmp_path / "s")
    command = [sys.executable, "-c", OWNER, address, how]
    with subprocess.Popen(command, stdout=-1, text=True, process_group=0) as owner:
        assert owner.stdout is not None
        pid = int(owner.stdout.readline())
        if how == "kill":
            assert is_alive(pid)
            owner.kill()
        wait_until(lambda: not is_alive(pid), "end of the server")
        wait_until(lambda: not os.path.exists(address), "end of the socket")
        owner.wait()
        if how == "fork":
            os.killpg(owner.pid, signal.SIGKILL)


def test_a_forked_child_that_leaves_the_block_does_not_end_the_server(
    tmp_path: Path,
) -> None:
    with Server(tmp_path / "s") as server:
        pid = os.fork()
        if pid == 0:
            try:
                signal.alarm(30)
                server.__exit__(None, None, None)
            finally:
                os._exit(0)
        assert os.waitpid(pid, 0)[1] == 0
        assert run("true", server=tmp_path / "s").ok


def test_ctrl_c_at_a_terminal_reaches_the_owner_alone(tmp_path: Path) -> None:
    with Server(tmp_path / "s") as server:
        assert os.getsid(server.pid) == server.pid
