"""The report of a grid, and the comparison of its first seed's models."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path

import torch

from reid_dhm.evaluation.comparison import Comparison
from reid_dhm.evaluation.inputs import ModelOptions, embed_dataset
from reid_dhm.evaluation.repeats import Condition
from reid_dhm.evaluation.run import run
from reid_dhm.evaluation.settings import Settings
from reid_dhm.experiments.grid.plan import Plan
from reid_dhm.experiments.grid.runner import WEIGHTS, epochs_done, is_done
from reid_dhm.experiments.tasks import load_training_sets
from reid_dhm.report.comparison_report import write_comparison
from reid_dhm.report.experiment_report import write_experiment
from reid_dhm.version import __version__


def write_report(
    plan: Plan,
    conditions: Sequence[Condition],
    failures: Mapping[str, str],
    device: str = "auto",
    progress: Callable[[int, int], None] | None = None,
) -> Path:
    """Write ``report/`` and, for people of one dataset, ``comparison/`` into the grid's folder.

    Args:
        plan: the grid.
        conditions: its table.
        failures: reasons by run.
        device: on which the compared models embed.
        progress: called with the steps done and their total.

    Returns:
        The page to open.
    """
    unfinished = {
        each.folder.name: failures.get(
            each.folder.name, f"{epochs_done(each)} of {each.config.train.epochs} epochs"
        )
        for each in plan.runs
        if not is_done(each)
    }
    compared = _compare(plan, device, progress)
    folder = plan.folder / "report"
    write_experiment(
        folder,
        plan.source.stem,
        conditions,
        _facts(plan),
        unfinished,
        "../comparison/index.html" if compared else None,
    )
    return folder / "index.html"


def _compare(plan: Plan, device: str, progress: Callable[[int, int], None] | None) -> bool:
    """Compare the models of the first seed for which two or more conditions are done."""
    config = plan.runs[0].config
    if config.task != "reid" or len(config.data.name) != 1:
        return False
    seeds = list(dict.fromkeys(each.seed for each in plan.runs))
    there = [r for r in plan.runs if is_done(r) and (r.folder / WEIGHTS).is_file()]
    of_seed = ([r for r in there if r.seed == seed] for seed in seeds)
    runs = next((found for found in of_seed if len(found) > 1), [])
    if not runs or len({str(each.config.data) for each in runs}) > 1:
        return False
    dataset = load_training_sets(config)[0]
    test = config.test
    options = ModelOptions(flip=test.flip, device=device)
    inputs = [
        replace(
            embed_dataset(each.folder, dataset, options, lambda title: nullcontext(_silent)),
            name=each.condition,
        )
        for each in runs
    ]
    settings = Settings(metric=test.metric, camera_rule=test.camera_rule, device=device)
    comparison = Comparison.of([run(each, settings) for each in inputs])
    write_comparison(plan.folder / "comparison", comparison, on_progress=progress)
    return True


def _silent(done: int, total: int) -> None:
    """Progress that nobody watches."""


def _facts(plan: Plan) -> dict[str, str]:
    first = plan.runs[0]
    return {
        "grid": str(plan.source),
        "configuration": plan.base.stem,
        "task": first.config.task,
        "data": ", ".join(first.config.data.name),
        "backbone": first.config.model.backbone,
        "epochs": str(first.config.train.epochs),
        "runs": str(len(plan.runs)),
        "repeat with": f"reid-dhm experiment {plan.source}",
        "reid-dhm": __version__,
        "PyTorch": torch.__version__,
    }
