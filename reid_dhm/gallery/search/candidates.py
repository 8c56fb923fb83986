"""What a search found: candidates, the likely matches among them, and how both are shown."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.gallery.records import Tracklet
from reid_dhm.text import printable

if TYPE_CHECKING:
    import supervision as sv

LIKELY = 0.5
"""Match probability from which a candidate is a likely match."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """A tracklet that a search returned.

    Attributes:
        tracklet: where and when the person was seen.
        similarity: cosine between the query and the tracklet's mean embedding, -1 to 1.
        probability: that both show one person, 0 to 1: calibrated on this gallery, or by the
            thresholds file given; None without either.
        boxes: (N,) structured array in frame order with ``frame`` (0-based), ``time`` (seconds),
            ``box`` (x1, y1, x2, y2 in pixels) and ``score``; None unless the search was asked for
            details.
        jpeg: image of the best crop; None unless the search was asked for details.
    """

    tracklet: Tracklet
    similarity: float
    probability: float | None
    boxes: NDArray[np.void] | None = field(default=None, compare=False, repr=False)
    jpeg: bytes | None = field(default=None, compare=False, repr=False)

    @property
    def is_likely(self) -> bool:
        """Whether the match probability is 50 % or more; False if it is unknown."""
        return self.probability is not None and self.probability >= LIKELY

    def to_detections(self) -> sv.Detections:
        """Every box of the tracklet as ``supervision.Detections``.

        Returns:
            N detections: ``xyxy`` in pixels, ``confidence`` of the detector, ``class_id`` 0,
            ``tracker_id`` the track number in its video, and ``data`` with ``frame`` (0-based, in
            the source), ``time`` (seconds from the source's first frame) and ``similarity``.

        Raises:
            InputError: the candidate was read without its boxes.
        """
        import supervision as sv

        if self.boxes is None:
            raise InputError(
                "this candidate was read without its boxes: search for it with reid.Gallery.search"
            )
        count = len(self.boxes)
        return sv.Detections(
            xyxy=np.array(self.boxes["box"], np.float32).reshape(-1, 4),
            confidence=np.array(self.boxes["score"], np.float32),
            class_id=np.zeros(count, int),
            tracker_id=np.full(count, self.tracklet.id.track),
            data={
                "frame": np.array(self.boxes["frame"]),
                "time": np.array(self.boxes["time"]),
                "similarity": np.full(count, self.similarity),
            },
        )

    def to_dict(self, crop: Path | None = None) -> dict[str, Any]:
        """The fields of ``--json``: those of the tracklet, and how it was found.

        Args:
            crop: file of the candidate's image, if it was written.
        """
        return {
            **self.tracklet.to_dict(),
            "similarity": self.similarity,
            "probability": self.probability,
            "likely": None if self.probability is None else self.is_likely,
            "crop": None if crop is None else str(crop),
        }

    def _repr_html_(self) -> str:
        return Candidates([self])._repr_html_()


class Candidates(Sequence[Candidate]):
    """What a search returned, the most similar first.

    Args:
        items: candidates in descending order of similarity.
    """

    def __init__(self, items: Sequence[Candidate] = ()) -> None:
        self._items = tuple(items)

    @property
    def likely(self) -> Candidates:
        """The candidates whose match probability is 50 % or more.

        Raises:
            UnsupportedError: no match probability is known, without which no similarity says what
                is likely.
        """
        if self._items and all(candidate.probability is None for candidate in self._items):
            raise UnsupportedError(
                "no match probabilities: give thresholds, or let `reid-dhm gallery calibrate` "
                "find the gallery's own"
            )
        return Candidates([candidate for candidate in self._items if candidate.is_likely])

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> Candidate: ...

    @overload
    def __getitem__(self, index: slice) -> Candidates: ...

    def __getitem__(self, index: int | slice) -> Candidate | Candidates:
        if isinstance(index, slice):
            return Candidates(self._items[index])
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Candidates) and self._items == other._items

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        rows = [
            f"  {rank}. {printable(candidate.tracklet.camera)}, {format_span(candidate.tracklet)}, "
            f"similarity {candidate.similarity:.3f}"
            for rank, candidate in enumerate(self._items, 1)
        ]
        return "\n".join([f"{len(self)} candidates", *rows])

    def _repr_html_(self) -> str:
        head = ("", "image", "camera", "seen", "person", "similarity", "probability", "tracklet")
        rows = [_row(rank, candidate) for rank, candidate in enumerate(self._items, 1)]
        cells = "".join(f"<th>{name}</th>" for name in head)
        return f"<table><tr>{cells}</tr>{''.join(rows)}</table>"


def largest_drop(found: Sequence[Candidate]) -> int | None:
    """After how many candidates similarity falls most; None with fewer than three."""
    if len(found) < 3:
        return None
    similarities = np.array([candidate.similarity for candidate in found])
    return int(np.argmin(np.diff(similarities))) + 1


def format_span(tracklet: Tracklet) -> str:
    """From when to when: wall-clock time, or seconds from the video's start."""
    begin, end = tracklet.start_time, tracklet.end_time
    if begin is None or end is None:
        return f"{tracklet.start:.1f} to {tracklet.end:.1f} s"
    until = end.strftime("%H:%M:%S" if begin.date() == end.date() else "%Y-%m-%d %H:%M:%S")
    offset = begin.strftime("%z")
    return f"{begin:%Y-%m-%d %H:%M:%S} to {until} {offset[:3]}:{offset[3:]}"


def format_probability(probability: float | None) -> str:
    """``93.1%``; empty where there is none."""
    return "" if probability is None else f"{probability:.1%}"


def _row(rank: int, candidate: Candidate) -> str:
    found = candidate.tracklet
    image = ""
    if candidate.jpeg is not None:
        data = base64.b64encode(candidate.jpeg).decode()
        image = f'<img src="data:image/jpeg;base64,{data}" style="height:96px" alt="">'
    cells = (
        *(str(rank), image, escape(found.camera), format_span(found), escape(found.person or "")),
        *(f"{candidate.similarity:.3f}", format_probability(candidate.probability), str(found.id)),
    )
    return f"<tr>{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>"
