"""The folder in the user's cache for graphs, and for which graphs passed their trial."""

from __future__ import annotations

import logging
import os
import sys
from pathlib import Path

from reid_dhm.inference.zoo.registry import models_folder

logger = logging.getLogger(__name__)

SWITCH = "REID_DHM_GRAPH_CACHE"
"""Environment variable; ``off`` for no cache."""


def graphs_folder() -> Path | None:
    """The folder, made if missing; None where there can be none, or others could change it."""
    if os.environ.get(SWITCH) == "off":
        return None
    try:
        folder = models_folder().parent / "graphs"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        shared = sys.platform != "win32" and folder.stat().st_mode & 0o022
    except (OSError, RuntimeError) as error:  # read-only, or a user without a home
        logger.debug("graphs are not cached: %s", error)
        return None
    return None if folder.is_symlink() or shared else folder
