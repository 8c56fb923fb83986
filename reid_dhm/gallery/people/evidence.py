"""What linking knows about the tracklets of a gallery, as parallel arrays.

Who is who is decided in :mod:`.linking`, and what a similarity means in :mod:`.calibration`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.people.pairs import Encounters, encounters
from reid_dhm.gallery.store.database import DamagedRowError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import boxes as read_boxes
from reid_dhm.gallery.store.queries import checked, vectors

WALL_CLOCK = 0
"""The clock of tracklets whose times are seconds since 1970 UTC."""

ENDPOINT = np.dtype([("box", "<f4", (4,)), ("velocity", "<f4", (2,))])
"""Where a tracklet begins or ends: its box in pixels, and the velocity of the box's centre in
pixels per second; NaN where unknown."""

_MOTION_SECONDS = 1.0  # of a tracklet's beginning or end, over which its velocity is measured

_TRACKLETS = """SELECT t.key, v.camera, v.id, t.start, t."end", v.start_time, e.mean
    FROM tracklets t JOIN videos v ON v.id = t.video JOIN embeddings e ON e.tracklet = t.key
    ORDER BY t.key"""
_BOXES = """SELECT t.video, t.key, b.boxes FROM tracklets t JOIN boxes b ON b.tracklet = t.key
    ORDER BY t.video, t.key"""
_ROWS = 2**14


def no_encounters() -> Encounters:
    """Nobody was seen with anybody."""
    return Encounters(*np.empty((5, 0), np.int64))


@dataclass(frozen=True, eq=False)
class Appearances:
    """N tracklets as parallel arrays, in ascending order of their keys.

    The images of a tracklet are represented by their mean: comparing all of them instead changed
    pairwise F1 by less than 0.01 on rendered footage, on vtest.avi and on Market-1501's tracklets.

    Attributes:
        keys: (N,) int64, ascending.
        cameras: (N,) int64 camera ids.
        clocks: (N,) int64; times are compared within one clock only: :data:`WALL_CLOCK`, or the
            id of the video if its wall-clock time is unknown.
        starts, ends: (N,) float64 seconds on the tracklet's clock.
        means: (N, D) float32 unit rows.
        entries, exits: (N,) :data:`ENDPOINT`.
        persons: (N,) int64, number of the person so far; -1 without.
        together: tracklets that share frames of one video; its pairs are rows of these arrays.
    """

    keys: NDArray[np.int64]
    cameras: NDArray[np.int64]
    clocks: NDArray[np.int64]
    starts: NDArray[np.float64]
    ends: NDArray[np.float64]
    means: NDArray[np.float32]
    entries: NDArray[np.void]
    exits: NDArray[np.void]
    persons: NDArray[np.int64]
    together: Encounters = field(default_factory=no_encounters)

    def __len__(self) -> int:
        return len(self.keys)

    def rows(self, keys: NDArray[np.int64]) -> NDArray[np.int64]:
        """Row numbers of keys of any shape; -1 for keys that are not here."""
        keys = np.asarray(keys, np.int64)
        if not len(self.keys):
            return np.full(keys.shape, -1, np.int64)
        places = np.minimum(np.searchsorted(self.keys, keys), len(self.keys) - 1)
        return np.where(self.keys[places] == keys, places, -1)


def read_appearances(
    gallery: GalleryStore, persons: Mapping[int, int] | None = None
) -> Appearances:
    """All tracklets of a gallery, as they are at one moment.

    Memory: the tracklets' mean embeddings, and the boxes of one video.

    Args:
        gallery: to read.
        persons: number of the person of each tracklet so far, by key.

    Raises:
        StorageError: the gallery is damaged.
    """
    dim, known = gallery.dim or 0, persons or {}
    with gallery.snapshot() as db:
        columns: Any = [[] for _ in range(6)]
        means = [np.empty((0, dim), np.float32)]
        found = db.execute(_TRACKLETS)
        while rows := found.fetchmany(_ROWS):
            *own, blobs = zip(*map(_tracklet, rows), strict=True)
            for column, values in zip(columns, own, strict=True):
                column.extend(values)
            means.append(vectors(blobs, dim).astype(np.float32))
        keys = np.array(columns[0], np.int64)
        entries, exits, together = _boxes(db, keys)
    cameras, videos, starts, ends, begun = (np.array(c, np.float64) for c in columns[1:])
    wall = ~np.isnan(begun)  # None becomes NaN
    begin = np.where(wall, begun, 0)
    unit = np.concatenate(means)
    return Appearances(
        keys=keys,
        cameras=cameras.astype(np.int64),
        clocks=np.where(wall, WALL_CLOCK, videos).astype(np.int64),
        starts=begin + starts,
        ends=begin + ends,
        means=unit / np.maximum(np.linalg.norm(unit, axis=1, keepdims=True), 1e-12),
        entries=entries,
        exits=exits,
        persons=np.array([known.get(key, -1) for key in columns[0]], np.int64),
        together=together,
    )


@checked(int, int, int, float, float, float | None, bytes)
def _tracklet(row: Sequence[Any]) -> Sequence[Any]:
    return row


def endpoints(boxes: NDArray[np.void]) -> tuple[NDArray[np.void], NDArray[np.void]]:
    """The beginning and the end of a tracklet, each an :data:`ENDPOINT`.

    Args:
        boxes: (N,) :data:`~reid_dhm.gallery.records.DETECTION`, N at least 1, in frame order.
    """
    found = np.zeros(2, ENDPOINT)
    time = boxes["time"]
    centres = (boxes["box"][:, :2] + boxes["box"][:, 2:]).astype(np.float64) / 2
    near = time <= time[0] + _MOTION_SECONDS, time >= time[-1] - _MOTION_SECONDS
    for end, which in enumerate(near):
        moments = time[which] - time[which].mean()
        spread = float(moments @ moments)
        found[end]["box"] = boxes["box"][-end]
        found[end]["velocity"] = moments @ centres[which] / spread if spread else np.nan
    return found[0], found[1]


def _boxes(
    db: Any, keys: NDArray[np.int64]
) -> tuple[NDArray[np.void], NDArray[np.void], Encounters]:
    """Endpoints of all tracklets, and who was seen with whom, as rows."""
    entries, exits = np.zeros((2, len(keys)), ENDPOINT)
    found = [no_encounters()]
    for _, rows in groupby(db.execute(_BOXES), key=lambda row: row[0]):
        owners, pieces = [], []
        for _, key, blob in rows:
            boxes = read_boxes((blob,))
            row = int(np.searchsorted(keys, key))
            if not len(boxes) or row == len(keys) or keys[row] != key:
                raise DamagedRowError(f"the tracklet with key {key} has no boxes or no embedding")
            entries[row], exits[row] = endpoints(boxes)
            owners.append(np.full(len(boxes), row, np.int64))
            pieces.append(boxes[["frame", "box"]])
        every = np.concatenate(pieces)
        found.append(encounters(np.concatenate(owners), every["frame"], every["box"]))
    return entries, exits, Encounters(*map(np.concatenate, zip(*found, strict=True)))
