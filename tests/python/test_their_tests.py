"""CPython's own tests of `subprocess` and of asyncio's subprocesses pass with ours in their place.

They come from the interpreter's own `test` package and are not copied here.
"""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).parent / "their_tests.py"

# What cannot hold for a process that is not our child, and why.
_PREEXEC = "preexec_fn is refused: no function of ours can run in the child"
_FORK = "it replaces the function that forks, which is not called"
_WAITPID = "it calls os.waitpid or os.waitid, which takes children only"
_PARENT = "the command signals its parent, which is the server"
_POPEN = "it replaces subprocess.Popen, which is not what starts these commands"
_LOOP = "it calls the loop's own subprocess_exec, which is not ours"
_TRANSPORT = "it looks into asyncio's own transports of pipes"
_UVLOOP = (
    "uvloop raises a RuntimeError where a command has ended already, for its own too"
)

_OF_BOTH_LOOPS = {
    "test_close_dont_kill_finished": _LOOP,
    "test_close_kill_running": _LOOP,
    "test_popen_error": _POPEN,
    "test_popen_error_with_stdin_pipe": _POPEN,
}
_OF_ANY_CASE = {
    # In 3.13 it has moved from ProcessTestCase to POSIXProcessTestCase.
    "test__use_vfork": _FORK,
}

IMPOSSIBLE: dict[str, dict[str, str]] = {
    "ProcessTestCase": {**_OF_ANY_CASE, "test_communicate_eintr": _PARENT},
    "RunFuncTestCase": {},
    "POSIXProcessTestCase": {
        **_OF_ANY_CASE,
        "test_close_fds_after_preexec": _PREEXEC,
        "test_exception_errpipe_bad_data": _FORK,
        "test_exception_errpipe_normal": _FORK,
        "test_preexec": _PREEXEC,
        "test_preexec_errpipe_does_not_double_close_pipes": _PREEXEC,
        "test_preexec_exception": _PREEXEC,
        "test_preexec_fork_failure": _PREEXEC,
        "test_preexec_gc_module_failure": _PREEXEC,
        "test_send_signal_race": _WAITPID,
        "test_stopped": _WAITPID,
        "test_surrogates_error_message": _PREEXEC,
    },
    # The three cases of Ctrl-C are here.
    "MiscTests": {},
    "ContextManagerTests": {},
    "asyncio": _OF_BOTH_LOOPS,
    "uvloop": {
        **_OF_BOTH_LOOPS,
        "test_communicate_ignore_broken_pipe": _UVLOOP,
        "test_pause_reading": _TRANSPORT,
    },
}

# What skips itself, with CPython's own classes too: it is for another system, another build of the
# interpreter, an interpreter outside of an environment, a user who is not root, or needs strace.
SKIP_THEMSELVES = {
    "test_empty_env",
    "test_executable_with_cwd",
    "test_executable_without_cwd",
    "test_extra_groups_error",
    "test_group_error",
    "test_nonexisting_with_pipes",
    "test_one_environment_variable",
    "test_run_with_an_empty_env",
    "test_user_error",
    "test_vfork_used_when_expected",
    "test_wait_negative_timeout",
    "test_win32_duplicate_envs",
    "test_win32_invalid_env",
}

# For each version: how many pass or skip themselves, and how many are left out.
COUNTS = {
    "3.11.7": {
        "ProcessTestCase": (99, 2),
        "RunFuncTestCase": (20, 0),
        "POSIXProcessTestCase": (64, 11),
        "MiscTests": (5, 0),
        "ContextManagerTests": (5, 0),
        "asyncio": (25, 4),
        "uvloop": (23, 6),
    },
    "3.12.1": {
        "ProcessTestCase": (99, 2),
        "RunFuncTestCase": (20, 0),
        "POSIXProcessTestCase": (66, 11),
        "MiscTests": (5, 0),
        "ContextManagerTests": (5, 0),
        "asyncio": (30, 4),
        "uvloop": (28, 6),
    },
    "3.13.0": {
        "ProcessTestCase": (103, 1),
        "RunFuncTestCase": (21, 0),
        "POSIXProcessTestCase": (67, 12),
        "MiscTests": (5, 0),
        "ContextManagerTests": (5, 0),
        "asyncio": (31, 4),
        "uvloop": (29, 6),
    },
}


@pytest.mark.parametrize("case", IMPOSSIBLE)
def test_their_tests_pass(case: str) -> None:
    kind = "asyncio" if case in ("asyncio", "uvloop") else "subprocess"
    names = json.dumps(list(IMPOSSIBLE[case]))
    done = subprocess.run(
        [sys.executable, PROGRAM, kind, case, names],
        capture_output=True,
        text=True,
        timeout=110,
    )
    assert done.returncode == 0, done.stderr
    passed, left_out, skipped, wrong = json.loads(done.stdout.splitlines()[-1])
    assert wrong == []
    assert skipped.keys() <= SKIP_THEMSELVES, skipped
    version = platform.python_version()
    counted = (len(passed) + len(skipped), len(left_out))
    # Of another version it is known only that nothing is wrong.
    assert counted == COUNTS.get(version, {}).get(case, counted)


@pytest.mark.parametrize("version", COUNTS)
def test_at_least_95_of_100_that_can_apply_pass(version: str) -> None:
    counts = [
        count
        for case, count in COUNTS[version].items()
        if case not in ("asyncio", "uvloop")
    ]
    passed = sum(count for count, _ in counts)
    left_out = sum(count for _, count in counts)
    # What preexec_fn does is the subject of these.
    cannot_apply = list(IMPOSSIBLE["POSIXProcessTestCase"].values()).count(_PREEXEC)
    assert passed / (passed + left_out - cannot_apply) >= 0.95
