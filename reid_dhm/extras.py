"""Optional libraries: what needs one names the extra that installs it."""

from __future__ import annotations

from importlib.util import find_spec

from reid_dhm.errors import UnsupportedError


def require(extra: str, purpose: str, *modules: str) -> None:
    """Check that the modules of an extra are installed, without importing them.

    Args:
        extra: a key of ``[project.optional-dependencies]``.
        purpose: what needs them, as the subject of the message.
        modules: names to import.

    Raises:
        UnsupportedError: one is missing; the message names the extra.
    """
    for module in modules:
        if find_spec(module) is None:
            raise UnsupportedError(
                f'{purpose} needs {module}, which is not installed: pip install "reid-dhm[{extra}]"'
            )
