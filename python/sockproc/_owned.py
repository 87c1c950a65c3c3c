"""A server that ends with the process that started it: see :class:`sockproc.Server`."""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from ._native import main as native_main
from ._program import program


def main() -> None:
    """Serves as ``sys.argv`` says: a file for error messages, the parent's pid, a command line."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    report, owner = sys.argv[1], int(sys.argv[2])
    ourselves = [*program("sockproc._owned"), *sys.argv[1:3]]
    exit_code, told = native_main(ourselves, sys.argv[3:], owner)
    # After the start no one reads that file: errors are in the server's log.
    with suppress(OSError), open(report, "r+", encoding="utf-8") as file:
        file.write(told)
    sys.exit(exit_code)
