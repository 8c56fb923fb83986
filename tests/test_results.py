"""Figures of the results page come from committed logs, and its grids can be run."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from reid_dhm.experiments.grid.plan import read_plan

RESULTS = Path(__file__).parents[1] / "docs" / "results"
PAGE = (RESULTS / "dhm.md").read_text()
TABLES = ("market1501_methods", "synthetic_methods")  # in the order of the page


def rows(first: str, table: str) -> list[list[str]]:
    """The cells of the rows that begin with ``first``, of the page's half on that experiment."""
    market, rendered = PAGE.split("## Rendered people", 1)
    text = market if table == TABLES[0] else rendered
    found = re.findall(rf"^\| {first} \|(.*)\|$", text, re.MULTILINE)
    return [[cell.strip() for cell in row.split("|")] for row in found]


def logs(table: str, method: str) -> list[list[dict[str, float]]]:
    """The records of a method's runs."""
    return [
        [json.loads(line) for line in path.read_text().splitlines()]
        for path in sorted((RESULTS / "runs" / table).glob(f"{method}_s*.jsonl"))
    ]


def conditions(table: str) -> list[dict[str, Any]]:
    return json.loads((RESULTS / "runs" / table / "table.json").read_text())


@pytest.mark.parametrize("grid", sorted((RESULTS / "grids").glob("*.yaml")), ids=lambda g: g.stem)
def test_every_grid_can_be_planned(grid):
    plan = read_plan(grid)
    assert len(plan.runs) >= 3
    assert plan.folder == Path("runs") / grid.stem
    for run in plan.runs:  # no weights chosen by an evaluation on the way, but for the check
        every = run.config.train.evaluate_every
        assert every == run.config.train.epochs or grid.stem == "synthetic_methods"
    assert f"docs/results/grids/{grid.name}" in PAGE


@pytest.mark.parametrize("table", TABLES)
def test_the_table_is_that_of_the_committed_figures(table):
    for each in conditions(table):
        (cells,) = rows(each["condition"], table)
        shown = [
            f"{f['mean'] * 100:.2f} ± {f['deviation'] * 100:.2f}" for f in each["figures"].values()
        ]
        assert cells[:3] == shown
        for cell, name in zip(cells[3:], ("mAP", "rank1"), strict=True):
            if name in each["differences"]:
                found = each["differences"][name]
                value, (low, high) = found["value"], found["interval"]
                assert cell == f"{value * 100:+.2f} ({low * 100:+.2f} to {high * 100:+.2f})"


@pytest.mark.parametrize("table", TABLES)
def test_the_table_agrees_with_the_logs_of_the_runs(table):
    """Four of the GPU's runs were evaluated again on a CPU, which rounds otherwise."""
    for each in conditions(table):
        found = logs(table, each["condition"])
        best = [max(record.get("test/mAP", 0) for record in run) for run in found]
        assert sum(best) / len(best) == pytest.approx(each["figures"]["mAP"]["mean"], abs=2e-4)


@pytest.mark.parametrize("table", TABLES)
def test_cosines_are_those_of_the_logs(table):
    for stage in ("stem", "stage1", "stage2", "stage3"):
        for branch, *cells in rows(stage, table):
            key, expected = f"gradient/cosine/{stage}/{branch}", []
            for method in ("dsl", "dhm"):
                found = [[r[key] for r in run if key in r] for run in logs(table, method)]
                expected += [sum(run[at] for run in found) / len(found) for at in (0, -1)]
            assert [float(cell) for cell in cells] == [round(value, 2) for value in expected]
