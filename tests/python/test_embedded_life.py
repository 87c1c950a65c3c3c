"""How long a private helper lives, and with what: its owner, forks, signals."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from textwrap import dedent

import pytest

from owners import command, environment, owner, said_by, words
from support import DEADLINE, is_alive, wait_until


def test_the_helper_is_no_child_of_its_owner() -> None:
    assert said_by(
        """
        import os, sockproc, time
        helper = int(sockproc.run("echo $PPID").stdout)
        try:
            print(os.wait())
        except ChildProcessError:
            print("none")
        os.kill(helper, 9)
        while os.path.exists(f"/proc/{helper}/fd/0"):
            time.sleep(0.001)
        sockproc.run("true")
        try:
            print(os.wait())
        except ChildProcessError:
            print("none")
        """
    ) == ["none", "none"]


def has_own_only(pid: str) -> bool:
    own = ("/dev/null", "socket:", "pipe:", "anon_inode:")
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            target = os.readlink(entry)
            is_own = target.startswith(own)
            if not (target == "/dev/null" if int(entry.name) < 3 else is_own):
                return False
    return True


def test_the_helper_has_no_descriptor_but_its_own(tmp_path: Path) -> None:
    with (tmp_path / "file").open("w") as file:
        process = subprocess.Popen(
            command(
                """
                import sockproc, sys
                print(sockproc.run("echo $PPID", text=True).stdout.strip(), flush=True)
                sys.stdin.readline()
                """
            ),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            pass_fds=[file.fileno()],
        )
        with process:
            (helper,) = words(process)
            # Now and then it looks into /proc.
            wait_until(lambda: has_own_only(helper), "no other descriptor")
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_trees_and_helper_end_with_their_owner(number: signal.Signals) -> None:
    code = '''
    import sockproc
    from sockproc import subprocess
    deaf = """trap '' TERM
        setsid sh -c 'echo $$; sleep 1000 & wait' & echo $$ $PPID; wait"""
    process = sockproc.Process(deaf, stdout=subprocess.PIPE, text=True, grace=0.3)
    print(*process.stdout.readline().split(), *process.stdout.readline().split(), flush=True)
    process.wait()
    '''
    with owner(code) as process:
        pids = [int(pid) for pid in words(process)]
        assert len(pids) == 3
        assert all(map(is_alive, pids))
        process.send_signal(number)
        process.wait(DEADLINE)
        begin = time.monotonic()
        wait_until(lambda: not any(map(is_alive, pids)), "the end of all")
        assert time.monotonic() - begin < 1.3


def test_a_forked_child_does_not_keep_the_helper() -> None:
    code = """
    import os, sockproc
    process = sockproc.Process("echo $$ $PPID; sleep 1000", stdout=-1)
    pids = process.stdout.readline().decode().strip()
    child = os.fork()
    if child == 0:
        os.read(0, 1)
        os._exit(0)
    print(child, pids, flush=True)
    process.wait()
    """
    with owner(code) as process:
        child, *pids = map(int, words(process))
        process.kill()
        wait_until(lambda: not any(map(is_alive, pids)), "the end of run and helper")
        assert is_alive(child)
    wait_until(lambda: not is_alive(child), "the end of the child")


def test_a_forked_child_has_a_helper_of_its_own() -> None:
    parent, child, parent_again = said_by(
        """
        import os, sockproc
        def helper():
            print(sockproc.run("echo $PPID", text=True).stdout, flush=True)
        helper()
        if os.fork() == 0:
            helper()
            os._exit(0)
        os.wait()
        helper()
        """
    )
    assert parent == parent_again != child


def test_a_fork_beside_a_thread_that_starts_a_helper_hangs_neither() -> None:
    assert said_by(
        """
        import os, sockproc, threading
        for _ in range(20):
            thread = threading.Thread(target=sockproc.run, args=["kill -9 $PPID"])
            threading.excepthook = lambda _: None
            thread.start()
            pid = os.fork()
            if pid == 0:
                os._exit(sockproc.run("true").returncode)
            assert os.waitpid(pid, 0)[1] == 0
            thread.join()
        print("done")
        """
    ) == ["done"]


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_multiprocessing_have_helpers(method: str, tmp_path: Path) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        dedent(
            f"""
            import multiprocessing, sockproc
            def helper(_):
                return sockproc.run("echo $PPID; sleep 0.1", text=True).stdout
            if __name__ == "__main__":
                print(helper(0))
                with multiprocessing.get_context("{method}").Pool(3) as pool:
                    print(*pool.map(helper, range(9), 1))
            """
        )
    )
    done = subprocess.run(
        [sys.executable, program],
        env=environment(),
        stdout=subprocess.PIPE,
        timeout=DEADLINE,
        check=True,
    )
    ours, *theirs = done.stdout.split()
    assert len(theirs) == 9
    assert ours not in theirs
    assert len(set(theirs)) > 1


def test_a_helper_that_was_killed_is_started_anew() -> None:
    assert said_by(
        """
        import os, sockproc, time
        try:
            sockproc.run("kill -9 $PPID; sleep 1000")
        except sockproc.ConnectionLost as error:
            print("lost", error.may_have_run)
        for _ in range(20):
            helper = int(sockproc.run("echo $PPID").stdout)
            os.kill(helper, 9)
            # A signal takes its time. Until then the helper may even start a run.
            while os.path.exists(f"/proc/{helper}/fd/0"):
                time.sleep(0.001)
        print("done")
        """
    ) == ["lost", "True", "done"]


def test_no_signal_of_the_terminal_or_of_a_command_ends_it() -> None:
    code = """
    import signal, sockproc
    signal.signal(signal.SIGINT, lambda *_: None)
    signal.signal(signal.SIGHUP, lambda *_: None)
    print(sockproc.run("echo $PPID", text=True).stdout.strip(), flush=True)
    for number in ("HUP", "INT", "TERM", "USR1", "TSTP"):
        sockproc.run(f"kill -{number} $PPID", check=True)
    input()
    print(sockproc.run("echo $PPID", text=True).stdout.strip(), flush=True)
    """
    with owner(code, own_session=True) as process:
        before = words(process)
        for number in (signal.SIGINT, signal.SIGHUP):
            os.killpg(process.pid, number)
        assert process.stdin
        process.stdin.write("\n")
        process.stdin.flush()
        assert words(process) == before


def test_a_signal_to_the_group_does_not_end_it_while_it_starts() -> None:
    assert said_by(
        """
        import os, signal, sockproc, threading
        os.setpgid(0, 0)
        numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        for number in numbers:
            signal.signal(number, lambda *_: None)
        def signal_all():
            while not over.wait(0.001):
                for number in numbers:
                    os.killpg(0, number)
        over = threading.Event()
        thread = threading.Thread(target=signal_all, daemon=True)
        print(os.getpid())
        for _ in range(3):
            helper = sockproc.Process("echo $PPID", stdout=-1)
            if not thread.is_alive():
                thread.start()
            helper = int(helper.communicate()[0])
            os.kill(helper, 9)
            while os.path.exists(f"/proc/{helper}/fd/0"):
                over.wait(0.001)
        over.set()
        thread.join()
        print("done")
        """
    )[1:] == ["done"]


def test_a_daemon_that_closes_all_descriptors_keeps_its_own(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert said_by(
        f"""
        import os, sockproc
        sockproc.run("true")
        os.closerange(3, 256)
        files = [open({str(log)!r}, "a") for _ in range(16)]
        print(sockproc.run("echo hi", text=True).stdout)
        for file in files:
            print("kept", file=file, flush=True)
        """
    ) == ["hi"]
    assert log.read_text() == "kept\n" * 16


def test_a_helper_that_cannot_be_is_an_error_that_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\nexit 1\n")
    broken.chmod(0o755)
    code = """
    import sockproc
    for ask in (sockproc.Process, sockproc.Client().run, sockproc.run):
        try:
            ask("true")
        except sockproc.Error as error:
            told = type(error).__name__, error.may_have_run, error
    print(*told)
    """
    name, has_run, *message = said_by(code, SOCKPROC_BIN="/nonexistent/sockproc")
    assert (name, has_run) == ("NoServer", "False")
    assert "/nonexistent/sockproc" in " ".join(message)
    assert "server=" in message or "server=," in message
    name, has_run, *message = said_by(code, SOCKPROC_BIN=str(broken))
    assert (name, has_run) == ("ServerFailed", "False")
    assert str(broken) in " ".join(message)
    low = "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (16, 16))"
    name, has_run, *message = said_by(f"{low}\n{dedent(code)}")
    assert (name, has_run) == ("ServerFailed", "False")
    assert "open files is too low" in " ".join(message)
