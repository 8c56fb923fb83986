"""What a case of the mutation program tells the reader of its file."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def samples_of(path: Path) -> Path:
    """The folder of files that belong beside a sample."""
    return Path(case_of(path)["samples"])


def case_of(path: Path) -> dict[str, Any]:
    """``samples`` is the folder of the samples, ``sound`` whether the file is one of them."""
    return json.loads((path.parent / "case.json").read_text())
