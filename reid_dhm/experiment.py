"""From a configuration to a trained model in a run folder: builds the parts and starts the loop."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor

from reid_dhm.config import Config, load_config, to_yaml
from reid_dhm.data.augmentation import TestTransform, TrainAugmentation
from reid_dhm.data.classification import load_classification
from reid_dhm.data.datasets import join_datasets, load_dataset
from reid_dhm.data.loading import MemoryLoader, WorkerLoader, build_loader
from reid_dhm.data.samplers import IdentitySampler, ShuffleSampler
from reid_dhm.data.samples import ReIDDataset, Sample, label_of_pid
from reid_dhm.errors import InputError
from reid_dhm.losses import Criterion, build_metric_loss
from reid_dhm.models.branches import BranchSpec, default_branches
from reid_dhm.models.card import ModelCard, write_atomically
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training import randomness
from reid_dhm.training.diagnostics import gradient_agreement
from reid_dhm.training.loop import Augment, Evaluate, Progress, Report, Trainer, build_accelerator
from reid_dhm.training.runlog import environment
from reid_dhm.training.state import find_state

logger = logging.getLogger(__name__)

GIB = 2**30
Size = tuple[int, int]
DecodeProgress = Callable[[int, int], None]

# What may differ between a run and its continuation: none of it changes the weights.
_FREE_ON_RESUME = (
    *("resume", "output", "data.root", "data.cache_limit", "data.workers"),
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
        decode_progress: told while pictures are decoded.

    Returns:
        The figures of the best evaluation (``mAP``, ``rank1`` … or ``top1``), with its ``epoch``.

    Raises:
        InputError: anything in the configuration or the data that cannot be used.
    """
    folder = Path(config.output)
    _prepare_folder(folder, config)
    accelerator = build_accelerator(config.train)
    size: Size = (config.model.size[0], config.model.size[1])
    classification = config.task == "classification"
    if classification:
        classes = load_classification(config.data.root)
        train: Sequence[Sample] = classes.train
        select = "top1"
    else:
        sets = load_training_sets(config)
        train = join_datasets(sets).train if len(sets) > 1 else sets[0].train
        select = "mAP"
    label_of = label_of_pid(train)
    labels = [label_of[sample.pid] for sample in train]

    torch.manual_seed(randomness.derived_seed(config.seed, randomness.MODEL))
    model, card = build_model(config, len(label_of), size)
    loader = build_loader(
        train,
        labels,
        size,
        accelerator.device,
        int(config.data.cache_limit * GIB),
        config.data.workers,
        decode_progress,
    )
    sampler = build_sampler(config, labels, accelerator.process_index, accelerator.num_processes)
    augment = build_augmentation(config, size)
    criterion = build_criterion(config)
    trainer = Trainer(
        model,
        loader,
        sampler,
        train,
        augment,
        criterion,
        config.train,
        config.seed,
        folder,
        card,
        accelerator,
        keep_branches=config.test.ensemble,
    )
    if accelerator.is_main_process:
        write_atomically(folder / "config.yaml", to_yaml(config))
        write_atomically(folder / "environment.json", json.dumps(environment(), indent=2) + "\n")
    if config.resume:
        trainer.resume()

    if classification:
        evaluate = _top1(classes.test, size, config, accelerator.device)
    else:
        evaluate = _retrieval(sets, card, config)

    def diagnose(model: ReIDModel, epoch: int) -> dict[str, float]:
        draws = randomness.generator(config.seed, randomness.AUGMENTATION, epoch, DIAGNOSIS)
        chosen = sampler.epoch(epoch)[:DIAGNOSED_BATCHES]
        batches = ((augment(b.pictures, draws), b.labels) for b in loader.batches(chosen))
        return gradient_agreement(model, criterion, batches)

    return trainer.fit(evaluate, select, diagnose, progress, report)


DIAGNOSED_BATCHES = 8
DIAGNOSIS = 2**31  # a step that no training reaches


def load_training_sets(config: Config) -> list[ReIDDataset]:
    """The configured datasets, in order."""
    regex = config.data.camera_regex
    if regex is not None and config.data.name != ["folder"]:
        raise InputError("data.camera_regex is for data.name: folder alone: leave it out")
    options: dict[str, Any] = {} if regex is None else {"camera_regex": regex}
    return [load_dataset(name, config.data.root, **options) for name in config.data.name]


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
    """P×K identities for re-ID, shuffled pictures for classification."""
    train = config.train
    if config.task == "classification":
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
    return lambda pictures, generator: plain(pictures)


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


def _retrieval(sets: Sequence[ReIDDataset], card: ModelCard, config: Config) -> Evaluate:
    from reid_dhm.evaluation import evaluate_dataset
    from reid_dhm.inference.embedder import Embedder

    def evaluate(model: ReIDModel) -> dict[str, float]:
        embedder = Embedder.from_model(
            model, card, flip=config.test.flip, normalize=config.test.metric == "cosine"
        )
        results = [evaluate_dataset(embedder, d, metric=config.test.metric) for d in sets]
        figures = {
            "mAP": sum(r.mAP for r in results) / len(results),
            "mINP": sum(r.mINP for r in results) / len(results),
            **{f"rank{k}": sum(r.cmc[k] for r in results) / len(results) for k in results[0].cmc},
        }
        if len(sets) > 1:
            for dataset, result in zip(sets, results, strict=True):
                figures |= {
                    f"{dataset.name}/mAP": result.mAP,
                    f"{dataset.name}/rank1": result.cmc[1],
                }
        return figures

    return evaluate


def _top1(samples: Sequence[Sample], size: Size, config: Config, device: torch.device) -> Evaluate:
    labels = [sample.pid for sample in samples]
    loader: MemoryLoader | WorkerLoader = build_loader(
        samples, labels, size, device, int(config.data.cache_limit * GIB), config.data.workers
    )
    transform = TestTransform(size)

    @torch.no_grad()
    def evaluate(model: ReIDModel) -> dict[str, float]:
        rows = torch.arange(len(samples)).split(256)
        right = torch.zeros((), dtype=torch.int64, device=device)
        for batch in loader.batches(rows):
            logits: Tensor = model.classify(transform(batch.pictures))
            right += (logits.argmax(dim=1) == batch.labels).sum()
        return {"top1": int(right) / len(samples)}

    return evaluate


def _prepare_folder(folder: Path, config: Config) -> None:
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
