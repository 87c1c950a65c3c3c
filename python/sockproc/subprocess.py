"""The standard module of this name, except that a server runs the commands.

For programs that are too big or too busy to fork. It has the constants, the exceptions and the
functions of the standard module; its ``Popen`` is the standard one, but for how a command is
started, waited for and signalled. The command gets this process's working directory,
environment and umask as they are at the call, and pipes and files as they are here.

The server is the one that ``$SOCKPROC_SOCKET`` names, on a unix socket, else a private helper.
``docs/python.md`` says what differs.

>>> from sockproc import subprocess
>>> subprocess.check_output(["echo", "hello"])
b'hello\\n'
"""

import subprocess as _standard
from types import FunctionType as _FunctionType

from ._popen import Popen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import (
        DEVNULL,
        PIPE,
        STDOUT,
        CalledProcessError,
        CompletedProcess,
        SubprocessError,
        TimeoutExpired,
        call,
        check_call,
        check_output,
        getoutput,
        getstatusoutput,
        run,
    )

__all__ = [
    "DEVNULL",
    "PIPE",
    "STDOUT",
    "CalledProcessError",
    "CompletedProcess",
    "Popen",
    "SubprocessError",
    "TimeoutExpired",
    "call",
    "check_call",
    "check_output",
    "getoutput",
    "getstatusoutput",
    "run",
]


def _ours(function: _FunctionType) -> _FunctionType:
    """The same function, but the ``Popen`` that it finds is ours."""
    ours = _FunctionType(
        function.__code__,
        globals(),
        function.__name__,
        function.__defaults__,
        function.__closure__,
    )
    ours.__kwdefaults__ = function.__kwdefaults__
    ours.__doc__ = function.__doc__
    return ours


# Those with an underscore too: the functions use some of them.
for _name, _value in vars(_standard).items():
    if _name not in globals():
        _is_theirs = (
            isinstance(_value, _FunctionType) and _value.__module__ == "subprocess"
        )
        globals()[_name] = _ours(_value) if _is_theirs else _value
del TYPE_CHECKING
