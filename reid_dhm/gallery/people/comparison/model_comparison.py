"""Which model serves the footage of a gallery best, told without a label."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.evaluation.confidence import Estimate
from reid_dhm.gallery.people.comparison.known_pairs import APART, KnownPairs, known_pairs
from reid_dhm.gallery.people.comparison.separation import Separation, difference, separation
from reid_dhm.gallery.records import Embed
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import decode_jpeg

_SECONDS = 2.0  # of measuring the rate of a model


class Model(Protocol):
    """The part of :class:`~reid_dhm.inference.embedder.Embedder` that is needed."""

    @property
    def dim(self) -> int:
        """Length D of an embedding."""
        ...

    def __call__(self, images: list[NDArray[np.uint8]]) -> NDArray[np.float32]:
        """(N, D) unit rows of N images, each (H, W, 3) uint8 RGB."""
        ...


@dataclass(frozen=True, eq=False)
class ModelResult:
    """One model on the known pairs of a gallery.

    Attributes:
        name: as it was given.
        dim: length of an embedding.
        images_per_second: from decoded images to embeddings.
        separation: of the pairs.
        behind: true-positive rate less that of the best model, at the first false-positive rate;
            None for the best one.
    """

    name: str
    dim: int
    images_per_second: float
    separation: Separation
    behind: Estimate | None = None

    @property
    def label(self) -> str:
        """The name, of a file without folder and suffix."""
        path = Path(self.name)
        return path.stem if len(path.parts) > 1 else self.name

    @property
    def tpr(self) -> Estimate:
        """True-positive rate at the first false-positive rate."""
        return next(iter(self.separation.tpr.values()))

    @property
    def may_be_best(self) -> bool:
        """Whether chance alone may put it behind the best model."""
        return self.behind is None or self.behind.high >= 0


@dataclass(frozen=True, eq=False)
class ModelComparison:
    """Several models on the same pairs.

    Attributes:
        known: the pairs.
        results: the best separation first.
    """

    known: KnownPairs
    results: tuple[ModelResult, ...]

    @property
    def suggested(self) -> ModelResult:
        """The fastest model among those that may be the best."""
        return max(
            (result for result in self.results if result.may_be_best),
            key=lambda result: result.images_per_second,
        )

    def __repr__(self) -> str:
        lines = [", ".join(row) for row in self._rows()]
        return "\n  ".join([f"{len(lines)} models, suggested: {self.suggested.label}", *lines])

    def _repr_html_(self) -> str:
        rows = [("model", "TPR at FPR 1%", "speed"), *self._rows()]
        cells = ("".join(f"<td>{escape(cell)}</td>" for cell in row) for row in rows)
        return f"<table>{''.join(f'<tr>{row}</tr>' for row in cells)}</table>"

    def _rows(self) -> Iterator[tuple[str, str, str]]:
        for result in self.results:
            tpr = f"{result.tpr.value:.3f} ({result.tpr.low:.3f} to {result.tpr.high:.3f})"
            yield result.label, tpr, f"{result.images_per_second:,.0f} images/s"

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready values."""
        return {
            "images": len(self.known.jpegs),
            "tracklets": int(self.known.tracklets.max()) + 1,
            "same_person_pairs": self.known.same.shape[1],
            "different_people_pairs": self.known.different.shape[1],
            "left_out": self.known.left_out,
            "suggested": self.suggested.name,
            "models": [
                {
                    "model": result.name,
                    "dim": result.dim,
                    "images_per_second": result.images_per_second,
                    "tpr": [
                        {"fpr": rate, "value": tpr.value, "low": tpr.low, "high": tpr.high}
                        for rate, tpr in result.separation.tpr.items()
                    ],
                    "behind": _ends(result.behind),
                    "may_be_best": result.may_be_best,
                }
                for result in self.results
            ],
        }


def compare_models(
    gallery: GalleryStore,
    models: Mapping[str, Callable[[], Model]],
    *,
    seconds: float = APART,
    limit: int = 2000,
    report: Callable[[int, int], None] | None = None,
) -> ModelComparison:
    """Embed the images of known pairs with several models, and rank the models.

    Args:
        gallery: any; its own embeddings are not read.
        models: by name, opened one after the other.
        seconds: least time between two images of one tracklet.
        limit: most tracklets.
        report: called with the models done and all of them.

    Raises:
        InputError: no models, too few pairs, or a model that cannot be used.
    """
    if not models:
        raise InputError("no models to compare: name some")
    known = known_pairs(gallery, seconds, limit)
    images = [decode_jpeg(jpeg) for jpeg in known.jpegs]
    results = []
    for number, (name, open_model) in enumerate(models.items()):
        if report is not None:
            report(number, len(models))
        model = open_model()
        separated = separation(model(images), known)
        if not separated.tpr:
            raise InputError(
                f"{gallery.folder} has {known.different.shape[1]} pairs of two people seen at "
                "once, too few to measure a false-positive rate of 1 %: index more footage"
            )
        results.append(ModelResult(name, model.dim, images_per_second(model, images), separated))
    if report is not None:
        report(len(models), len(models))
    results.sort(key=lambda result: -result.tpr.value)
    best = results[0]
    others = (
        replace(other, behind=difference(other.separation, best.separation))
        for other in results[1:]
    )
    return ModelComparison(known, (best, *others))


def images_per_second(embed: Embed | Model, images: list[NDArray[np.uint8]]) -> float:
    """From decoded images to embeddings, by a model that has been used before."""
    begin, count = time.perf_counter(), 0
    while True:
        embed(images)
        count += len(images)
        spent = time.perf_counter() - begin
        if spent >= _SECONDS:
            return count / spent


def _ends(estimate: Estimate | None) -> dict[str, float] | None:
    if estimate is None:
        return None
    return {"value": estimate.value, "low": estimate.low, "high": estimate.high}
