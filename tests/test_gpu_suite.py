"""The GPU suite's script: its steps, and what it refuses; its steps were rehearsed by hand."""

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[1] / "tools" / "gpu_suite.sh"


def suite(*arguments: str, script: Path = SCRIPT) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["bash", str(script), *arguments], capture_output=True, text=True, timeout=60, check=False
    )


def test_steps_come_by_rising_cost():
    assert suite("list").stdout.split() == [
        *("check", "first", "methods", "osnet", "cifar_resnet32", "cifar_wrn16_8"),
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "last"], "error: step last is not one of: check first"),
        (["go"], "error: go is not one of: list, pack, run, keep"),
        (["pack", "first"], "the folder of the datasets"),
    ],
)
def test_wrong_usage_is_answered(arguments, message):
    done = suite(*arguments)
    assert done.returncode == 1
    assert message in done.stderr


def test_a_step_without_its_archive_says_how_to_make_it(tmp_path):
    """And one of which parts are missing waits for them."""
    script = tmp_path / "tools" / "gpu_suite.sh"
    script.parent.mkdir()
    shutil.copyfile(SCRIPT, script)
    done = suite("run", "cifar_wrn16_8", script=script)
    assert "no .gpu/cifar_wrn16_8.tar.gz.* here: tools/gpu_suite.sh pack" in done.stderr
    (tmp_path / ".gpu").mkdir()
    (tmp_path / ".gpu" / "cifar_wrn16_8.tar.gz.00of03").write_bytes(b"")
    done = suite("run", "cifar_wrn16_8", script=script)
    assert done.returncode == 0
    assert "1 of 3 parts are here" in done.stdout
