"""A few mutated files for every reader; ``make soak`` reads thousands."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("mutate.py")
# Of each kind a few; networks and databases take too long for every run.
QUICK = ("image", "video", "config", "csv", "detections", "npz", "thresholds", "card")


def read_mutated(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, PROGRAM, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_few_mutated_files_of_every_quick_kind_are_read_or_refused():
    chosen = [word for name in QUICK for word in ("--only", name)]
    done = read_mutated("--count", 250, *chosen)
    assert done.returncode == 0, done.stdout
    assert "0 failures" in done.stdout


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousands_of_mutated_files_and_cells_are_read_or_refused():
    done = read_mutated("--count", 7200)
    assert done.returncode == 0, done.stdout


PLANTED = """
import os, time
from types import SimpleNamespace

def reader(read):
    def write(folder):
        (folder / "file").write_text("sound")
    return SimpleNamespace(share=1, samples=write, read=read, is_text=False)

def refuse(path):
    raise FileNotFoundError(path)

READERS = {
    "fine": reader(lambda path: None),
    "refused": reader(refuse),
    "wrong": reader(lambda path: {}["planted"]),
    "slow": reader(lambda path: time.sleep(60)),
    "gone": reader(lambda path: os.abort()),
}
"""


def test_every_kind_of_failure_is_named_with_the_command_that_repeats_it(tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED)
    done = read_mutated(
        "--count", 5, "--seed", 3, "--seconds", 2, "--readers", tmp_path / "planted.py"
    )
    assert done.returncode == 1
    for line in (
        "fine: 2 read",
        "wrong: 2 traceback",
        "slow: 2 hung",
        "gone: 2 crashed",
        "FAILED --seed 3 --only wrong --case 0",
        "KeyError: 'planted'",
        "no end after 2 s",
        "exit code -6",
    ):
        assert line in done.stdout
    assert "10 cases, 7 failures" in done.stdout  # a sound sample that is refused is one
