"""The private helper of a process that names no server. Each test has processes of its own as owners."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest

from owners import ON_LOOPS, command, environment, said_by, words


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
