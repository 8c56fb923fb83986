"""The parts of a training, built from a configuration: model, sampler, objective, trainer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from accelerate import Accelerator
from torch import nn

from reid_dhm.config import Config, TrainConfig
from reid_dhm.data.augmentation import TestTransform, TrainAugmentation
from reid_dhm.data.samplers import IdentitySampler, Sampler, ShuffleSampler
from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.branches import default_branches
from reid_dhm.models.card import ModelCard
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training.loop import Augment, Trainer, TrainingData
from reid_dhm.training.losses import build_metric_loss
from reid_dhm.training.objective import Criterion, Objective
from reid_dhm.training.optimization import Optimization, Schedule, build_optimizer, moving_average
from reid_dhm.training.run_folder import RunFolder

Size = tuple[int, int]


def build_model(
    config: Config, num_classes: int, size: Size, taught: int = 0
) -> tuple[ReIDModel, ModelCard]:
    """The model of a configuration and its card; ``method: baseline`` has no branches.

    ``taught`` is the dimension of a teacher's embeddings that the model's are projected to, or 0.
    """
    settings = config.model
    backbone = build_backbone(settings.backbone, settings.weights, settings.last_stride)
    branches: list[BranchSpec] = []
    if config.method != "baseline":
        branches = (
            default_branches(backbone, settings.branch_rule)
            if settings.branches is None
            else [BranchSpec(b.after, b.init, settings.branch_rule) for b in settings.branches]
        )
        if not branches:
            raise InputError(f"method {config.method} needs branches: fill model.branches")
    model = ReIDModel(
        backbone, num_classes, branches, settings.pooling, settings.neck, settings.fork, taught
    )
    card = ModelCard(
        backbone=settings.backbone,
        num_classes=num_classes,
        size=size,
        pooling=settings.pooling,
        neck=settings.neck,
        last_stride=settings.last_stride,
        branches=tuple(branches),
        mean=_colour(settings.mean),
        std=_colour(settings.std),
        embedding="ensemble" if config.test.ensemble else "main",
        training={
            "method": config.method,
            "task": config.task,
            "data": config.data.name,
            "seed": config.seed,
            **_options(config),
        },
    )
    return model, card


def _options(config: Config) -> dict[str, str | float]:
    """The method's options that are not the default, for the card."""
    loss, model = config.loss, config.model
    options: dict[str, str | float] = {}
    if config.method != "baseline":
        options = {"branch_rule": model.branch_rule, "fork": model.fork}
    if config.method == "dhm":
        options |= {"mimic_terms": loss.mimic_terms, "mimic_drop": loss.mimic_drop}
        options |= {"similarity": loss.similarity}
    if loss.teacher is not None:
        options |= {"teacher": Path(loss.teacher).name}
    defaults = {"branch_rule": "light", "fork": "fixed", "mimic_terms": "all"}
    return {name: value for name, value in options.items() if value != defaults.get(name, 0.0)}


def build_sampler(config: Config, labels: Sequence[int], rank: int, world_size: int) -> Sampler:
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
    data, mean, std = config.data, _colour(config.model.mean), _colour(config.model.std)
    if data.augment:
        return TrainAugmentation(
            size, flip=data.flip, pad=data.pad, erasing=data.erasing, mean=mean, std=std
        )
    plain = TestTransform(size, mean, std)
    return lambda images, generator: plain(images)


def _colour(values: Sequence[float]) -> tuple[float, float, float]:
    red, green, blue = values
    return red, green, blue


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
        mimic_terms=loss.mimic_terms,
        similarity=loss.similarity if config.method == "dhm" else 0.0,
        similarity_temperature=loss.similarity_temperature,
    )


def build_trainer(
    settings: TrainConfig,
    model: ReIDModel,
    data: TrainingData,
    objective: Objective,
    run: RunFolder,
    accelerator: Accelerator,
    seed: int,
) -> Trainer:
    """The trainer of a model, which is moved to the accelerator's device.

    Raises:
        InputError: more accumulation than an epoch has batches.
        UnsupportedError: synchronised batch normalisation on the CPU.
    """
    if len(data.sampler) < settings.accumulate:
        raise InputError(
            f"train.accumulate is {settings.accumulate}, but an epoch has {len(data.sampler)} "
            "batches: lower it"
        )
    model.to(accelerator.device).to(memory_format=torch.channels_last)
    if settings.sync_bn and accelerator.num_processes > 1:
        if accelerator.device.type != "cuda":
            raise UnsupportedError("train.sync_bn needs GPUs: leave it out on the CPU")
        model = nn.SyncBatchNorm.convert_sync_batchnorm(model)
    optimization = Optimization(
        optimizer=build_optimizer(
            model.parameters(),
            settings.optimizer,
            settings.lr,
            settings.weight_decay,
            settings.momentum,
            settings.nesterov,
        ),
        schedule=Schedule(
            settings.schedule,
            settings.epochs,
            settings.milestones,
            settings.gamma,
            settings.warmup_epochs,
            settings.warmup_factor,
            settings.lr,
        ),
        clip_norm=settings.clip_norm,
        ema=moving_average(model, settings.ema) if settings.ema is not None else None,
        freeze_bn=settings.freeze_bn,
    )
    if settings.compile:
        model.compile()
    return Trainer(model, data, objective, optimization, run, accelerator, seed)
