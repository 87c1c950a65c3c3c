"""The private helper of a process that names no server. Each test has processes of its own as owners."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from textwrap import dedent

import pytest

from support import DEADLINE, is_alive, wait_until

ON_LOOPS = {
    "asyncio": "import asyncio; on_loop = asyncio.run",
    "uvloop": "import uvloop; on_loop = uvloop.run",
    "trio": "import trio; on_loop = lambda coroutine: trio.run(lambda: coroutine)",
}


def environment(**variables: str) -> dict[str, str]:
    kept = os.environ.items()
    kept_here = {key: value for key, value in kept if not key.startswith("SOCKPROC_")}
    return kept_here | variables


def command(code: str) -> list[str]:
    return [sys.executable, "-c", dedent(code)]


def said_by(code: str, **variables: str) -> list[str]:
    """The words that this program prints."""
    return subprocess.run(
        command(code),
        env=environment(**variables),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        timeout=DEADLINE,
        check=True,
        text=True,
    ).stdout.split()


@contextmanager
def owner(code: str, own_session: bool = False) -> Generator[subprocess.Popen[str]]:
    with subprocess.Popen(
        command(code),
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=own_session,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def words(process: subprocess.Popen[str]) -> list[str]:
    assert process.stdout
    return process.stdout.readline().split()


@pytest.mark.parametrize("variables", [{}, {"SOCKPROC_SOCKET": ""}])
def test_nothing_has_to_be_started(variables: dict[str, str]) -> None:
    assert (
        said_by(
            """
        import sockproc
        from sockproc import subprocess
        print(sockproc.run("echo run", text=True).stdout)
        print(sockproc.Client().run(["echo", "client"], text=True).stdout)
        print(sockproc.Client(sockproc.Client()).run("cat", "hello", text=True).stdout)
        print(sockproc.Client(protocol="classic").run("echo classic", text=True).stdout)
        with sockproc.Process("cat; exit 3", stdin=-1, stdout=-1) as process:
            print(process.communicate(b"process")[0].decode(), process.returncode)
        print(subprocess.check_output(["echo", "subprocess"], text=True))
        subprocess.run("echo inherited", shell=True)
        """,
            **variables,
        )
        == "run client hello classic process 3 subprocess inherited".split()
    )


@pytest.mark.parametrize("loop", ON_LOOPS)
def test_nothing_has_to_be_started_on_any_loop(loop: str) -> None:
    assert said_by(
        f"""
        {ON_LOOPS[loop]}
        from sockproc import aio

        async def main():
            print((await aio.run("echo run", text=True)).stdout)
            print((await aio.Client().run("cat", "client", text=True)).stdout)
            async with aio.Process("cat; exit 3", stdin=-1, stdout=-1) as process:
                print((await process.communicate(b"process"))[0].decode(), process.returncode)
            if "{loop}" != "trio":
                child = await aio.create_subprocess_exec("echo", "asyncio", stdout=-1)
                print((await child.communicate())[0].decode())

        on_loop(main())
        """
    ) == "run client process 3".split() + ["asyncio"] * (loop != "trio")


def test_a_program_that_ends_is_not_waited_for() -> None:
    code = "import sockproc; sockproc.run('sleep 1000 & echo $PPID')"
    begin = time.monotonic()
    # As $(...) reads it: to the end of the file, which all who hold the pipe have closed.
    assert said_by(code) == []
    assert time.monotonic() - begin < 5


def test_threads_that_call_first_at_once_start_one_helper() -> None:
    helpers = said_by(
        """
        import sockproc, threading
        barrier = threading.Barrier(20)
        def call():
            barrier.wait()
            print(sockproc.run("echo $PPID", text=True).stdout)
        threads = [threading.Thread(target=call) for _ in range(20)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        """
    )
    assert len(helpers) == 20
    assert len(set(helpers)) == 1


def test_fifty_processes_that_start_at_once_have_one_each() -> None:
    code = """
    import sockproc, sys
    sys.stdin.readline()
    print(sockproc.run("echo $PPID", text=True).stdout.strip(), flush=True)
    sys.stdin.readline()
    """
    started = [
        subprocess.Popen(
            command(code),
            env=environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(50)
    ]
    try:
        for process in started:
            assert process.stdin
            process.stdin.write("\n")
            process.stdin.flush()
        helpers = [words(process) for process in started]
    finally:
        for process in started:
            process.kill()
            process.communicate()
    assert len({helper[0] for helper in helpers}) == 50


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


def test_a_run_sees_directory_and_environment_of_its_moment(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    first, here, second, *said, below, third, last = said_by(
        f"""
        import os, sockproc
        os.environ["FIRST"] = "1"
        def say(line, **options):
            print(sockproc.run(line, text=True, **options).stdout, flush=True)
        say("echo $PPID")
        os.chdir({str(tmp_path)!r})
        os.environ["SECOND"] = "2"
        os.environ["odd.name"] = "3"
        del os.environ["FIRST"]
        say("/bin/pwd; echo $FIRST $SECOND")
        # A shell would drop it.
        say(["env"])
        say("/bin/pwd", cwd="below")
        say("echo $SECOND $THIRD", env={{"THIRD": "3"}})
        say("echo $PPID")
        """,
        **{"another.odd-name": "0"},
    )
    assert (here, second) == (str(tmp_path.resolve()), "2")
    assert {"odd.name=3", "another.odd-name=0", "SECOND=2"} <= set(said)
    assert (below, third) == (f"{here}/below", "3")
    assert first == last


def test_a_helper_has_the_environment_of_its_owner() -> None:
    assert said_by(
        """
        import os, sockproc
        theirs = sockproc.run(["env", "-0"]).stdout
        ours = b"".join(b"%s=%s\\0" % item for item in os.environb.items())
        print(theirs == ours)
        """,
        **{"odd.name": "1", "EMPTY": "", "PWD": "/elsewhere"},
    ) == ["True"]


def test_a_run_goes_on_when_its_helper_is_not_used_any_more(tmp_path: Path) -> None:
    assert said_by(
        f"""
        import os, sockproc
        process = sockproc.Process("read line; echo $line", stdin=-1, stdout=-1)
        os.chdir({str(tmp_path)!r})
        # Over classic no directory can be said, so this takes another helper.
        print(sockproc.run("/bin/pwd", text=True, protocol="classic").stdout)
        print(process.communicate(b"still here\\n")[0].decode())
        """
    ) == [str(tmp_path.resolve()), "still", "here"]


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
            for _ in range(100):
                for number in numbers:
                    os.killpg(0, number)
                over.wait(0.001)
        over = threading.Event()
        thread = threading.Thread(target=signal_all)
        print(os.getpid())
        for _ in range(3):
            helper = sockproc.Process("echo $PPID", stdout=-1)
            if not thread.is_alive() and not over.is_set():
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


def test_a_command_has_no_terminal_and_is_not_stopped_by_one() -> None:
    code, errno = said_by(
        """
        import fcntl, os, sockproc, termios
        _, terminal = os.openpty()
        os.setsid()
        fcntl.ioctl(terminal, termios.TIOCSCTTY, 0)
        print(sockproc.run("exec cat </dev/tty", timeout=20).returncode)
        try:
            open("/dev/tty")
        except OSError as error:
            print(error.errno)
        else:
            print("ours")
        """
    )
    assert code != "0"
    assert errno == "ours"


def test_a_command_can_join_the_group_of_another() -> None:
    assert said_by(
        """
        import os
        from sockproc import subprocess
        first = subprocess.Popen(["cat"], stdin=-1, process_group=0)
        second = subprocess.Popen(["cat"], stdin=-1, process_group=first.pid)
        print(os.getpgid(second.pid) == first.pid)
        for process in (first, second):
            process.communicate()
        """
    ) == ["True"]


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


def test_a_thousand_calls_at_once_all_succeed() -> None:
    assert said_by(
        """
        import asyncio
        from sockproc import aio

        async def main():
            calls = [aio.run("echo hi") for _ in range(1000)]
            done = await asyncio.gather(*calls)
            print(sum(one.stdout == b"hi\\n" for one in done))

        asyncio.run(main())
        """
    ) == ["1000"]
