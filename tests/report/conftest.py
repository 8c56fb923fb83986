"""Small evaluations with drawn images, to make reports of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.evaluation.inputs import QueryGallery
from reid_dhm.evaluation.run import EvaluationRun, run
from reid_dhm.evaluation.settings import Settings
from reid_dhm.retrieval.embeddings import EmbeddingSet

PEOPLE, CAMERAS = 9, 3
FACTS = {
    "Protocol": {"metric": "cosine", "seed": "0"},
    "Data": {"data": "drawn people", "queries": "18"},
    "Configuration": {f"key{number}": str(number) for number in range(40)},
}


def angles(degrees: Sequence[float]) -> np.ndarray:
    """Unit vectors in the plane."""
    radians = np.radians(degrees)
    return np.stack([np.cos(radians), np.sin(radians)], axis=1).astype(np.float32)


def evaluation_of(
    query: EmbeddingSet, gallery: EmbeddingSet, name: str = "dhm", metric: str = "cosine"
) -> EvaluationRun:
    """An evaluation as the command line makes it."""
    settings = Settings(metric=metric, rates=(0.1, 0.02), device="cpu")
    return changed(run(QueryGallery(query, gallery, name), settings), facts=FACTS)


def changed(evaluation: EvaluationRun, **values: object) -> EvaluationRun:
    """The same evaluation with other fields, inputs or statistics."""
    of_inputs = {name: values.pop(name) for name in ("query", "gallery", "name") if name in values}
    computed = ("pairs", "cameras", "facts")
    kept = {name: vars(evaluation)[name] for name in computed if name in vars(evaluation)}
    kept |= {name: values.pop(name) for name in computed if name in values}
    new = replace(evaluation, inputs=replace(evaluation.inputs, **of_inputs), **values)
    vars(new).update(kept)
    return new


def draw(path: Path, pid: int, camid: int) -> str:
    """A coloured figure on the camera's ground, 64 × 32 pixels."""
    random = np.random.default_rng(pid)
    image = np.full((64, 32, 3), 60 + 50 * camid, np.uint8)
    for top, bottom in ((18, 38), (38, 60)):
        colour = random.integers(0, 256, 3).tolist()
        cv2.rectangle(image, (8, top), (24, bottom), colour, -1)
    cv2.circle(image, (16, 12), 6, (140, 170, 210), -1)
    path.write_bytes(cv2.imencode(".jpg", image)[1].tobytes())
    return str(path)


def noisy_sets(folder: Path | None, noise: float, seed: int) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Nine people in three cameras, and distractors; images only where there is a folder."""
    random = np.random.default_rng(seed)
    labels = [(pid, camid) for pid in range(1, PEOPLE + 1) for camid in range(1, CAMERAS + 1)]
    asked = [(pid, camid) for pid, camid in labels if camid < 3]
    held = [pair for pair in labels for _ in range(2)] + [(0, 1), (0, 2), (0, 3)]
    directions = np.random.default_rng(99).normal(size=(PEOPLE + 1, 8))

    def side(name: str, members: list[tuple[int, int]]) -> EmbeddingSet:
        pids, camids = np.array(members).T
        rows = directions[pids] + noise * random.normal(size=(len(members), 8))
        paths = None
        if folder is not None:
            paths = tuple(
                draw(folder / f"{name} {row:03d} & <i>{pid}.jpg", pid, camid)
                for row, (pid, camid) in enumerate(members)
            )
        return EmbeddingSet(rows.astype(np.float32), pids, camids, paths)

    return side("query", asked), side("gallery", held)


@pytest.fixture(scope="session")
def on_circle() -> Callable[[Sequence[float]], np.ndarray]:
    return angles


@pytest.fixture(scope="session")
def evaluated() -> Callable[..., EvaluationRun]:
    return evaluation_of


@pytest.fixture(scope="session")
def change() -> Callable[..., EvaluationRun]:
    return changed


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("pictures")


@pytest.fixture(scope="session")
def make(images: Path) -> Callable[..., EvaluationRun]:
    """Evaluations of drawn people: ``make(noise=…, seed=…, with_images=…, name=…, metric=…)``."""

    def build(
        noise: float = 1.1, seed: int = 0, with_images: bool = True, **kwargs
    ) -> EvaluationRun:
        sets = noisy_sets(images if with_images else None, noise, seed)
        return evaluation_of(*sets, **kwargs)

    return build


@pytest.fixture(scope="session")
def reranked(make) -> EvaluationRun:
    """With a second result, as re-ranking gives it: scores are minus distances."""
    first, second = make(noise=1.1), make(noise=0.7)
    result = replace(second.result, topk_scores=second.result.topk_scores - 1)
    return changed(first, reranked=result, reranked_intervals=second.intervals)


@pytest.fixture
def known() -> EvaluationRun:
    """Three queries on a circle whose answers are known by their angles.

    Query 0 ranks rows 0, 3, 1, 2: right at once, AP 1. Query 1 ranks rows 2, 1, 3, 0: a distractor
    first, AP 1/2. Query 2 ranks rows 1, 0, 2 and has no right image: row 3 is of its own camera.
    """
    query = EmbeddingSet(angles([0, 90, 46]), np.array([1, 2, 3]), np.array([1, 1, 1]))
    gallery = EmbeddingSet(angles([10, 60, 80, 45]), np.array([1, 2, 0, 3]), np.array([2, 2, 2, 1]))
    return evaluation_of(query, gallery)
