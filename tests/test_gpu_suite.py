"""The GPU suite's script: what it refuses, and the grids it trains; it was rehearsed by hand."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from reid_dhm.experiments.grid.plan import read_plan

ROOT = Path(__file__).parents[1]
SCRIPT = ROOT / "tools" / "gpu_suite.sh"
GRIDS = ROOT / "docs" / "results" / "grids" / "gpu"


def suite(*arguments: str, script: Path = SCRIPT, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *arguments],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"PATH": "/usr/bin:/bin", **env},
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "error: no command is not one of: pack, check, start, add, collect, keep"),
        (["go"], "error: go is not one of: pack, check"),
        (["pack"], "the folder of the datasets"),
        (["keep"], "the folder of what was returned"),
        (["keep", "nowhere"], "nowhere holds no runs.tar.gz.00: give what collect"),
    ],
)
def test_wrong_usage_is_answered(arguments, message):
    done = suite(*arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_machine_without_the_first_archive_says_how_to_make_it(tmp_path):
    script = tmp_path / "tools" / "gpu_suite.sh"
    script.parent.mkdir()
    shutil.copyfile(SCRIPT, script)
    places = {"OUT": str(tmp_path / "out"), "SUITE_WORK": str(tmp_path / "work")}
    done = suite("check", script=script, **places)
    assert done.returncode == 1
    assert "no .gpu/1.tar was unpacked here: tools/gpu_suite.sh pack DATA" in done.stderr


def test_every_grid_of_the_suite_can_be_planned_and_what_it_names_is_there(monkeypatch):
    monkeypatch.chdir(ROOT)
    lists = re.findall(r"^(?:PEOPLE|CIFAR)=.*", SCRIPT.read_text(), re.MULTILINE)
    named = re.findall(r"([a-z0-9_]+):[0-9]+", "".join(lists))
    assert {"market1501_methods", "model", "cifar100_resnet32"} <= set(named)
    assert set(named) <= {grid.stem for grid in GRIDS.glob("*.yaml")}
    for grid in GRIDS.glob("*.yaml"):
        plan = read_plan(grid)
        assert plan.folder == Path("runs") / grid.stem
        assert len(plan.runs) >= 3
