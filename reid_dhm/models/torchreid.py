"""torchreid, imported when needed; its PyPI package and upstream have different module names."""

from __future__ import annotations

import importlib
from types import ModuleType

from reid_dhm.errors import UnsupportedError


def torchreid_module(name: str) -> ModuleType:
    """A module of torchreid by its name in upstream, such as ``models`` or ``metrics.rank``.

    Raises:
        UnsupportedError: torchreid, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(f"torchreid.reid.{name}")
    except ImportError:
        try:
            return importlib.import_module(f"torchreid.{name}")
        except ImportError as error:
            raise UnsupportedError(
                f"torchreid cannot be imported ({error}): pip install torchreid gdown tensorboard"
            ) from error
