"""
The compiled half of sockproc: a connection that event loops drive, and the command line.

Private: what is for use is in `sockproc` itself.
"""

from _typeshed import SupportsGetItem
from typing import Any, Final, SupportsFloat, SupportsIndex, final

__all__ = [
    "DONE",
    "READABLE",
    "RETRY",
    "WRITABLE",
    "Child",
    "Connection",
    "check_address",
    "check_protocol",
    "main",
    "returncode",
    "set_helper",
]

DONE: Final[int]
"""
`Connection.on_ready`: the run is over.
"""

READABLE: Final[int]
"""
`Connection.on_ready`: call again when the descriptor is readable.
"""

RETRY: Final[int]
"""
`Connection.on_ready`: call again after `retry_delay` seconds.
"""

WRITABLE: Final[int]
"""
`Connection.on_ready`: call again when the descriptor is writable.
"""

@final
class Child:
    """
    A run on a server that speaks the native protocol: a non-blocking socket for an event loop to
    wait on.
    """
    def __new__(
        cls,
        /,
        server: str | None,
        records: SupportsGetItem[int, tuple[str, bytes | bytearray]],
        descriptors: SupportsGetItem[int, SupportsIndex],
    ) -> Child:
        """
        A run of the request that has these records; nothing is sent before the first `on_ready`.
        Without a server it goes to the private helper.

        The command gets `descriptors`, of which copies are taken here: one for each standard stream
        that is `fd`, then one for each record `fd`.
        """
    def abort(self, /) -> None:
        """
        Closes the descriptor; if the run is not over, the server ends the command with its tree.
        """
    def cancel(self, /) -> None:
        """
        Has the server end the command with its tree; `on_ready` moves that.
        """
    def fileno(self, /) -> int:
        """
        The descriptor to wait for. It may be another one after each `RETRY`.
        """
    def on_ready(self, /, ready: SupportsIndex) -> int:
        """
        Does what can be done without blocking, and says when to call again: `DONE`, `RETRY`, or
        `READABLE` and `WRITABLE` or'ed.

        `ready` is what the event loop found, `READABLE` and `WRITABLE` or'ed; 0 in the first call.
        """
    @property
    def pid(self, /) -> int | None:
        """
        The leader's process id, once it has been started.
        """
    @property
    def retry_delay(self, /) -> float:
        """
        Seconds to wait when `on_ready` has said `RETRY`.
        """
    def signal(self, /, number: SupportsIndex) -> None:
        """
        Sends the leader a signal; `on_ready` moves it.
        """
    def status(self, /) -> int:
        """
        The wait status of a run that is over; -1 if the server does not know it.
        """

@final
class Connection:
    """
    One run on a server: a non-blocking socket for an event loop to wait on.
    """
    def __new__(
        cls,
        /,
        server: str | None,
        protocol: str,
        records: SupportsGetItem[int, tuple[str, bytes | bytearray]],
        stdin: Any,
        stdin_len: SupportsIndex,
    ) -> Connection:
        """
        A run of the request that has these records; nothing is sent before the first `on_ready`.
        Without a server it goes to the private helper.

        `stdin` is bytes, or an object whose `read(size)` returns `stdin_len` bytes in all.
        """
    def abort(self, /) -> None:
        """
        Closes the descriptor; if the run is not over, it is given up, and the server sees at once
        that this client has gone.
        """
    def fileno(self, /) -> int:
        """
        The descriptor to wait for. It may be another one after each `RETRY`.
        """
    def on_ready(self, /, ready: SupportsIndex) -> int:
        """
        Does what can be done without blocking, at most 1 MiB each way, and says when to call again:
        `DONE`, `RETRY`, or `READABLE` and `WRITABLE` or'ed.

        `ready` is what the event loop found, `READABLE` and `WRITABLE` or'ed; 0 in the first call.
        """
    def output(self, /) -> tuple[int, bytes, bytes]:
        """
        The wait status, stdout and stderr of a run that is over; they are given once.
        """
    def partial_output(self, /) -> tuple[bytes, bytes]:
        """
        What has come of stdout and stderr so far.
        """
    @property
    def retry_delay(self, /) -> float:
        """
        Seconds to wait when `on_ready` has said `RETRY`.
        """
    @property
    def sent(self, /) -> bool:
        """
        Whether any byte of the request was sent: if not, the command has not run.
        """
    def wait(self, /, timeout: SupportsFloat | SupportsIndex | None = None) -> bool:
        """
        Waits until the run is over; False if it is not after `timeout` seconds.
        """

def check_address(server: str) -> None:
    """
    Refuses a `server` that is no address.
    """

def check_protocol(protocol: str) -> None:
    """
    Refuses a `protocol` that there is not.
    """

def main(
    program: SupportsGetItem[int, str],
    args: SupportsGetItem[int, str],
    owner: SupportsIndex | None = None,
) -> tuple[int, str]:
    """
    Runs the `sockproc` command line `args` and returns its exit code, and what is to be told on
    stderr; other Python threads run meanwhile.

    `program` starts this command line anew, for a daemon. With `owner`, the number of the parent
    process, this process ends when that one has died.
    """

def returncode(status: SupportsIndex) -> int | None:
    """
    What `subprocess` calls the return code of a wait status; None if it names no end of a process.
    """

def set_helper(program: SupportsGetItem[int, str]) -> None:
    """
    Says which program becomes the private helper.
    """
