"""Starts this package in another process, wherever it was imported from."""

from __future__ import annotations

import os
import sys

# Not `-m`, which searches the new process' sys.path: ours may have been changed.
_LOADER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sockproc", sys.argv.pop(1))
package = importlib.util.module_from_spec(spec)
sys.modules["sockproc"] = package
spec.loader.exec_module(package)
importlib.import_module(sys.argv.pop(1)).main()
"""

# Only the compiled half, without the rest of this package and without `site`: each import delays the first run of
# a program.
_HELPER = """
import sys
from importlib.machinery import ExtensionFileLoader, ModuleSpec
name, path = "sockproc._native", sys.argv[1]
loader = ExtensionFileLoader(name, path)
native = loader.create_module(ModuleSpec(name, loader, origin=path))
loader.exec_module(native)
sys.exit(native.main([], sys.argv[2:])[0])
"""


def helper(native: str) -> list[str]:
    """The command line that becomes a private helper. ``native`` is the path of the compiled module."""
    return [sys.executable, "-P", "-S", "-c", _HELPER.strip(), os.path.abspath(native)]


def program(module: str) -> list[str]:
    """The command line that calls ``main`` of one of our modules.

    No module in the working directory is imported.
    """
    package = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__init__.py")
    # This name is what `ps` shows.
    return [sys.executable, "-P", "-c", _LOADER.strip(), package, module]
