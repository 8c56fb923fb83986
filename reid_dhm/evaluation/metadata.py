"""Report metadata: protocol, data, model, configuration, software and time, as text."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid_dhm.evaluation.settings import Settings
from reid_dhm.retrieval.embeddings import EmbeddingSet, is_distractor

if TYPE_CHECKING:
    from reid_dhm.inference.embedder import Embedder

Facts = dict[str, str]
"""Name → value, in the order in which they are shown."""


def protocol_facts(settings: Settings) -> Facts:
    """The settings of the ranking."""
    rule = "own person, own camera left out" if settings.camera_rule else "every camera counts"
    facts = {
        "metric": settings.metric,
        "camera rule": rule,
        "average precision": settings.ap,
    }
    if settings.single_shot:
        draws = f"{settings.single_shot} draws, seed {settings.seed}"
        facts["single shot"] = f"one gallery image of each person, {draws} (CUHK03 classic)"
    if settings.multi_query:
        facts["multi-query"] = f"{settings.multi_query} over each person and camera"
    if settings.database_augmentation:
        facts["database-side augmentation"] = (
            f"{settings.database_augmentation} neighbours, alpha {settings.alpha:g}"
        )
    if settings.query_expansion:
        facts["query expansion"] = (
            f"{settings.query_expansion} neighbours, alpha {settings.alpha:g}"
        )
    if settings.rerank is not None:
        chosen = settings.rerank
        facts["re-ranking"] = (
            f"k-reciprocal, k1 {chosen.k1}, k2 {chosen.k2}, lambda {chosen.weight:g}"
        )
    facts["intervals"] = "95 %, people resampled"
    return facts


def data_facts(
    name: str, query: EmbeddingSet, gallery: EmbeddingSet, num_dropped: int, valid: int
) -> Facts:
    """Numbers of images, people and cameras; ``valid`` queries have a correct gallery image."""
    distractors = int(is_distractor(query, gallery).sum())
    facts = {
        "data": name,
        "queries": f"{len(query):,} of {_count(query.pids)} people, {valid:,} counted",
        "gallery": f"{len(gallery):,} of {_count(gallery.pids[gallery.pids > 0])} people",
        "cameras": f"{_count(np.concatenate([query.camids, gallery.camids]))}",
    }
    if distractors:
        facts["distractors in the gallery"] = f"{distractors:,}"
    if num_dropped:
        facts["junk dropped"] = f"{num_dropped:,}"
    return facts


def model_facts(checkpoint: Path, embedder: Embedder, dataset: str, flip: bool) -> Facts:
    """The model and how it was run; a dataset other than the training data is marked."""
    card = embedder.card
    trained = card.training
    facts = {
        "checkpoint": str(checkpoint),
        "backbone": card.backbone,
        "input": f"{card.size[0]}×{card.size[1]}",
        "embedding": f"{embedder.dim} dimensions, {card.embedding}, neck {card.neck}",
        "flip averaging": "yes" if flip else "no",
        "engine": f"{embedder.engine} in {embedder.precision} on {embedder.device}",
        "fingerprint": embedder.fingerprint[:16],
    }
    for key in ("method", "seed", "epoch"):
        if key in trained:
            facts[key] = str(trained[key])
    data = trained.get("data")
    if data:
        names = [data] if isinstance(data, str) else list(data)
        # cards of version 0.1 name own sets by their format, which does not tell them apart
        same = dataset in names or not {"folder", "csv"}.isdisjoint(names)
        crossed = "" if same else f" (cross-domain: tested on {dataset})"
        facts["trained on"] = ", ".join(names) + crossed
    return facts


def configuration_facts(checkpoint: Path) -> Facts:
    """The resolved configuration of a run folder, a line per key; empty without one."""
    from omegaconf import OmegaConf

    from reid_dhm.config import load_config

    path = checkpoint / "config.yaml"
    if not path.is_file():
        return {}
    config = OmegaConf.structured(load_config(path))
    facts: Facts = {}
    for name in config:
        section = config[name]
        if OmegaConf.is_dict(section):
            facts |= {f"{name}.{key}": str(section[key]) for key in section}
        else:
            facts[str(name)] = str(section)
    return facts


def software_facts() -> Facts:
    """Versions of the software in use."""
    from reid_dhm.training.run_folder import environment

    now = environment()
    facts = {"reid-dhm": now["reid_dhm"], "python": now["python"], **now["packages"]}
    facts["platform"] = now["platform"]
    facts["threads"] = str(now["threads"])
    if now["gpus"]:
        facts["GPUs"] = ", ".join(now["gpus"])
    return facts


def time_facts(seconds: Mapping[str, float | None]) -> Facts:
    """Seconds of each stage that was run."""
    return {stage: f"{value:.2f} s" for stage, value in seconds.items() if value is not None}


def _count(values: np.ndarray) -> int:
    return len(np.unique(values))
