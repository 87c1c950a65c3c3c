"""The ``sockproc`` command: ``python -m sockproc``, and the script that pip installs."""

from __future__ import annotations

import signal
import sys

from ._native import main as native_main
from ._program import program


def main() -> None:
    """Runs the command line of this process and exits with its exit code."""
    # No traceback: Ctrl-C ends this as it ends any other command.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    exit_code, told = native_main(program("sockproc.__main__"), sys.argv[1:])
    sys.stderr.write(told)
    sys.exit(exit_code)


if __name__ == "__main__":
    main()
