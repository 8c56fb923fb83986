"""The figures of a grid's runs: what every query adds, and the table over seeds."""

from __future__ import annotations

import hashlib
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch

from reid_dhm.config import Config
from reid_dhm.data.classification import load_classification
from reid_dhm.devices import parse_device
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.evaluation.repeats import (
    Condition,
    QueryFigures,
    mean_and_deviation,
    repeated_differences,
)
from reid_dhm.experiments.data_record import record_data
from reid_dhm.experiments.grid.plan import Plan, PlannedRun
from reid_dhm.experiments.grid.runner import PER_QUERY, WEIGHTS, is_done
from reid_dhm.experiments.tasks import (
    build_task,
    classifier_check,
    load_training_sets,
    reid_results,
)
from reid_dhm.files import atomic_path
from reid_dhm.models.card import load_model
from reid_dhm.training.run_folder import read_metrics


def tabulate(
    plan: Plan, device: str = "auto", told: Callable[[PlannedRun], None] | None = None
) -> list[Condition]:
    """The conditions with finished runs, in order, compared with the first of the plan.

    A run's best weights are evaluated once; what every query adds is kept in its folder.

    Args:
        plan: the grid.
        device: of evaluations.
        told: called before a run is evaluated.

    Raises:
        InputError: weights or test images that cannot be used.
    """
    each: dict[str, dict[int, QueryFigures]] = {}
    digests: dict[str, str] = {}
    for run in plan.runs:
        if is_done(run):
            images = _known(digests, run.config)
            found = _stored(run, images) or _evaluated(run, images, device, told)
            each.setdefault(run.condition, {})[run.seed] = found
    reference = each.get(plan.conditions[0], {})
    return [
        _condition(plan, name, each[name], reference) for name in plan.conditions if name in each
    ]


def _condition(
    plan: Plan, name: str, runs: Mapping[int, QueryFigures], reference: Mapping[int, QueryFigures]
) -> Condition:
    means = [run.means() for run in runs.values()]
    shared = [seed for seed in runs if seed in reference] if name != plan.conditions[0] else []
    differences: dict[str, Estimate] = {}
    if shared:
        differences = repeated_differences(
            [runs[seed] for seed in shared], [reference[seed] for seed in shared]
        )
    records = {run.seed: read_metrics(run.folder) for run in plan.of(name) if run.seed in runs}
    seconds = [sum(r["train/seconds"] for r in epochs) for epochs in records.values()]
    return Condition(
        name,
        tuple(runs),
        {figure: mean_and_deviation([m[figure] for m in means]) for figure in means[0]},
        differences,
        len(shared),
        float(np.mean(seconds)) / 60,
        records,
    )


def _stored(run: PlannedRun, images: str) -> QueryFigures | None:
    """The figures kept in the run folder, if they are of its weights and of these images.

    Weights that are gone cannot have changed.
    """
    path = run.folder / PER_QUERY
    if not path.is_file():
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            if str(file["images"]) != images:
                return None
            if (run.folder / WEIGHTS).is_file() and str(file["weights"]) != _digest(run.folder):
                return None
            return QueryFigures(tuple(map(str, file["names"])), file["values"], file["clusters"])
    except (OSError, ValueError, KeyError, zipfile.BadZipFile):
        return None  # written again


def _evaluated(
    run: PlannedRun, images: str, device: str, told: Callable[[PlannedRun], None] | None
) -> QueryFigures:
    if told is not None:
        told(run)
    found = _evaluate(run.config, run.folder / WEIGHTS, parse_device(device))
    with atomic_path(run.folder / PER_QUERY) as temporary, temporary.open("wb") as file:
        np.savez_compressed(
            file,
            names=np.array(found.names),
            values=found.values,
            clusters=found.clusters,
            weights=np.array(_digest(run.folder)),
            images=np.array(images),
        )
    return found


def _evaluate(config: Config, weights: Path, device: torch.device) -> QueryFigures:
    model, card = load_model(weights)
    model.to(device)
    if config.task == "classification":
        test = load_classification(config.data.root).test
        correct = classifier_check(config.data, test, card, device)(model)
        values = correct.numpy().astype(np.float64)[None]
        return QueryFigures(("top1",), values, np.arange(len(test)))
    sets = load_training_sets(config)
    results = reid_results(config.test, sets, model, card, device)
    return QueryFigures.joined(
        [
            QueryFigures.of(result, np.array([sample.pid for sample in each.query], np.int64))
            for each, result in zip(sets, results, strict=True)
        ]
    )


def _known(digests: dict[str, str], config: Config) -> str:
    """The digest of a configuration's test images, read once per dataset."""
    key = f"{config.task} {config.data} {config.test}"
    if key not in digests:
        digests[key] = _test_digest(config)
    return digests[key]


def _test_digest(config: Config) -> str:
    """Identifies the test images, their labels, and how they are ranked."""
    digest: str = record_data((), build_task(config).test)["test"]["sha256"]
    return f"{digest} {config.test}"


def _digest(folder: Path) -> str:
    return hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
