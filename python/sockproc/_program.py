"""How this package is started in a process of its own, wherever it was imported from."""

from __future__ import annotations

import os
import sys

# Not `-m`, which looks along the new process' sys.path: this one's may have been changed since.
_LOADER = """
import importlib.util, sys
spec = importlib.util.spec_from_file_location("sockproc", sys.argv.pop(1))
package = importlib.util.module_from_spec(spec)
sys.modules["sockproc"] = package
spec.loader.exec_module(package)
importlib.import_module(sys.argv.pop(1)).main()
"""


def program(module: str) -> list[str]:
    """The command line that calls ``main`` of one of our modules.

    Nothing that lies in the working directory is imported.
    """
    package = os.path.join(os.path.dirname(os.path.abspath(__file__)), "__init__.py")
    # The name is for those who look at `ps`.
    return [sys.executable, "-P", "-c", _LOADER.strip(), package, module]
