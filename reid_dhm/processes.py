"""Command lines of processes that run a module of this package."""

from __future__ import annotations

import sys
from pathlib import Path

# As -m, but without the current folder, in which files of others may lie that are called as
# modules are. The package's own folder comes last, for a checkout that is not installed.
_RUN = (
    "import runpy, sys; sys.path[:] = [*filter(None, sys.path), sys.argv.pop(1)]; "
    "runpy.run_module(sys.argv.pop(1), run_name='__main__', alter_sys=True)"
)


def module_command(module: str, *arguments: str) -> list[str]:
    """The command line that runs a module with this interpreter, wherever it is called.

    Args:
        module: its dotted name; a package's ``__main__`` is run.
        arguments: for the module.
    """
    return [sys.executable, "-c", _RUN, str(Path(__file__).parents[1]), module, *arguments]
