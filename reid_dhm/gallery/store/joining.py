"""Makes one tracklet of the pieces that belong together, once a video is indexed to its end.

Which ones do is decided in :mod:`reid_dhm.gallery.track.joining`, from what is stored alone, so
that an interrupted run comes to the same result. A piece that a user spoke of stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from reid_dhm.gallery.records import NewTracklet, Video
from reid_dhm.gallery.store import queries
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track import joining
from reid_dhm.gallery.track.crops import BestCrops
from reid_dhm.gallery.track.joining import Joins, Piece
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracklets import rank_crops

_SAID = """SELECT tracklet FROM members WHERE confirmed_by IS NOT NULL
    UNION SELECT first FROM different UNION SELECT second FROM different
    UNION SELECT tracklet FROM case_marks"""
_PIECES = f"""SELECT key, key IN ({_SAID}) FROM tracklets WHERE video = ? ORDER BY start, track"""
_EMBEDDINGS = "SELECT embedding FROM crops WHERE tracklet = ? ORDER BY time"


def find_joins(gallery: GalleryStore, video: Video) -> Joins:
    """Which tracklets of a video are pieces of one track; none if it is indexed without joining."""
    if not video.settings.get("join"):
        return Joins([], [])
    settings = TrackSettings.from_dict(video.settings)
    return joining.find_joins(
        _pieces(gallery, video), (video.height, video.width), settings.max_seconds
    )


def _pieces(gallery: GalleryStore, video: Video) -> Iterator[Piece]:
    with gallery.reading() as db:
        rows = [_piece(row) for row in db.execute(_PIECES, (video.id,)).fetchall()]
    for key, closed in rows:
        boxes = gallery.boxes(key)
        with gallery.reading() as db:
            blobs = [row[0] for row in db.execute(_EMBEDDINGS, (key,)).fetchall()]
            embeddings = queries.vectors(blobs, gallery.dim or 0).astype(np.float32)
        if len(boxes) and len(embeddings):  # it may have been deleted meanwhile
            yield Piece(key, boxes, embeddings, closed)


def replacements(
    gallery: GalleryStore, db: Any, video: Video, joins: Joins
) -> Iterator[tuple[Sequence[int], NewTracklet | None]]:
    """Keys of pieces and the tracklet that replaces them, None for brief ones; in a transaction.

    Those of which a piece was deleted meanwhile, or that a user spoke of, are left out.
    """
    free = {key for (key,) in db.execute("SELECT key FROM tracklets WHERE video = ?", (video.id,))}
    free -= {key for (key,) in db.execute(_SAID)}
    for chain in joins.chains:
        if free.issuperset(chain):
            yield chain, _joined(gallery, video, chain)
    for key in joins.brief:
        if key in free:
            yield [key], None


def _joined(gallery: GalleryStore, video: Video, chain: Sequence[int]) -> NewTracklet:
    """The boxes of all pieces, and of their crops as many as a tracklet keeps.

    It has the track number of the first piece.
    """
    settings = TrackSettings.from_dict(video.settings)
    pieces = gallery.tracklets_by_key(chain)
    boxes = np.concatenate([gallery.boxes(piece.key) for piece in pieces])
    # Where two pieces meet, both may have a box in one frame: the earlier piece's stays.
    _, first = np.unique(boxes["frame"], return_index=True)
    crops = [crop for piece in pieces for crop in gallery.crops(piece.key)]
    kept = BestCrops(settings.crops, settings.crops_apart, crops).crops
    rows = np.stack([crop.embedding for crop in kept]).astype(np.float32)
    order, mean = rank_crops(kept, rows)
    return NewTracklet(pieces[0].id.track, boxes[first], [kept[i] for i in order], mean)


@queries.checked(int, int)
def _piece(row: Sequence[Any]) -> tuple[int, bool]:
    return row[0], bool(row[1])
