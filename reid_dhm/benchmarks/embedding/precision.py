"""Accuracy and speed of a trained model in float32, bf16 and int8."""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from reid_dhm.data.samples import ReIDDataset
from reid_dhm.evaluation.run import evaluate_dataset
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.inference.engines.openvino_engine import has_bf16
from reid_dhm.inference.export.formats import CALIBRATION, VERIFICATION, spread
from reid_dhm.inference.export.writer import export_model

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_TIMED = 2000  # gallery images in a rate measurement
_COMPARED = 256  # query images whose embeddings are compared


@dataclass(frozen=True)
class PrecisionFigures:
    """One precision of one model in OpenVINO.

    Attributes:
        precision: ``float32``, ``bf16`` or ``int8``.
        mean_ap, rank1: on the dataset, between 0 and 1.
        rate: images per second from files on disk, median over the rounds.
        slowest, fastest: rates of the slowest and fastest round.
        lowest, mean: cosine similarity to eager PyTorch in float32.
    """

    precision: str
    mean_ap: float
    rank1: float
    rate: float
    slowest: float
    fastest: float
    lowest: float
    mean: float


def compare_precisions(
    checkpoint: Path | str,
    dataset: ReIDDataset,
    calibration: Sequence[str],
    rounds: int = 5,
) -> list[PrecisionFigures]:
    """Evaluate a checkpoint at every precision of the CPU, and measure the rates alternately.

    int8 is quantised as in ``reid-dhm export``; layers that it keeps in float32 run in float32.

    Args:
        checkpoint: see :func:`~reid_dhm.inference.checkpoints.open_checkpoint`.
        dataset: its query and gallery are ranked by cosine.
        calibration: image files of other people; 300 evenly spaced ones calibrate int8, and 64 of
            the others verify it.
        rounds: rate measurements of each precision.
    """
    model, card = open_checkpoint(checkpoint)
    rows = set(spread(len(calibration), CALIBRATION))
    chosen = [calibration[row] for row in sorted(rows)]
    others = [path for row, path in enumerate(calibration) if row not in rows]
    others = [others[row] for row in spread(len(others), VERIFICATION)]
    compared = [str(sample.path) for sample in dataset.query[:_COMPARED]]
    timed = [str(sample.path) for sample in dataset.gallery[:_TIMED]]
    expected = Embedder((model, card), "torch", "cpu", precision="float32")(compared)
    with tempfile.TemporaryDirectory() as folder:
        quantised = Path(folder) / "int8.xml"
        export_model(model, card, "openvino", quantised, others, chosen)
        embedders = {
            precision: Embedder((model, card), "openvino", "cpu", precision=precision)
            for precision in (["float32", "bf16"] if has_bf16() else ["float32"])
        }
        embedders["int8"] = Embedder(quantised, "openvino", "cpu", precision="float32")
        cosine = {name: cosines(embed(compared), expected) for name, embed in embedders.items()}
        rates: dict[str, list[float]] = {name: [] for name in embedders}
        for number in range(rounds):  # in another order each round
            for name in random.Random(number).sample(list(embedders), len(embedders)):
                rates[name].append(_rate(embedders[name], timed))
        results = {name: evaluate_dataset(embed, dataset) for name, embed in embedders.items()}
    return [
        PrecisionFigures(
            precision=name,
            mean_ap=results[name].mAP,
            rank1=results[name].cmc[1],
            rate=statistics.median(rates[name]),
            slowest=min(rates[name]),
            fastest=max(rates[name]),
            lowest=float(np.min(cosine[name])),
            mean=float(np.mean(cosine[name])),
        )
        for name in embedders
    ]


def draw_precisions(figures: Sequence[PrecisionFigures], title: str) -> Figure:
    """A plot of accuracy over speed, with a point for every precision."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    for number, one in enumerate(figures):
        axes.plot(one.rate, 100 * one.mean_ap, "o", markersize=8)
        axes.annotate(
            f"{one.precision}\n{100 * one.mean_ap:.2f} %, {one.rate:.0f}/s",
            (one.rate, 100 * one.mean_ap),
            textcoords="offset points",
            xytext=(0, -28 if number % 2 else 9),  # avoid overlap of neighbours
            ha="center",
            fontsize="small",
        )
    axes.set(xlabel="images per second", ylabel="mAP, %", title=title)
    accuracies = [100 * one.mean_ap for one in figures]
    axes.set_xlim(0, 1.3 * max(one.rate for one in figures))
    axes.set_ylim(min(accuracies) - 1, max(accuracies) + 1)  # keep small differences small
    axes.grid(alpha=0.3)
    return figure


def _rate(embedder: Embedder, paths: Sequence[str]) -> float:
    start = time.perf_counter()
    embedder(paths)
    return len(paths) / (time.perf_counter() - start)
