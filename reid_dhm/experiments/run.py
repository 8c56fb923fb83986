"""From a configuration to a trained model in a run folder."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from reid_dhm.config import Config, load_config, to_yaml
from reid_dhm.data.loading import build_loader
from reid_dhm.data.samples import label_of_pid
from reid_dhm.errors import InputError
from reid_dhm.experiments.build import (
    build_augmentation,
    build_criterion,
    build_model,
    build_sampler,
    build_trainer,
)
from reid_dhm.experiments.data_record import check_data_record, record_data, write_data_record
from reid_dhm.experiments.tasks import GIB, build_task
from reid_dhm.experiments.teaching import build_teacher
from reid_dhm.files import write_text
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training import randomness
from reid_dhm.training.diagnostics import gradient_agreement
from reid_dhm.training.loop import EpochReport, StepReport, TrainingData
from reid_dhm.training.processes import build_accelerator
from reid_dhm.training.run_folder import RunFolder, record_environment
from reid_dhm.training.state import find_state

logger = logging.getLogger(__name__)


DIAGNOSED_BATCHES = 8
DIAGNOSIS = 2**31  # a step that no training reaches

# Keys that may differ between a run and its continuation: none changes the weights.
_FREE_ON_RESUME = (
    *("resume", "output", "data.root", "data.cache_limit", "data.workers", "model.weights"),
    *("train.evaluate_every", "train.diagnose_every"),
)


def run_experiment(
    config: Config,
    progress: StepReport | None = None,
    report: EpochReport | None = None,
    decode_progress: Callable[[int, int], None] | None = None,
) -> dict[str, float]:
    """Train as configured.

    Args:
        config: what to train; ``config.output`` becomes the run folder.
        progress: called after every training step.
        report: called after every epoch.
        decode_progress: called with the images decoded and the images in all.

    Returns:
        The figures of the best evaluation (``mAP``, ``rank1`` … or ``top1``), with its ``epoch``.

    Raises:
        InputError: the configuration or the data cannot be used, or differ from those of the run
            that is resumed.
        NonFiniteLossError: the loss or the weights are not finite.
    """
    folder = Path(config.output)
    _refuse_other_runs(folder, config)
    settings = config.train
    accelerator = build_accelerator(settings.precision, settings.accumulate)
    task = build_task(config)
    record = record_data(task.train, task.test)
    if find_state(folder / "last") is not None:
        check_data_record(folder, record)
    label_of = label_of_pid(task.train)
    labels = [label_of[sample.pid] for sample in task.train]
    size = (config.model.size[0], config.model.size[1])
    sampler = build_sampler(config, labels, accelerator.process_index, accelerator.num_processes)
    if settings.diagnose_every and len(sampler) < 2:
        raise InputError("train.diagnose_every needs two batches an epoch: set it to 0")
    criterion = build_criterion(config)
    augment = build_augmentation(config, size)

    digest = record["train"]["sha256"]
    teacher = build_teacher(config.loss, task.train, digest, folder, accelerator, decode_progress)
    taught = 0 if teacher is None or not teacher.embedding else teacher.embeddings.shape[1]
    torch.manual_seed(randomness.derived_seed(config.seed, randomness.MODEL))
    model, card = build_model(config, len(label_of), size, taught)
    evaluate = task.evaluator(card, accelerator.device)
    limit = int(config.data.cache_limit * GIB)
    loader = build_loader(
        task.train, labels, size, accelerator.device, limit, config.data.workers, decode_progress
    )
    card = replace(card, training={**card.training, "data": task.names})
    data = TrainingData(task.train, loader, sampler, augment, teacher)
    run = RunFolder(folder, card, keep_branches=config.test.ensemble)
    trainer = build_trainer(settings, model, data, criterion, run, accelerator, config.seed)
    resumed = config.resume and trainer.resume()
    if config.resume and not resumed:
        logger.warning("%s holds nothing to resume: starting from the beginning", folder)
    if accelerator.is_main_process:
        if not resumed:
            write_text(folder / "config.yaml", to_yaml(config))
        write_data_record(folder, record)
        record_environment(folder, accelerator.num_processes, resumed)

    def diagnose(model: ReIDModel, epoch: int) -> dict[str, float]:
        draws = randomness.generator(config.seed, randomness.AUGMENTATION, epoch, DIAGNOSIS)
        chosen = sampler.epoch(epoch)[:DIAGNOSED_BATCHES]
        batches = ((augment(b.images, draws), b.labels) for b in loader.batches(chosen))
        return gradient_agreement(model, criterion, batches)

    return trainer.fit(
        evaluate,
        task.select,
        settings.evaluate_every,
        diagnose,
        settings.diagnose_every,
        progress,
        report,
    )


def _refuse_other_runs(folder: Path, config: Config) -> None:
    """Refuse to overwrite a run, or to continue it under another configuration."""
    found = find_state(folder / "last") is not None
    if found and not config.resume:
        raise InputError(
            f"{folder} already holds a run: continue it with resume=true, or pass another output="
        )
    if found:
        refuse_other_configuration(folder, config)


def refuse_other_configuration(folder: Path, config: Config) -> None:
    """Refuse a run folder whose stored configuration would have given other weights.

    Raises:
        InputError: a key differs; the message names the first.
    """
    stored = folder / "config.yaml"
    if not stored.is_file():
        return
    before = OmegaConf.structured(load_config(stored))
    now = OmegaConf.structured(config)
    for key in _keys(now):
        if key in _FREE_ON_RESUME:
            continue
        old, new = OmegaConf.select(before, key), OmegaConf.select(now, key)
        if old != new:
            raise InputError(
                f"{folder} was trained with {key}={old}, not {new}: resume it unchanged, or pass "
                "another output="
            )


def _keys(config: Any) -> list[str]:
    """Every key of a structured configuration, ``section.key`` for those in sections."""
    keys = []
    for name in config:
        section = config[name]
        keys += [f"{name}.{key}" for key in section] if OmegaConf.is_dict(section) else [name]
    return keys
