"""torchreid, imported when it is needed: its PyPI package and upstream name their modules apart."""

from __future__ import annotations

import importlib
from types import ModuleType

from reid_dhm.errors import InputError


def torchreid_module(name: str) -> ModuleType:
    """A module of torchreid by its name in upstream, such as ``models`` or ``metrics.rank``.

    Raises:
        InputError: torchreid, or something that it imports, is not installed.
    """
    try:
        return importlib.import_module(f"torchreid.reid.{name}")
    except ImportError:
        try:
            return importlib.import_module(f"torchreid.{name}")
        except ImportError as error:
            raise InputError(
                f"torchreid cannot be imported ({error}): pip install torchreid gdown tensorboard"
            ) from error
