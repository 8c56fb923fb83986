"""How well tracks follow the people of a clip whose true tracks are known.

The figures are those of the library motmetrics; a box matches a true one at an IoU of 0.5 or more.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import supervision as sv

from reid_dhm.benchmarks.footage.pairs import Boxes, read_boxes
from reid_dhm.errors import InputError
from reid_dhm.extras import require

MIN_IOU = 0.5
_METRICS = ["idf1", "num_switches", "mota", "recall", "precision"]


@dataclass(frozen=True, slots=True)
class TrackFigures:
    """Tracking figures of one clip.

    Attributes:
        tracks: number of tracks.
        idf1: IDF1 (Ristani et al. 2016), 0 to 1.
        switches: identity switches.
        mota: MOTA (Bernardin and Stiefelhagen 2008), at most 1.
        recall, precision: of the boxes.
        purity: share of the matched boxes that show their track's majority person.
    """

    tracks: int
    idf1: float
    switches: int
    mota: float
    recall: float
    precision: float
    purity: float


def measure(tracks: Path, truth: Path, people: Mapping[int, int] | None = None) -> TrackFigures:
    """Figures of tracks against the true ones.

    Args:
        tracks, truth: MOTChallenge lines, as ``reid-dhm gallery export --format mot`` writes them.
        people: true id → person, where several ids are one; by default every id is a person.

    Raises:
        InputError: files without boxes, or of which none match.
        UnsupportedError: motmetrics is not installed.
    """
    figures = compare(read_boxes(tracks), read_boxes(truth), people)
    if not figures.recall:
        raise InputError(f"no box of {tracks} matches one of {truth}: are they of one clip?")
    return figures


def compare(found: Boxes, known: Boxes, people: Mapping[int, int] | None = None) -> TrackFigures:
    """As :func:`measure`, of boxes in memory.

    Raises:
        UnsupportedError: motmetrics is not installed.
    """
    require("benchmark", "measuring tracks", "motmetrics")
    import motmetrics

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # motmetrics uses what pandas is about to remove
        events = _events(found, known, people or {})
        figures = motmetrics.metrics.create().compute(events, metrics=_METRICS).iloc[0]
        table = events.mot_events
        matched = table[table.Type.isin(["MATCH", "SWITCH"])]
        votes = matched.groupby(["HId", "OId"]).size().groupby("HId")
    return TrackFigures(
        tracks=len(np.unique(found.ids)),
        idf1=float(figures.idf1),
        switches=int(figures.num_switches),
        mota=float(figures.mota),
        recall=float(figures.recall),
        precision=float(figures.precision),
        purity=float(votes.max().sum() / max(len(matched), 1)),
    )


def _events(found: Boxes, known: Boxes, people: Mapping[int, int]) -> Any:
    """The matches of every frame, as motmetrics collects them."""
    import motmetrics

    events = motmetrics.MOTAccumulator()
    for frame in np.union1d(found.frames, known.frames).tolist():
        ours, true = found.frames == frame, known.frames == frame
        distances = np.full((int(true.sum()), int(ours.sum())), np.nan)
        if distances.size:
            overlap = sv.box_iou_batch(known.corners[true], found.corners[ours])
            distances = np.where(overlap >= MIN_IOU, 1 - overlap, np.nan)
        names = [people.get(id, id) for id in known.ids[true].tolist()]
        events.update(names, found.ids[ours].tolist(), distances, frameid=frame)
    return events
