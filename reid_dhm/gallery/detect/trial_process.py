"""The process in which a detector's network is tried; see :mod:`reid_dhm.inference.trial`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from reid_dhm.gallery.detect.network import NetworkDetector
from reid_dhm.inference.trial_process import report


def _detect(asked: dict[str, Any]) -> None:
    NetworkDetector(Path(asked["path"]), asked["family"])  # it tries itself on noise


if __name__ == "__main__":
    sys.exit(report(sys.argv[1], _detect))
