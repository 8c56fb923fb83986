"""The evaluation protocol written out in plain Python, straight from its definition."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest


@dataclass(frozen=True)
class Answer:
    """What one query got: `order` is the ranked gallery without ignored images."""

    order: list[int]
    hits: list[int]  # 1-based ranks of the correct images

    @property
    def ap(self) -> float:
        found, precisions = 0, []
        for rank in range(1, len(self.order) + 1):
            if rank in self.hits:
                found += 1
                precisions.append(found / rank)
        return sum(precisions) / len(precisions)

    @property
    def trapezoid_ap(self) -> float:
        """Area under precision over recall, met image by image from (recall 0, precision 1)."""
        area, recall, precision, found = 0.0, 0.0, 1.0, 0
        for rank in range(1, len(self.order) + 1):
            found += rank in self.hits
            new_recall, new_precision = found / len(self.hits), found / rank
            area += (new_recall - recall) * (precision + new_precision) / 2
            recall, precision = new_recall, new_precision
        return area

    @property
    def inp(self) -> float:
        return len(self.hits) / self.hits[-1]


def _answer(
    distances: Sequence, pid: int, camid: int, pids: Sequence, camids: Sequence, camera_rule: bool
) -> Answer:
    order = sorted(range(len(pids)), key=lambda g: distances[g])  # stable: gallery order in ties
    kept = [g for g in order if not (camera_rule and pids[g] == pid and camids[g] == camid)]
    return Answer(kept, [rank for rank, g in enumerate(kept, start=1) if pids[g] == pid])


def _squared_distance(left: Sequence[float], right: Sequence[float]) -> Fraction:
    """Without rounding."""
    return sum(
        ((Fraction(float(a)) - Fraction(float(b))) ** 2 for a, b in zip(left, right, strict=True)),
        Fraction(0),
    )


def _cosine_distance(left: Sequence[float], right: Sequence[float]) -> Fraction:
    """Orders as minus the cosine does, for one `left`, without rounding: -sign(l·r)(l·r)²/|r|²."""
    dot = sum(
        (Fraction(float(a)) * Fraction(float(b)) for a, b in zip(left, right, strict=True)),
        Fraction(0),
    )
    return -dot * abs(dot) / sum(Fraction(float(b)) ** 2 for b in right)


_DISTANCES = {"cosine": _cosine_distance, "euclidean": _squared_distance}


def _answers(
    query: np.ndarray,
    gallery: np.ndarray,
    metric: str,
    ids: tuple[Sequence, Sequence, Sequence, Sequence] | None = None,
    camera_rule: bool = True,
) -> list[Answer]:
    """One answer per query; `ids` are pids and camids of the query, then of the gallery."""
    if ids is None:
        ids = [1] * len(query), [1] * len(query), [2] * len(gallery), [2] * len(gallery)
    different, copy_of = np.unique(gallery, axis=0, return_inverse=True)
    found = []
    for vector, pid, camid in zip(query, *ids[:2], strict=True):
        distances = [_DISTANCES[metric](vector, other) for other in different]
        spread = [distances[copy] for copy in copy_of.ravel()]
        found.append(_answer(spread, pid, camid, *ids[2:], camera_rule))
    return found


@pytest.fixture(scope="session")
def answers() -> Callable[..., list[Answer]]:
    return _answers
