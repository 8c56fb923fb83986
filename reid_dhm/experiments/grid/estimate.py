"""How long a grid will take: a few steps of every condition on this machine, times their number."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import torch

from reid_dhm.data.samples import label_of_pid
from reid_dhm.experiments.build import (
    build_augmentation,
    build_criterion,
    build_model,
    build_sampler,
)
from reid_dhm.experiments.grid.plan import Plan, PlannedRun
from reid_dhm.experiments.grid.runner import epochs_done, refuse_changed_runs
from reid_dhm.experiments.tasks import build_task
from reid_dhm.training.optimization import build_optimizer
from reid_dhm.training.run_folder import read_metrics

_STEPS = 3  # timed at most, after one that warms up
_ENOUGH = 5.0  # seconds of timed steps


@dataclass(frozen=True)
class Estimate:
    """Time that the rest of a grid needs.

    Attributes:
        seconds: of each run that is not done, by the name of its folder.
        total: of all of them, on the devices given; without evaluations.
    """

    seconds: dict[str, float]
    total: float


def estimate(plan: Plan, device: str, devices: int) -> Estimate:
    """Estimate the training time that is left; epochs that runs of a condition logged count first.

    Raises:
        InputError: data or a configuration that cannot be used, or a run that was trained under
            another one, before anything is trained.
    """
    refuse_changed_runs(plan)
    epoch_seconds: dict[str, float] = {}
    seconds = {}
    for run in plan.runs:
        left = run.config.train.epochs - epochs_done(run)
        if left <= 0:
            continue
        if run.condition not in epoch_seconds:
            logged = [
                record["train/seconds"]
                for other in plan.of(run.condition)
                for record in read_metrics(other.folder)
            ]
            epoch_seconds[run.condition] = (
                sum(logged) / len(logged) if logged else _epoch_seconds(run, device)
            )
        seconds[run.folder.name] = left * epoch_seconds[run.condition]
    longest = max(seconds.values(), default=0.0)
    return Estimate(seconds, max(longest, sum(seconds.values()) / devices))


def _epoch_seconds(run: PlannedRun, device: str) -> float:
    """Seconds of an epoch, from steps on random images with random weights."""
    config = replace(run.config, model=replace(run.config.model, weights=None))
    task = build_task(config)
    label_of = label_of_pid(task.train)
    labels = [label_of[sample.pid] for sample in task.train]
    sampler = build_sampler(config, labels, 0, 1)
    size = (config.model.size[0], config.model.size[1])
    generator = torch.Generator().manual_seed(0)
    state = torch.get_rng_state()
    model, _ = build_model(config, len(label_of), size)
    torch.set_rng_state(state)
    model.to(device).to(memory_format=torch.channels_last).train()
    criterion, augment = build_criterion(config), build_augmentation(config, size)
    optimizer = build_optimizer(model.parameters(), config.train.optimizer, 0.0, 0.0, 0.9)
    rows = sampler.epoch(0)[0]
    images = torch.randint(0, 256, (len(rows), 3, *size), dtype=torch.uint8, generator=generator)
    images, targets = images.to(device), torch.tensor([labels[row] for row in rows]).to(device)
    bf16 = config.train.precision != "no"
    timed, start = 0, time.perf_counter()
    for step in range(_STEPS + 1):
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=bf16):
            outputs = model(augment(images, generator))
        criterion(outputs, targets, generator)["total"].backward()
        optimizer.step()
        optimizer.zero_grad()
        if torch.device(device).type == "cuda":
            torch.cuda.synchronize()
        if step == 0:
            start = time.perf_counter()
        timed, passed = step, time.perf_counter() - start
        if timed and passed > _ENOUGH:
            break
    return passed / timed * len(sampler)
