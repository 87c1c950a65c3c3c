"""Runs commands for programs that must not block or fork.

A small server runs the commands; this process opens a socket, sends a command and its
stdin, and reads back exit code, stdout and stderr.

>>> run("uname -s; echo hello | tr a-z A-Z", text=True).stdout
'Linux\\nHELLO\\n'

``sockproc.aio`` is the same for asyncio, uvloop, trio and anyio. The server is the one
that ``server=`` or ``$SOCKPROC_SOCKET`` names, else a private helper of this process, which
the first call starts; :class:`Server` starts one for others.
"""

from __future__ import annotations

from importlib import import_module

from ._completed import Completed
from ._errors import (
    BadAddress,
    BadRequest,
    CannotConnect,
    CannotStart,
    ConnectionLost,
    Error,
    Forbidden,
    NoRoom,
    NoServer,
    NotADirectory,
    NotFound,
    OutputTooLarge,
    ProtocolError,
    Refused,
    ServerFailed,
    ServerForbidden,
    ServerNotFound,
    ServerNotListening,
    StatusUnknown,
    Unsupported,
)
from .client import Client, run

TYPE_CHECKING = False
if TYPE_CHECKING:
    from . import aio, subprocess
    from ._process import Process
    from ._run_errors import CalledProcessError, TimeoutExpired
    from ._server import Server, serve
    from ._types import Address, AsyncStdin, Command, Environment, Stdin

__all__ = [
    "Address",
    "AsyncStdin",
    "BadAddress",
    "BadRequest",
    "CalledProcessError",
    "CannotConnect",
    "CannotStart",
    "Client",
    "Command",
    "Completed",
    "ConnectionLost",
    "Environment",
    "Error",
    "Forbidden",
    "NoRoom",
    "NoServer",
    "NotADirectory",
    "NotFound",
    "OutputTooLarge",
    "Process",
    "ProtocolError",
    "Refused",
    "Server",
    "ServerFailed",
    "ServerForbidden",
    "ServerNotFound",
    "ServerNotListening",
    "StatusUnknown",
    "Stdin",
    "TimeoutExpired",
    "Unsupported",
    "aio",
    "run",
    "serve",
    "subprocess",
]

# Public names whose modules are loaded on first use.
_LAZY = {
    "Address": "_types",
    "AsyncStdin": "_types",
    "CalledProcessError": "_run_errors",
    "Command": "_types",
    "Environment": "_types",
    "Process": "_process",
    "Server": "_server",
    "Stdin": "_types",
    "TimeoutExpired": "_run_errors",
    "serve": "_server",
}


# Users, tracebacks and pickles find them under this name.
for _name in __all__:
    if isinstance(_class := globals().get(_name), type):
        _class.__module__ = __name__


def __dir__() -> list[str]:
    return sorted([*__all__, "__all__", "__doc__", "__name__", "__version__"])


def __getattr__(name: str) -> object:
    if name in ("aio", "subprocess"):
        return import_module(f".{name}", __name__)
    if name == "__version__":
        return import_module("importlib.metadata").version(__name__)
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f".{_LAZY[name]}", __name__), name)
    globals()[name] = value
    return value
