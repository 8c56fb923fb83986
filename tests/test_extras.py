"""A missing optional library is named together with the extra that installs it."""

from __future__ import annotations

from pathlib import Path

import pytest

from reid_dhm import UnsupportedError
from reid_dhm.extras import require

PROJECT = Path(__file__).parents[1] / "pyproject.toml"


def test_a_missing_library_is_named_with_its_extra() -> None:
    require("service", "this test", "pytest", "json")
    message = 'this test needs gone_42, which is not installed: pip install "reid-dhm[map]"'
    with pytest.raises(UnsupportedError) as caught:
        require("map", "this test", "pytest", "gone_42")
    assert str(caught.value) == message


def test_every_extra_that_the_package_names_exists() -> None:
    tomllib = pytest.importorskip("tomllib", reason="Python 3.10 cannot read TOML")
    extras = set(tomllib.loads(PROJECT.read_text())["project"]["optional-dependencies"])
    named = set()
    for path in (PROJECT.parent / "reid_dhm").rglob("*.py"):
        for line in path.read_text().splitlines():
            if "require(" in line and '("' in line:
                named.add(line.split('require("')[1].split('"')[0])
    assert {"benchmark", "int8", "map", "metric", "parquet"} <= named <= extras
