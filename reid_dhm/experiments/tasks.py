"""Tasks: the training images, and the evaluation of a model on images held out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from reid_dhm.config import Config, DataConfig, TestConfig
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
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.training.loop import Evaluate

GIB = 2**30


@dataclass(frozen=True)
class Task:
    """A task and its data.

    Attributes:
        names: the datasets.
        train: images to train on.
        test: images that the model is evaluated on.
        select: the figure, higher is better, by which the best weights are kept.
        evaluator: makes the evaluation of a model from its card and the training's device. Any
            cause that would stop an evaluation (a damaged image, no answerable query) is raised by
            it, before the training starts.
    """

    names: list[str]
    train: Sequence[Sample]
    test: Sequence[Sample]
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
            _refuse_unanswerable(dataset, test.camera_rule)

        def evaluate(model: ReIDModel) -> dict[str, float]:
            results = reid_results(test, sets, model, card, device)
            figures = {
                "mAP": sum(r.mAP for r in results) / len(results),
                "mINP": sum(r.mINP for r in results) / len(results),
            }
            for k in results[0].cmc:
                figures[f"rank{k}"] = sum(r.cmc[k] for r in results) / len(results)
            if len(sets) > 1:
                for name, result in zip(config.data.name, results, strict=True):
                    figures[f"{name}/mAP"] = result.mAP
                    figures[f"{name}/rank1"] = result.cmc[1]
            return figures

        return evaluate

    held_out = [sample for d in sets for sample in (*d.query, *d.gallery)]
    return Task([d.name for d in sets], train, held_out, "mAP", evaluator)


def reid_results(
    test: TestConfig,
    sets: Sequence[ReIDDataset],
    model: ReIDModel,
    card: ModelCard,
    device: torch.device,
) -> list[RetrievalResult]:
    """Rank the queries of every set as a training's evaluations do."""
    embedder = Embedder(
        (model, card),
        device=str(device),
        precision="float32",  # rounding must not choose the best weights
        normalize=test.metric == "cosine",
        flip=test.flip,
    )
    return [
        evaluate_dataset(embedder, each, metric=test.metric, camera_rule=test.camera_rule)
        for each in sets
    ]


def load_training_sets(config: Config) -> list[ReIDDataset]:
    """The configured datasets, in order; ``data.options`` go to the loader of a single one."""
    options: dict[str, Any] = config.data.options
    if options and len(config.data.name) > 1:
        raise InputError(
            f"data.options {sorted(options)} need one data.name, not {config.data.name}: leave "
            "them out"
        )
    return [load_dataset(name, config.data.root, **options) for name in config.data.name]


def _refuse_unanswerable(dataset: ReIDDataset, camera_rule: bool) -> None:
    """Refuse a set without a query that has a correct gallery image to be found."""
    cameras: dict[int, set[int]] = {}
    for sample in dataset.gallery:
        cameras.setdefault(sample.pid, set()).add(sample.camid)
    if not any(query.pid in cameras for query in dataset.query):
        raise InputError(
            f"query and gallery of {dataset.name} share no person: check the person ids of both"
        )
    if camera_rule and not any(
        cameras.get(query.pid, set()) - {query.camid} for query in dataset.query
    ):
        raise InputError(
            f"no query of {dataset.name} has a correct gallery image from another camera "
            "(was each person seen by one camera only, or does data.options.camera_regex find the "
            "wrong part of the name?): set test.camera_rule=false to count its own camera's"
        )


def _classification(config: Config) -> Task:
    if config.data.name != ["folder"]:
        raise InputError(
            f"data.name is {config.data.name}, but task: classification reads a folder per class: "
            "use data.name=folder"
        )
    classes = load_classification(config.data.root)

    def evaluator(card: ModelCard, device: torch.device) -> Evaluate:
        correct = classifier_check(config.data, classes.test, card, device)

        def evaluate(model: ReIDModel) -> dict[str, float]:
            return {"top1": int(correct(model).sum()) / len(classes.test)}

        return evaluate

    return Task(config.data.name, classes.train, classes.test, "top1", evaluator)


def classifier_check(
    data: DataConfig, samples: Sequence[Sample], card: ModelCard, device: torch.device
) -> Callable[[ReIDModel], Tensor]:
    """A function from a model in eval mode to (N,) bool: the images whose class it names."""
    labels = [sample.pid for sample in samples]
    limit = int(data.cache_limit * GIB)
    loader = build_loader(samples, labels, card.size, device, limit, data.workers)
    transform = TestTransform(card.size, card.mean, card.std)

    @torch.no_grad()
    def correct(model: ReIDModel) -> Tensor:
        parts = [
            model.classify(transform(batch.images)).argmax(dim=1) == batch.labels
            for batch in loader.batches(torch.arange(len(labels)).split(256))
        ]
        return torch.cat(parts).cpu()

    return correct
