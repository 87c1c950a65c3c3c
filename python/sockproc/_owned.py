"""``python -m sockproc._owned PID serve …``: a server that ends with its parent process PID."""

from __future__ import annotations

import signal
import sys

from ._native import main
from ._server import PROGRAM

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    sys.exit(main(PROGRAM, sys.argv[2:], int(sys.argv[1])))
