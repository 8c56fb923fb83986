"""From a configuration to a trained model in a run folder: builds the parts and starts the loop."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf

from reid_dhm.config import Config, load_config, to_yaml
from reid_dhm.data.augmentation import TestTransform, TrainAugmentation
from reid_dhm.data.loading import build_loader
from reid_dhm.data.samplers import IdentitySampler, ShuffleSampler
from reid_dhm.data.samples import label_of_pid
from reid_dhm.errors import InputError
from reid_dhm.experiments.tasks import GIB, build_task
from reid_dhm.files import write_text
from reid_dhm.models.branches import BranchSpec, default_branches
from reid_dhm.models.card import ModelCard
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training import randomness
from reid_dhm.training.diagnostics import gradient_agreement
from reid_dhm.training.loop import Trainer
from reid_dhm.training.losses import Criterion, build_metric_loss
from reid_dhm.training.parts import Augment, Progress, Report, build_accelerator
from reid_dhm.training.runlog import record_environment
from reid_dhm.training.state import find_state

logger = logging.getLogger(__name__)

Size = tuple[int, int]
DecodeProgress = Callable[[int, int], None]

DIAGNOSED_BATCHES = 8
DIAGNOSIS = 2**31  # a step that no training reaches

# What may differ between a run and its continuation: none of it changes the weights.
_FREE_ON_RESUME = (
    *("resume", "output", "data.root", "data.cache_limit", "data.workers", "model.weights"),
    *("train.evaluate_every", "train.diagnose_every"),
)


def run_experiment(
    config: Config,
    progress: Progress | None = None,
    report: Report | None = None,
    decode_progress: DecodeProgress | None = None,
) -> dict[str, float]:
    """Train as configured.

    Args:
        config: what to train; ``config.output`` becomes the run folder.
        progress: told after every training step.
        report: told after every epoch.
        decode_progress: told while images are decoded.

    Returns:
        The figures of the best evaluation (``mAP``, ``rank1`` … or ``top1``), with its ``epoch``.

    Raises:
        InputError: anything in the configuration or the data that cannot be used.
    """
    folder = Path(config.output)
    _refuse_other_runs(folder, config)
    accelerator = build_accelerator(config.train)
    task = build_task(config)
    label_of = label_of_pid(task.train)
    labels = [label_of[sample.pid] for sample in task.train]
    size: Size = (config.model.size[0], config.model.size[1])
    sampler = build_sampler(config, labels, accelerator.process_index, accelerator.num_processes)
    if config.train.diagnose_every and len(sampler) < 2:
        raise InputError("train.diagnose_every needs two batches an epoch: set it to 0")
    criterion = build_criterion(config)
    augment = build_augmentation(config, size)

    torch.manual_seed(randomness.derived_seed(config.seed, randomness.MODEL))
    model, card = build_model(config, len(label_of), size)
    evaluate = task.evaluator(card, accelerator.device)
    limit = int(config.data.cache_limit * GIB)
    loader = build_loader(
        task.train, labels, size, accelerator.device, limit, config.data.workers, decode_progress
    )
    trainer = Trainer(
        model,
        loader,
        sampler,
        task.train,
        augment,
        criterion,
        config.train,
        config.seed,
        folder,
        card,
        accelerator,
        keep_branches=config.test.ensemble,
    )
    resumed = config.resume and trainer.resume()
    if config.resume and not resumed:
        logger.warning("%s holds nothing to resume: starting anew", folder)
    if accelerator.is_main_process:
        if not resumed:
            write_text(folder / "config.yaml", to_yaml(config))
        record_environment(folder, accelerator.num_processes, resumed)

    def diagnose(model: ReIDModel, epoch: int) -> dict[str, float]:
        draws = randomness.generator(config.seed, randomness.AUGMENTATION, epoch, DIAGNOSIS)
        chosen = sampler.epoch(epoch)[:DIAGNOSED_BATCHES]
        batches = ((augment(b.images, draws), b.labels) for b in loader.batches(chosen))
        return gradient_agreement(model, criterion, batches)

    return trainer.fit(evaluate, task.select, diagnose, progress, report)


def build_model(config: Config, num_classes: int, size: Size) -> tuple[ReIDModel, ModelCard]:
    """The model of a configuration and its card; ``method: baseline`` has no branches."""
    settings = config.model
    backbone = build_backbone(settings.backbone, settings.weights, settings.last_stride)
    branches: list[BranchSpec] = []
    if config.method != "baseline":
        branches = (
            default_branches(backbone)
            if settings.branches is None
            else [BranchSpec(branch.after, branch.init) for branch in settings.branches]
        )
        if not branches:
            raise InputError(f"method {config.method} needs branches: fill model.branches")
    model = ReIDModel(
        backbone, num_classes, branches, settings.pooling, settings.neck, settings.fork
    )
    card = ModelCard(
        backbone=settings.backbone,
        num_classes=num_classes,
        size=size,
        pooling=settings.pooling,
        neck=settings.neck,
        last_stride=settings.last_stride,
        branches=tuple(branches),
        embedding="ensemble" if config.test.ensemble else "main",
        training={
            "method": config.method,
            "task": config.task,
            "data": config.data.name,
            "seed": config.seed,
        },
    )
    return model, card


def build_sampler(
    config: Config, labels: Sequence[int], rank: int, world_size: int
) -> IdentitySampler | ShuffleSampler:
    """P×K identities for re-ID, shuffled images for classification."""
    train = config.train
    reid = config.task == "reid"
    whole = train.num_identities * train.num_instances if reid else train.batch_size
    if whole // world_size < 2:
        raise InputError(
            f"a batch has {whole} images for {world_size} processes, and batch normalisation "
            "needs two for each: raise it"
        )
    if not reid:
        return ShuffleSampler(labels, train.batch_size, config.seed, rank, world_size)
    return IdentitySampler(
        labels, train.num_identities, train.num_instances, config.seed, rank, world_size
    )


def build_augmentation(config: Config, size: Size) -> Augment:
    """The training augmentation, or resizing and normalisation alone."""
    data = config.data
    if data.augment:
        return TrainAugmentation(size, flip=data.flip, pad=data.pad, erasing=data.erasing)
    plain = TestTransform(size)
    return lambda images, generator: plain(images)


def build_criterion(config: Config) -> Criterion:
    """The objective; ``method`` decides whether heads mimic each other."""
    loss = config.loss
    metric = (
        None if config.task == "classification" else build_metric_loss(loss.metric, loss.margin)
    )
    return Criterion(
        alpha=loss.alpha if config.method == "dhm" else 0.0,
        temperature=loss.temperature,
        smoothing=loss.smoothing,
        metric=metric,
        metric_weight=loss.metric_weight,
        head_weights=tuple(loss.head_weights),
        mimic_drop=loss.mimic_drop,
    )


def _refuse_other_runs(folder: Path, config: Config) -> None:
    """Refuse to overwrite a run, or to continue it under another configuration."""
    found = find_state(folder / "last") is not None
    if found and not config.resume:
        raise InputError(
            f"{folder} already holds a run: continue it with resume=true, or pass another output="
        )
    stored = folder / "config.yaml"
    if not (found and stored.is_file()):
        return
    before = OmegaConf.structured(load_config(stored))
    now = OmegaConf.structured(config)
    for key in _keys(now):
        if key in _FREE_ON_RESUME:
            continue
        old, new = OmegaConf.select(before, key), OmegaConf.select(now, key)
        if old != new:
            raise InputError(
                f"{folder} was trained with {key}={old}, not {new}: resume it as it was, or pass "
                "another output="
            )


def _keys(config: Any) -> list[str]:
    """Every key of a structured configuration, ``section.key`` for those in sections."""
    keys = []
    for name in config:
        section = config[name]
        keys += [f"{name}.{key}" for key in section] if OmegaConf.is_dict(section) else [name]
    return keys
