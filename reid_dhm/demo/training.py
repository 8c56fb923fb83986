"""First part of the demonstration: train on synthetic people, evaluate, and compare baselines."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from reid_dhm.config import Config
from reid_dhm.data.datasets import load_dataset
from reid_dhm.data.images import read_image
from reid_dhm.data.samples import ReIDDataset, Sample, label_of_pid
from reid_dhm.demo.histograms import colour_histogram
from reid_dhm.evaluation.run import evaluate_dataset
from reid_dhm.experiments.build import build_model
from reid_dhm.experiments.run import run_experiment
from reid_dhm.files import write_text
from reid_dhm.inference.embedder import Embedder
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.training import randomness
from reid_dhm.training.loop import EpochReport, StepReport

Say = Callable[[str], None]


def run_demo(
    config: Config, say: Say, progress: StepReport | None = None, report: EpochReport | None = None
) -> dict[str, Any]:
    """Run the demonstration.

    Args:
        config: its ``data.root`` holds a dataset of :func:`~reid_dhm.synthetic.write_synthetic`.
        say: called with each line to print.
        progress, report: as for :func:`~reid_dhm.experiments.run.run_experiment`.

    Returns:
        The content of ``summary.json`` in the run folder: the mAP of the ``untrained`` network, of
        ``colour_histogram`` and of the ``trained`` network, their ``rank1``, and the index.
    """
    dataset = load_dataset("synthetic", config.data.root)
    say(
        f"{len(dataset.train)} training, {len(dataset.query)} query and {len(dataset.gallery)} "
        "gallery images"
    )
    histogram = _histograms(dataset)
    untrained = evaluate_dataset(_untrained(config, dataset), dataset)
    say(f"Training {config.model.backbone} with {config.method}")
    run_experiment(config, progress, report)
    trained = evaluate_dataset(Embedder(config.output, precision="float32"), dataset)
    results = {"untrained": untrained, "colour_histogram": histogram, "trained": trained}
    summary = {
        **{name: result.mAP for name, result in results.items()},
        "rank1": {name: result.cmc[1] for name, result in results.items()},
        "index": trained.index,
        "device": trained.device,
    }
    write_text(Path(config.output) / "summary.json", json.dumps(summary, indent=2) + "\n")
    return summary


def _untrained(config: Config, dataset: ReIDDataset) -> Embedder:
    torch.manual_seed(randomness.derived_seed(config.seed, randomness.MODEL))
    size = (config.model.size[0], config.model.size[1])
    plain = replace(config, method="baseline")
    return Embedder(build_model(plain, len(label_of_pid(dataset.train)), size))


def _histograms(dataset: ReIDDataset) -> RetrievalResult:
    return rank_gallery(_histogram_set(dataset.query), _histogram_set(dataset.gallery))


def _histogram_set(samples: tuple[Sample, ...]) -> EmbeddingSet:
    images = np.stack([read_image(sample.path) for sample in samples])
    return EmbeddingSet(
        colour_histogram(images),
        np.array([sample.pid for sample in samples], np.int64),
        np.array([sample.camid for sample in samples], np.int64),
    )
