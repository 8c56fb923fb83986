"""Figures of the results page come from committed logs, and its grids can be run."""

import json
import re
from pathlib import Path

import pytest

from reid_dhm.experiments.grid.plan import read_plan

RESULTS = Path(__file__).parents[1] / "docs" / "results"
RUNS = RESULTS / "runs" / "synthetic_methods"
PAGE = (RESULTS / "dhm.md").read_text()


def rows(first: str) -> list[list[str]]:
    """The cells of every table row of the page that begins with ``first``."""
    found = re.findall(rf"^\| {first} \|(.*)\|$", PAGE, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found]


@pytest.mark.parametrize("grid", sorted((RESULTS / "grids").glob("*.yaml")), ids=lambda g: g.stem)
def test_every_grid_can_be_planned(grid):
    plan = read_plan(grid)
    assert len(plan.runs) >= 3
    assert plan.folder == Path("runs") / grid.stem
    for run in plan.runs:  # no weights chosen by an evaluation on the way, but for the check
        every = run.config.train.evaluate_every
        assert every == run.config.train.epochs or grid.stem == "synthetic_methods"
    assert f"docs/results/grids/{grid.name}" in PAGE


def test_the_table_is_that_of_the_committed_figures():
    for each in json.loads((RUNS / "table.json").read_text()):
        (cells,) = rows(each["condition"])
        shown = [
            f"{f['mean'] * 100:.2f} ± {f['deviation'] * 100:.2f}" for f in each["figures"].values()
        ]
        assert cells[:3] == shown
        for cell, name in zip(cells[3:], ("mAP", "rank1"), strict=True):
            if name in each["differences"]:
                found = each["differences"][name]
                value, (low, high) = found["value"], found["interval"]
                assert cell == f"{value * 100:+.2f} ({low * 100:+.2f} to {high * 100:+.2f})"


def test_the_table_agrees_with_the_logs_of_the_runs():
    for each in json.loads((RUNS / "table.json").read_text()):
        best = [
            max(json.loads(line).get("test/mAP", 0) for line in path.read_text().splitlines())
            for path in sorted(RUNS.glob(f"{each['condition']}_s*.jsonl"))
        ]
        assert sum(best) / len(best) == pytest.approx(each["figures"]["mAP"]["mean"], abs=1e-9)


def test_cosines_are_those_of_the_logs():
    for stage in ("stem", "stage1", "stage2", "stage3"):
        for branch, *cells in rows(stage):
            key, expected = f"gradient/cosine/{stage}/{branch}", []
            for method in ("dsl", "dhm"):
                logs = [
                    [json.loads(line)[key] for line in path.read_text().splitlines()]
                    for path in sorted(RUNS.glob(f"{method}_s*.jsonl"))
                ]
                expected += [sum(log[at] for log in logs) / len(logs) for at in (0, -1)]
            assert [float(cell) for cell in cells] == [round(value, 2) for value in expected]
