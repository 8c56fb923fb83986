"""A few mutated files and extreme options; ``make soak`` tries thousands."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
# Of each kind a few; networks and databases take too long for every run.
QUICK = ("image", "video", "config", "csv", "detections", "npz", "thresholds", "card", "state",
         "grid", "cards")  # fmt: skip

QUICK_COMMANDS = ("eval", "compare", "train", "models add", "models pull", "gallery list",
                  "gallery show", "gallery merge", "gallery export", "gallery delete")  # fmt: skip


def call(program: str, *arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, HERE / program, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_a_few_mutated_files_of_every_quick_kind_are_read_or_refused():
    chosen = [word for name in QUICK for word in ("--only", name)]
    done = call("mutate.py", "--count", 120, *chosen)
    assert done.returncode == 0, done.stdout
    assert "0 failures" in done.stdout


@pytest.mark.soak
@pytest.mark.timeout(7200)
def test_thousands_of_mutated_files_and_cells_are_read_or_refused():
    done = call("mutate.py")
    assert done.returncode == 0, done.stdout


def test_a_few_extreme_options_of_every_quick_command_are_taken_or_refused():
    chosen = [word for name in QUICK_COMMANDS for word in ("--only", name)]
    done = call("options.py", "--count", 50, *chosen)
    assert done.returncode == 0, done.stdout


def test_a_few_altered_cells_of_a_gallery_are_read_or_refused():
    done = call("cells.py", "--count", 16)
    assert done.returncode == 0, done.stdout


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_altered_cells_of_every_column_are_read_or_refused():
    done = call("cells.py")
    assert done.returncode == 0, done.stdout


def test_nothing_is_left_of_a_deletion_that_was_killed():
    done = call("deletion.py", "--count", 1)
    assert done.returncode == 0, done.stdout


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_nothing_is_left_of_a_hundred_deletions_that_were_killed():
    done = call("deletion.py")
    assert done.returncode == 0, done.stdout


@pytest.mark.soak
@pytest.mark.timeout(14400)
def test_every_option_of_every_command_is_taken_or_refused_at_its_edges():
    done = call("options.py")
    assert done.returncode == 0, done.stdout


PLANTED = """
import os, sys, time
from types import SimpleNamespace
from harness import main

def subject(attempt):
    return SimpleNamespace(cases=1, prepare=lambda folder: None,
                           attempt=lambda number, *_: attempt(number))

SUBJECTS = {
    "fine": subject(lambda number: "accepted" if number < 0 else "refused"),
    "wrong": subject(lambda number: {}["planted"]),
    "slow": subject(lambda number: time.sleep(60) if number >= 0 else "accepted"),
    "gone": subject(lambda number: os.abort()),
}
if __name__ == "__main__":
    sys.exit(main(__file__))
"""


def test_every_kind_of_failure_is_named_with_the_command_that_repeats_it(tmp_path):
    (tmp_path / "planted.py").write_text(PLANTED)
    done = subprocess.run(
        [sys.executable, tmp_path / "planted.py", "--seed", "3", "--seconds", "0.5"],
        env={**os.environ, "PYTHONPATH": f"{HERE}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    for line in (
        "fine: 1 accepted, 1 refused in",
        "wrong: 2 traceback",
        "slow: 1 accepted, 1 hung",
        "gone: 2 crashed",
        "FAILED --seed 3 --only 'wrong' --case 0",
        "KeyError: 'planted'",
        "no end after 0.5 s",
        "exit code -6",
    ):
        assert line in done.stdout
    assert "8 cases, 5 failures" in done.stdout  # a sound sample that is refused is one
