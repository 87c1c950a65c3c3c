"""The server's side of the native protocol, as far as a fake server needs it."""

from __future__ import annotations

import signal
import struct
from itertools import count
from select import POLLIN, POLLOUT, poll
from time import monotonic
from typing import TYPE_CHECKING, Any, TypeAlias

from ._completed import Completed
from ._errors import ConnectionLost, Refused
from ._fake_request import fields_of, request_of
from ._fake_streams import Output, Stdin
from ._fake_wire import as_bytes

if TYPE_CHECKING:
    from collections.abc import Callable
    from socket import socket

    from ._fake_answers import Settled
    from ._fake_request import Request
    from ._fake_wire import Incoming

    Answer: TypeAlias = Settled | Callable[[Request], Settled]

VERSION = 2
GREETING = b"#sockproc/%d\r\n" % VERSION

_RUN, _STDIN, _STDIN_END, _SIGNAL, _CANCEL = range(0x01, 0x06)
_STARTED, _STDOUT, _STDERR, _STDOUT_END, _STDERR_END, _CREDIT = range(0x11, 0x17)
_EXITED, _REFUSED = 0x18, 0x19

# Type and length of a frame, and the most bytes that one of stdout has.
_HEAD = struct.Struct(">BI")
_LONGEST = 262_144

# How many bytes of stdin may come before the start.
_FIRST_CREDIT = 16_384

# The kernel gives these process ids to no process: a signal to one of them reaches none.
_PIDS = count(2**22 + 1)

# Signals that do not end a command that has no handler for them.
_IGNORED = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}


class CannotRefuse(RuntimeError):
    """A function has refused a command that has begun already."""

    def __init__(self, request: Request, refused: Refused) -> None:
        super().__init__(
            f"{request.cmd!r} has begun, as its stdin needs that; list the refusal itself: {refused}"
        )


