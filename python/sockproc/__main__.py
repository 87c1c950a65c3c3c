"""The ``sockproc`` command: ``python -m sockproc``, and the script that pip installs."""

from __future__ import annotations

import signal
import sys

from ._native import main as native_main
from ._server import PROGRAM


def main() -> None:
    """Runs the command line of this process and exits with its exit code."""
    # No traceback: Ctrl-C ends this as it ends any other command.
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(native_main(PROGRAM, sys.argv[1:]))


if __name__ == "__main__":
    main()
