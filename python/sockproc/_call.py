"""The part of a ``run`` that is the same for callers that wait and callers that await."""

from __future__ import annotations

import os
from importlib import import_module
from math import ceil
from operator import index

from . import _native
from ._errors import Refused
from ._native import Connection, set_helper
from ._outcome import cannot_start
from ._program import helper
from ._request import directory, environment, records

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, SupportsIndex

    from ._stdin import Source
    from ._text import TextMode
    from ._types import Address, Command, Environment, Protocols, Word


# A larger number is no limit.
_LARGEST_LIMIT = 2**63 - 1

# Seconds; what is longer means this.
_LONGEST = 2**30


# Now, and not when it is needed: `sys.path` and the working directory may be others then, and a child that is
# forked while a thread imports a module can never import it.
set_helper(helper(_native.__file__))


def destination(server: Address | None) -> str | None:
    """The address of the server to ask; None for the private helper, if neither ``server`` nor the
    environment names one.
    """
    if server is None:
        return os.environ.get("SOCKPROC_SOCKET") or None
    if getattr(server, "address", server) is None:
        return None
    return address_text(server)


def address_text(server: Address) -> str:
    """The address in the form that is parsed."""
    # A Server or a Client; both have these attributes.
    address: Any = getattr(server, "address", server)
    if isinstance(address, str):
        return address
    if isinstance(address, int):
        return f"127.0.0.1:{address}"
    try:
        return "unix:" + os.fsdecode(address)
    except TypeError:
        message = f"server must be an address, a Server or a Client, not {server!r}"
        raise TypeError(message) from None


# Arguments of subprocess.run that we do not take, and what to do instead.
_INSTEAD = {
    "args": "it is the first argument, cmd",
    "capture_output": "output is always captured",
    "executable": "the program is the first word of cmd",
    "shell": "a str is a line for the shell, a sequence is not",
    "stderr": "it is always captured; 2>&1 in the line merges it into stdout",
    "stdout": "it is always captured",
    "universal_newlines": "it is called text",
}


def refuse_others(others: dict[str, object]) -> None:
    """Refuses arguments that ``run`` does not take, and says what to do instead.

    Raises:
        TypeError: there is such an argument.
    """
    for name in others:
        instead = _INSTEAD.get(name)
        hint = f": {instead}" if instead else ""
        raise TypeError(f"run() does not take {name!r}{hint}")


class Call:
    """What one call of ``run`` asks for, once it has been checked."""

    __slots__ = ("check", "cmd", "cwd", "fields", "idle_timeout", "text", "timeout")

    def __init__(
        self,
        cmd: Command,
        text: TextMode | None,
        timeout: float | None,
        check: bool,
        max_output: SupportsIndex | None,
        cwd: Word | None,
        env: Environment | None,
        merge: bool,
        idle_timeout: float | None,
        grace: float | None,
    ) -> None:
        """Takes the arguments of ``run``.

        Raises:
            TypeError, ValueError: one of them is wrong.
        """
        check_seconds("timeout", timeout)
        self.cmd = cmd
        self.text = text
        self.timeout = timeout
        self.check = check
        self.cwd = cwd
        self.idle_timeout = idle_timeout
        self.fields = invocation(cmd)
        if max_output is not None:
            self.fields["max_output"] = output_limit(max_output)
        if idle_timeout is not None:
            self.fields["idle_timeout"] = milliseconds("idle_timeout", idle_timeout)
        if grace is not None:
            self.fields["grace"] = milliseconds("grace", grace)
        if merge:
            self.fields["stderr"] = "stdout"
        if cwd is not None:
            self.fields["cwd"] = directory(cwd)
        if env is not None:
            self.fields.update(environment(env))

    def connect(
        self, server: str | None, protocol: Protocols, stdin: Source
    ) -> Connection:
        """The connection of the run; nothing is sent yet."""
        found = records(self.fields)
        try:
            return Connection(server, protocol, found, stdin.data, stdin.length)
        except Refused as refused:
            raise self.refused(refused) from None

    def refused(self, refused: Refused) -> Refused:
        """What to raise where the command is not run for this reason."""
        program = self.fields.get("arg", [b"/bin/sh"])[0]
        return cannot_start(refused, os.fsdecode(program), self.cwd)


def invocation(cmd: Command) -> dict[str, Any]:
    """The fields that say what is to be run.

    Raises:
        TypeError: ``cmd`` is no command.
    """
    if isinstance(cmd, (str, bytes)):
        return {"line": os.fsencode(cmd)}
    words = [cmd] if isinstance(cmd, os.PathLike) else cmd
    try:
        return {"arg": [os.fsencode(word) for word in words]}
    except TypeError:
        raise TypeError(
            f"cmd must be a line for the shell or a sequence of words, not {cmd!r}"
        ) from None


def either(stdin: Any, input: Any) -> Any:
    """What the command reads: ``input`` is another name of ``stdin``.

    Raises:
        ValueError: both are given.
    """
    if input is None:
        return stdin
    if stdin is not None:
        raise ValueError("stdin and input arguments may not both be used")
    return input


def milliseconds(name: str, seconds: float) -> int:
    """A duration as the native protocol has it: at least 1.

    Raises:
        TypeError, ValueError: it is refused.
    """
    check_seconds(name, seconds)
    return max(1, ceil(min(seconds, _LONGEST) * 1000))


def check_seconds(name: str, seconds: float | None) -> None:
    """Refuses what is not a number of seconds, or is negative.

    Raises:
        TypeError, ValueError: it is refused.
    """
    if seconds is None:
        return
    # Loaded before anything can go wrong: an error must not fail because no descriptor is left.
    import_module("._run_errors", __package__)
    refusal: type[Exception] = ValueError
    try:
        is_number = seconds >= 0
        float(seconds)
        if is_number:
            return
    except TypeError:
        refusal = TypeError
    except OverflowError:
        pass
    raise refusal(f"{name} must be a number of seconds, not {seconds!r}")


def output_limit(max_output: SupportsIndex | None) -> int | None:
    """The limit on a run's output, in bytes.

    Raises:
        TypeError, ValueError: ``max_output`` is not a number of bytes.
    """
    if max_output is None:
        return None
    message = f"max_output must be a number of bytes, not {max_output!r}"
    try:
        limit = index(max_output)
    except TypeError:
        raise TypeError(message) from None
    if limit < 0:
        raise ValueError(message)
    return min(limit, _LARGEST_LIMIT)