class Run:
    """One run of a client that speaks native, from RUN on."""

    def __init__(self, connection: socket, incoming: Incoming) -> None:
        """Reads RUN.

        Raises:
            EOFError: the client has gone before its end.
        """
        self._connection = connection
        self._incoming = incoming
        _, run = self._frame()
        self._fields = fields_of(run)
        passed = iter(incoming.descriptors)
        mode = self._field("stdin", b"null")
        self._stdin = Stdin(mode, next(passed, None) if mode == b"fd" else None)
        self._outputs = [
            Output(mode, next(passed, None) if mode == b"fd" else None)
            for mode in (self._field(name, b"frames") for name in ("stdout", "stderr"))
        ]
        self._credit = _FIRST_CREDIT
        self._deadline: tuple[float, str] | None = None
        # How the client or a time limit has ended it.
        self._ended: dict[str, object] = {}
        self.request = request_of(self._fields, b"")

    def _field(self, name: str, default: bytes) -> bytes:
        return self._fields.get(name, [default])[0]

    def serve(self, answer: Answer, record: Callable[[Request], None]) -> None:
        """Starts the run and ends it.

        Args:
            answer: what comes of it, or a function that says so once its stdin is complete.
            record: is called with the request when more of its stdin is known.

        Raises:
            EOFError: the client has gone.
            CannotRefuse: the function's answer came too late.
        """
        self._read_early()
        found = self._found(answer, record)
        if isinstance(found, Refused):
            self.refuse(found)
        elif not isinstance(found, ConnectionLost):
            self._start()
            self._give(found)
            while not self._is_over(found):
                if callable(found) and self._stdin.is_complete:
                    found = self._found(found, record)
                    if isinstance(found, Refused):
                        raise CannotRefuse(self.request, found)
                    if isinstance(found, ConnectionLost):
                        return
                    self._give(found)
                else:
                    self._step()
            self._record(record)
            self._exit(found)

    def _found(self, answer: Answer, record: Callable[[Request], None]) -> Answer:
        """The answer; what a function says if it can be asked now."""
        self._record(record)
        if self._ended:
            return Refused("cancelled", "the client has cancelled it")
        if callable(answer) and self._stdin.is_complete:
            return answer(self.request)
        return answer

    def _record(self, record: Callable[[Request], None]) -> None:
        self.request = request_of(self._fields, bytes(self._stdin.data))
        record(self.request)

    def refuse(self, refused: Refused) -> None:
        """Says that nothing is run."""
        what: dict[str, object] = {"kind": refused.kind, "message": refused.message}
        if refused.step is not None:
            what["step"] = refused.step
        if refused.errno is not None:
            what["errno"] = refused.errno
        self._send(_REFUSED, **what)

    def _read_early(self) -> None:
        """Reads of stdin what comes without a start."""
        stdin = self._stdin
        stdin.read_file()
        while stdin.in_frames and not stdin.is_complete and self._credit:
            self._take(*self._frame())
            if self._ended:
                return

    def _start(self) -> None:
        self._send(_STARTED, pid=next(_PIDS))
        self._grant()
        limits = [
            (int(self._fields[name][0]), name.replace("_", "-"))
            for name in ("timeout", "idle_timeout")
            if name in self._fields
        ]
        if limits:
            milliseconds, name = min(limits)
            self._deadline = monotonic() + milliseconds / 1000, name

    def _give(self, found: Answer) -> None:
        """Writes output, as far as it may be written."""
        if not isinstance(found, Completed):
            return
        outputs: list[Any] = [found.stdout, found.stderr]  # pyright: ignore
        both = list(map(as_bytes, outputs))
        if "max_output" in self._fields:
            most = int(self._fields["max_output"][0])
            if sum(map(len, both)) > most:
                self._end(signal.SIGTERM, "output-limit")
            both[0] = both[0][:most]
            both[1] = both[1][: most - len(both[0])]
        if self._outputs[1].mode == b"stdout":
            both = [b"".join(both), b""]
        for output, data, kind in zip(self._outputs, both, (_STDOUT, _STDERR)):
            if output.mode == b"frames":
                for at in range(0, len(data), _LONGEST):
                    self._frame_out(kind, data[at : at + _LONGEST])
                output.count = len(data)
            elif output.mode == b"fd":
                output.put(data)

    def _is_over(self, found: Answer) -> bool:
        if self._ended:
            return True
        return (
            isinstance(found, Completed)
            and self._stdin.is_complete
            and all(output.is_over for output in self._outputs)
        )

    def _step(self) -> None:
        """Waits until something can be done, and does it."""
        waiting = poll()
        waiting.register(self._connection, POLLIN)
        # In a dictionary: a descriptor may have been passed for several streams.
        work: dict[int, Any] = {}
        if self._stdin.fd is not None and not self._stdin.is_complete:
            work[self._stdin.fd] = self._stdin.read
            waiting.register(self._stdin.fd, POLLIN)
        for output in self._outputs:
            if output.fd is not None and not output.is_over:
                work[output.fd] = output.write
                waiting.register(output.fd, POLLOUT)
        patience = None
        if self._deadline is not None:
            patience = max(0, self._deadline[0] - monotonic()) * 1000
        ready = [] if self._incoming.waits else waiting.poll(patience)
        if self._incoming.waits or any(fd not in work for fd, _ in ready):
            self._take(*self._frame())
            self._grant()
        for fd, _ in ready:
            if fd in work:
                work[fd]()
        if self._deadline is not None and monotonic() >= self._deadline[0]:
            self._end(signal.SIGTERM, self._deadline[1])

    def _take(self, kind: int, payload: bytes) -> None:
        """Does what a frame says."""
        if kind == _STDIN:
            self._stdin.data += payload
            self._credit -= len(payload)
        elif kind == _STDIN_END:
            self._stdin.is_complete = True
        elif kind == _CANCEL:
            self._end(signal.SIGTERM, "cancel")
        elif kind == _SIGNAL:
            number = int(fields_of(payload)["number"][0])
            if number not in _IGNORED:
                self._end(number)

    def _end(self, number: int, by: str | None = None) -> None:
        """Ends the command by a signal."""
        self._ended = {"signal": int(number)}
        if by is not None:
            self._ended["ended_by"] = by

    def _grant(self) -> None:
        """Lets the client send as much as before."""
        if self._credit < _FIRST_CREDIT:
            self._send(_CREDIT, bytes=_FIRST_CREDIT - self._credit)
            self._credit = _FIRST_CREDIT

    def _exit(self, found: Answer) -> None:
        for output, kind in zip(self._outputs, (_STDOUT_END, _STDERR_END)):
            if output.mode == b"frames":
                self._frame_out(kind)
        # Who reads the other ends finds their end before the command's.
        self._incoming.close()
        how = self._ended
        if not how and isinstance(found, Completed):
            how = _ending(found.status)
        stdout, stderr = self._outputs
        self._send(_EXITED, **how, stdout_bytes=stdout.count, stderr_bytes=stderr.count)

    def _frame(self) -> tuple[int, bytes]:
        """The client's next frame.

        Raises:
            EOFError: it has gone.
        """
        head = self._incoming.read(_HEAD.size)
        if len(head) < _HEAD.size:
            raise EOFError
        kind, length = _HEAD.unpack(head)
        payload = self._incoming.read(length)
        if len(payload) < length:
            raise EOFError
        return kind, payload

    def _frame_out(self, kind: int, payload: bytes = b"") -> None:
        self._connection.sendall(_HEAD.pack(kind, len(payload)) + payload)

    def _send(self, kind: int, /, **records: object) -> None:
        pairs = (f"{name}={value}\0" for name, value in records.items())
        self._frame_out(kind, "".join(pairs).encode())


def _ending(status: int) -> dict[str, object]:
    """How a command has ended that has this wait status."""
    number, code = status & 0x7F, status >> 8
    if number == 0 and code < 256:
        return {"exit": code}
    if 0 < number < 0x7F:
        return {"signal": number, "core": status >> 7 & 1}
    return {"unknown": 1}
