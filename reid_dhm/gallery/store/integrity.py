"""Checking that a gallery holds together; the invariants are those of docs/gallery.md."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import decode

_UNIT = 0.01  # how far the length of a float16 unit vector may be from 1

# What is wrong, and the query that finds where; {} is what it finds.
_FAULTS = {
    "the tracklet with key {} has no embedding": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM embeddings)""",
    "the embedding of the tracklet with key {} has not the model's length": """
        SELECT tracklet FROM embeddings, gallery WHERE length(mean) IS NOT 2 * dim""",
    "the tracklet with key {} has no boxes": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM boxes)""",
    "the tracklet with key {} has no crops": """
        SELECT key FROM tracklets WHERE key NOT IN (SELECT tracklet FROM crops)""",
    "the tracklet with key {} lacks some of its crops": """
        SELECT tracklet FROM crops GROUP BY tracklet
        HAVING min(rank) <> 0 OR max(rank) <> count(*) - 1""",
    "video {} is complete and keeps work in progress": """
        SELECT hash FROM videos WHERE complete
        AND id IN (SELECT video FROM chunks UNION SELECT video FROM pending
        UNION SELECT video FROM forgotten)""",
    "video {} has frames beyond its position": """
        SELECT v.hash FROM videos v JOIN chunks c ON c.video = v.id
        GROUP BY v.id HAVING max(c.first_frame) >= v.position""",
}


def check_integrity(
    gallery: GalleryStore, progress: Callable[[int, int], None] | None = None
) -> Iterator[str]:
    """Everything that is wrong with a gallery, a sentence each; nothing if all is well.

    Every page of the file is read, every image decoded, every embedding measured.

    Args:
        gallery: which.
        progress: told the tracklets done and those in all.
    """
    with gallery.reading() as db:
        lines = [line for (line,) in db.execute("PRAGMA integrity_check").fetchall()]
    if lines != ["ok"]:
        yield from (f"the file is damaged: {line}" for line in lines)
        return
    with gallery.reading() as db:
        faults = [
            f"row {row} of {table} belongs to nothing in {parent}"
            for table, row, parent, _ in db.execute("PRAGMA foreign_key_check").fetchall()
        ]
        faults += [
            meaning.format(found)
            for meaning, query in _FAULTS.items()
            for (found,) in db.execute(query).fetchall()
        ]
    if faults:  # what follows takes the rows for whole
        yield from faults
        return
    state = gallery.state()
    done = 0
    for page in gallery.pages(limit=1000):
        lengths = np.linalg.norm(page.embeddings.astype(np.float32), axis=1)
        for key in page.keys[np.abs(lengths - 1) > _UNIT].tolist():
            yield f"the embedding of the tracklet with key {key} is no unit vector"
        for key in page.keys.tolist():
            yield from _tracklet_problems(gallery, key)
        done += len(page.keys)
        if progress is not None:
            progress(done, state.tracklets)


def _tracklet_problems(gallery: GalleryStore, key: int) -> Iterator[str]:
    for crop in gallery.crops(key):
        try:
            decode(crop.jpeg)
        except ValueError:
            yield f"an image of the tracklet with key {key} cannot be decoded"
        vector = crop.embedding.astype(np.float32)
        if len(vector) != gallery.dim or abs(float(np.linalg.norm(vector)) - 1) > _UNIT:
            yield f"an embedding of the tracklet with key {key} is damaged"
    boxes = gallery.boxes(key)
    for tracklet in gallery.tracklets_by_key([key]):
        told = (tracklet.first_frame, tracklet.last_frame, tracklet.num_boxes)
        if len(boxes) == 0 or (np.diff(boxes["frame"]) <= 0).any():
            yield f"the boxes of tracklet {tracklet.id} are out of order"
        elif told != (boxes["frame"][0], boxes["frame"][-1], len(boxes)):
            yield f"tracklet {tracklet.id} does not agree with its boxes"
        elif (tracklet.start, tracklet.end) != (boxes["time"][0], boxes["time"][-1]):
            yield f"tracklet {tracklet.id} does not agree with its boxes' times"
