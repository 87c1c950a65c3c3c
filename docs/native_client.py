"""A client of the native protocol in one file: run(address, argv, stdin) returns exit record, stdout and stderr."""

import os
import socket
import struct
import sys

RUN, STDIN, STDIN_END = 0x01, 0x02, 0x03
STARTED, STDOUT, STDERR, STDOUT_END, STDERR_END, CREDIT, STDIN_CLOSED = range(0x11, 0x18)
EXITED, REFUSED, ERROR, FIRST_SKIPPED = 0x18, 0x19, 0x1A, 0x80


class NotRun(Exception):
    """The server refused; nothing was run."""


class Broken(Exception):
    """The conversation broke off; the command may have run."""


def records(*pairs):
    return b"".join(name + b"=" + value + b"\0" for name, value in pairs)


def fields(payload):
    return dict(record.split(b"=", 1) for record in payload.split(b"\0")[:-1])


def frame(kind, payload=b""):
    return struct.pack(">BI", kind, len(payload)) + payload


def read(stream, length):
    if len(data := stream.read(length)) < length:
        raise Broken("end of file")
    return data


def connect(address):
    if address.isdigit():
        return socket.create_connection(("127.0.0.1", int(address)))
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    return sock


def run(address, argv, stdin=b""):
    with connect(address) as sock, sock.makefile("rb") as stream:
        sock.sendall(b"#sockproc/2\r\n0\r\n")
        if stream.readline(64) != b"#sockproc/2\r\n":
            raise NotRun("the server does not speak version 2 of the native protocol")
        sock.sendall(frame(RUN, records((b"stdin", b"frames"), *((b"arg", word) for word in argv))))
        output = {STDOUT: bytearray(), STDERR: bytearray()}
        credit, ended = 16384, False
        while True:
            while not ended and (credit or not stdin):
                part = stdin[: min(credit, 262144)]
                sock.sendall(frame(STDIN, part) if part else frame(STDIN_END))
                stdin, credit, ended = stdin[len(part) :], credit - len(part), not part
            kind, length = struct.unpack(">BI", read(stream, 5))
            payload = read(stream, length)
            if kind in output:
                output[kind] += payload
            elif kind == CREDIT:
                credit += int(fields(payload)[b"bytes"])
            elif kind == STDIN_CLOSED:
                ended = True
            elif kind == EXITED:
                return fields(payload), bytes(output[STDOUT]), bytes(output[STDERR])
            elif kind == REFUSED:
                raise NotRun(fields(payload)[b"message"].decode(errors="replace"))
            elif kind not in (STARTED, STDOUT_END, STDERR_END) and kind < FIRST_SKIPPED:
                raise Broken(fields(payload) if kind == ERROR else f"frame {kind:#x}")


if __name__ == "__main__":  # native_client.py ADDRESS PROGRAM [ARGUMENT]... <stdin
    how, out, err = run(sys.argv[1], map(os.fsencode, sys.argv[2:]), sys.stdin.buffer.read())
    sys.stdout.buffer.write(out)
    sys.stderr.buffer.write(err)
    sys.exit(int(how.get(b"exit", 128 + int(how.get(b"signal", 127)))))
