"""Compare evaluation runs of several models on the same queries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.evaluation.confidence import Estimate, paired_differences
from reid_dhm.evaluation.run import EvaluationRun


@dataclass(frozen=True, eq=False)
class Comparison:
    """Several runs, and how the figures of each differ from those of the first.

    Attributes:
        runs: two or more, each with a different name; the first is the reference.
        differences: (model, reference) → ``mAP``, ``mINP``, ``rank1`` → model minus reference.
    """

    runs: Sequence[EvaluationRun]
    differences: Mapping[tuple[str, str], Mapping[str, Estimate]]

    @classmethod
    def of(cls, runs: Sequence[EvaluationRun]) -> Comparison:
        """Compare every run with the first.

        Raises:
            InputError: if a run has other queries or another gallery than the first.
        """
        reference, *others = runs
        return cls(
            runs, {(run.name, reference.name): differences(run, reference) for run in others}
        )

    def figures(self) -> dict[str, Any]:
        """What ``reid-dhm compare --json`` writes."""
        return {
            "models": {run.name: run.figures() for run in self.runs},
            "reference": self.runs[0].name,
            "differences": {
                name: {
                    figure: {"value": each.value, "interval": [each.low, each.high]}
                    for figure, each in figures.items()
                }
                for (name, _), figures in self.differences.items()
            },
        }


def differences(model: EvaluationRun, reference: EvaluationRun) -> dict[str, Estimate]:
    """``mAP``, ``mINP`` and ``rank1`` of a model minus those of a reference, with intervals.

    Raises:
        InputError: if the two have different queries or galleries.
    """
    check_same_images(model, reference)
    return paired_differences(
        model.final, reference.final, model.query.pids, seed=model.settings.seed
    )


def check_same_images(model: EvaluationRun, reference: EvaluationRun) -> None:
    """Refuse runs that did not rank the same images in the same order.

    Raises:
        InputError: naming both and the side that differs.
    """
    for side in ("query", "gallery"):
        ours, theirs = getattr(model, side), getattr(reference, side)
        same = np.array_equal(ours.pids, theirs.pids) and np.array_equal(ours.camids, theirs.camids)
        if not same or (ours.paths and theirs.paths and ours.paths != theirs.paths):
            raise InputError(
                f"{model.name} and {reference.name} have different {side} images: evaluate both "
                "on the same data, in the same order"
            )
