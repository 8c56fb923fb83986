"""Comparing the embeddings of a written file with eager PyTorch's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.inference.engines.agreement import AGREEMENT, cosines
from reid_dhm.inference.engines.exported import EMBEDDINGS
from reid_dhm.inference.engines.torch_engine import TorchEngine
from reid_dhm.models.card import ModelCard
from reid_dhm.models.reid import ReIDModel

INT8_AGREEMENT = 0.99
"""Lowest mean cosine of int8 over real images; it is not calibrated for random ones."""

_RANDOM = 16  # images that every file is verified on
_UNIT = 1e-3  # largest deviation of an embedding's length from 1

Run = Callable[[np.ndarray], Mapping[str, np.ndarray]]
"""From images to the outputs of a file, by the names of
:data:`~reid_dhm.inference.engines.exported.OUTPUTS`."""


@dataclass(frozen=True)
class Agreement:
    """Agreement of a written file with eager PyTorch in float32.

    Attributes:
        images: ``random``, ``real``, or ``calibration`` for those that int8 was calibrated with.
        count: number of images.
        lowest: lowest cosine over all images and outputs.
        mean: mean over the images of the lowest cosine over the outputs.
    """

    images: str
    count: int
    lowest: float
    mean: float


def verify(
    run: Run, model: ReIDModel, card: ModelCard, shown: Mapping[str, np.ndarray]
) -> list[Agreement]:
    """Compare all outputs of a file; the first image of each kind is a batch of its own.

    Raises:
        InputError: embeddings that are not unit rows.
    """
    reference = TorchEngine(model, card, "cpu", plain=True)
    found = []
    for kind, images in shown.items():
        if not len(images):
            continue
        expected = reference(images)
        parts = [run(part) for part in (images[:1], images[1:]) if len(part)]
        given = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if EMBEDDINGS in given:
            length = np.linalg.norm(given[EMBEDDINGS], axis=1)
            if not (np.abs(length - 1) < _UNIT).all():
                raise InputError(
                    f"its embeddings of {kind} images are not unit rows (lengths "
                    f"{length.min():.4f} to {length.max():.4f}): choose another format"
                )
        cosine = np.stack([cosines(rows, expected) for rows in given.values()]).min(axis=0)
        found.append(Agreement(kind, len(images), float(cosine.min()), float(cosine.mean())))
    return found


def random_images(size: tuple[int, int]) -> np.ndarray:
    """(N, H, W, 3) uint8 white noise from a fixed seed."""
    return np.random.default_rng(0).integers(0, 256, (_RANDOM, *size, 3), np.uint8)


def find_fault(found: Sequence[Agreement], int8: bool) -> str | None:
    """The reason why a file is not kept, if there is one."""
    for agreement in found:
        if int8 and agreement.images == "random":
            continue
        kind, value, limit = (
            ("mean", agreement.mean, INT8_AGREEMENT)
            if int8
            else ("lowest", agreement.lowest, AGREEMENT)
        )
        if not value >= limit:
            remedy = "export it without int8" if int8 else "choose another format"
            return (
                f"its embeddings of {agreement.count} {agreement.images} images differ from "
                f"PyTorch's ({kind} cosine {value:.4f}, at least {limit} is required): {remedy}"
            )
    return None
