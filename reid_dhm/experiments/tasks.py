"""What a training is for: its images, and how a model is measured on those held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reid_dhm.config import Config
from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.classification import load_classification
from reid_dhm.data.datasets import join_datasets, load_dataset
from reid_dhm.data.images import check_images
from reid_dhm.data.loading import build_loader
from reid_dhm.data.samples import ReIDDataset, Sample
from reid_dhm.errors import InputError
from reid_dhm.evaluation.run import evaluate_dataset
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel
from reid_dhm.training.loop import Evaluate

GIB = 2**30


@dataclass(frozen=True)
class Task:
    """A task and its data.

    Attributes:
        train: images to train on.
        select: the figure, higher is better, by which the best weights are kept.
        evaluator: makes what measures a model, given its card and the training's device; whatever
            would stop an evaluation (a damaged image, no answerable query) stops it here.
    """

    train: Sequence[Sample]
    select: str
    evaluator: Callable[[ModelCard, torch.device], Evaluate]


def build_task(config: Config) -> Task:
    """Load the data of a configuration.

    Raises:
        InputError: data that cannot be found or used.
    """
    return _classification(config) if config.task == "classification" else _reid(config)


def _reid(config: Config) -> Task:
    sets = load_training_sets(config)
    train = join_datasets(sets).train if len(sets) > 1 else sets[0].train
    test = config.test

    def evaluator(card: ModelCard, device: torch.device) -> Evaluate:
        for dataset in sets:
            check_images((*dataset.query, *dataset.gallery))
            if test.camera_rule:
                _refuse_unanswerable(dataset)

        def evaluate(model: ReIDModel) -> dict[str, float]:
            embedder = Embedder(
                (model, card),
                device=str(device),
                precision="float32",  # the best weights must not depend on what rounds here
                normalize=test.metric == "cosine",
                flip=test.flip,
            )
            results = [
                evaluate_dataset(embedder, d, metric=test.metric, camera_rule=test.camera_rule)
                for d in sets
            ]
            figures = {
                "mAP": sum(r.mAP for r in results) / len(results),
                "mINP": sum(r.mINP for r in results) / len(results),
            }
            for k in results[0].cmc:
                figures[f"rank{k}"] = sum(r.cmc[k] for r in results) / len(results)
            if len(sets) > 1:
                for dataset, result in zip(sets, results, strict=True):
                    figures[f"{dataset.name}/mAP"] = result.mAP
                    figures[f"{dataset.name}/rank1"] = result.cmc[1]
            return figures

        return evaluate

    return Task(train, "mAP", evaluator)


def load_training_sets(config: Config) -> list[ReIDDataset]:
    """The configured datasets, in order; ``data.options`` go to the loader of a single one."""
    options: dict[str, Any] = config.data.options
    if options and len(config.data.name) > 1:
        raise InputError(
            f"data.options {sorted(options)} need one data.name, not {config.data.name}: leave "
            "them out"
        )
    return [load_dataset(name, config.data.root, **options) for name in config.data.name]


def _refuse_unanswerable(dataset: ReIDDataset) -> None:
    """Refuse a set whose evaluation the camera rule leaves nothing of."""
    seen = {(sample.pid, sample.camid) for sample in dataset.gallery}
    cameras: dict[int, set[int]] = {}
    for pid, camid in seen:
        cameras.setdefault(pid, set()).add(camid)
    if not any(cameras.get(query.pid, set()) - {query.camid} for query in dataset.query):
        raise InputError(
            f"no query of {dataset.name} has a correct gallery image from another camera "
            "(does one camera see everybody, or does data.options.camera_regex find the wrong "
            "part of the name?): set test.camera_rule=false to count its own camera's"
        )


def _classification(config: Config) -> Task:
    if config.data.name != ["folder"]:
        raise InputError(
            f"data.name is {config.data.name}, but task: classification reads a folder per class: "
            "use data.name=folder"
        )
    classes = load_classification(config.data.root)

    def evaluator(card: ModelCard, device: torch.device) -> Evaluate:
        labels = [sample.pid for sample in classes.test]
        limit, workers = int(config.data.cache_limit * GIB), config.data.workers
        loader = build_loader(classes.test, labels, card.size, device, limit, workers)
        transform = TestTransform(card.size)

        @torch.no_grad()
        def evaluate(model: ReIDModel) -> dict[str, float]:
            right = torch.zeros((), dtype=torch.int64, device=device)
            for batch in loader.batches(torch.arange(len(labels)).split(256)):
                logits: Tensor = model.classify(transform(batch.images))
                right += (logits.argmax(dim=1) == batch.labels).sum()
            return {"top1": int(right) / len(labels)}

        return evaluate

    return Task(classes.train, "top1", evaluator)
