"""The result of a command that has ended."""

from __future__ import annotations

import copy
import pickle
import subprocess

import pytest

from sockproc import CalledProcessError, Completed, run

DONE = Completed("echo hello", 0, b"hello\n", b"")


def test_it_is_equal_to_another_with_the_same_content() -> None:
    assert Completed("echo hello", 0, b"hello\n", b"") == DONE
    assert Completed("echo hello", 256, b"hello\n", b"") != DONE
    assert DONE != ("echo hello", 0, b"hello\n", b"")
    assert len({DONE, Completed("echo hello", 0, b"hello\n", b"")}) == 1


def test_it_does_not_change() -> None:
    with pytest.raises(AttributeError, match="'status'"):
        DONE.status = 1
    with pytest.raises(AttributeError, match="'stdout'"):
        del DONE.stdout
    with pytest.raises(AttributeError):
        setattr(DONE, "other", 1)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickling(protocol: int) -> None:
    assert pickle.loads(pickle.dumps(DONE, protocol)) == DONE
    assert copy.deepcopy(DONE) == DONE


def test_its_return_code_is_what_subprocess_says() -> None:
    for command in ["true", "exit 3", "exit 255", "kill -9 $$", "kill -64 $$"]:
        theirs = subprocess.run(command, shell=True).returncode
        done = run(command)
        assert done.returncode == theirs
        assert done.ok == (theirs == 0)
        assert done.signal == (-theirs if theirs < 0 else None)


def test_check_returns_it_or_raises() -> None:
    assert DONE.check() is DONE
    with pytest.raises(CalledProcessError) as raised:
        run("echo out; echo err >&2; exit 3").check()
    error = raised.value
    assert (error.returncode, error.output, error.stdout) == (3, b"out\n", b"out\n")
    assert (error.stderr, error.cmd) == (b"err\n", "echo out; echo err >&2; exit 3")


def test_it_matches_by_position() -> None:
    match DONE:
        case Completed(cmd, 0, stdout, b""):
            assert (cmd, stdout) == ("echo hello", b"hello\n")
        case _:
            pytest.fail("no match")


def test_its_type_can_be_named_at_run_time() -> None:
    assert "Completed[bytes]" in repr(Completed[bytes])
