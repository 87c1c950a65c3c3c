"""The private helper of a process that names no server."""

from __future__ import annotations

import sys

from ._native import main as native_main


def main() -> None:
    """Serves the process that started this one, until that has died."""
    exit_code, _ = native_main([], sys.argv[1:])
    sys.exit(exit_code)
