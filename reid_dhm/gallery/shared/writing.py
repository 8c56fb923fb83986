"""Handing a video over to a shared gallery: one commit, which repeats leave as it is."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import Crop, Tracklet, TrackletFilter, Video
from reid_dhm.gallery.shared import leases, schema
from reid_dhm.gallery.shared.filters import numbers, text, texts
from reid_dhm.gallery.shared.gallery import SharedGallery
from reid_dhm.gallery.store.people import Confirmation

_ROWS = 1024


@dataclass(frozen=True, slots=True, eq=False)
class WholeTracklet:
    """A tracklet with everything that a gallery holds of it.

    Attributes:
        tracklet: its description; ``key`` and ``person_id`` are of the gallery it comes from.
        boxes: (N,) :data:`.DETECTION`.
        crops: best first.
        mean: (D,) float16 unit vector.
        confirmed: by whom and when a user said that it shows the person; None if it was found.
        hidden: whether a user hid the person.
    """

    tracklet: Tracklet
    boxes: NDArray[np.void]
    crops: Sequence[Crop]
    mean: NDArray[np.float16]
    confirmed: Confirmation | None = None
    hidden: bool = False


def has_video(gallery: SharedGallery, video: Video) -> bool:
    """Whether a video is there whole.

    Raises:
        InputError: it is there under another camera, start or with other settings.
    """
    there = _row_of(gallery, video)
    return there is not None and bool(there["complete"])


def _handed_over(gallery: SharedGallery, video: Video) -> bool:
    """Whether all tracklets of a video were handed over, also if its writer was killed then."""
    there = _row_of(gallery, video)
    if there is None or there["complete"] is False:
        return False
    return there["complete"] or gallery.count(TrackletFilter(videos=[video.hash])) > 0


def _row_of(gallery: SharedGallery, video: Video) -> dict[str, Any] | None:
    """The row of a video, checked to be of the same camera, start and settings."""
    found = gallery.tables.rows("videos", filter=f"hash = {text(video.hash)}").to_pylist()
    if not found:
        return None
    there = schema.as_video(found[0])
    for name in ("camera", "start_time", "settings"):
        if getattr(there, name) != getattr(video, name):
            raise InputError(
                f"{video.source} is in {gallery.folder} already with another {name} "
                f"({getattr(there, name)} instead of {getattr(video, name)}): give the same, or "
                f"delete video {video.hash} first"
            )
    row: dict[str, Any] = found[0]
    return row


def add_video(
    gallery: SharedGallery, video: Video, tracklets: Iterable[WholeTracklet], whole: bool = True
) -> int:
    """Add a finished video with its tracklets, which readers see together or not at all.

    Whoever repeats it, after a kill or on another machine at once, changes nothing. Tracklets whose
    deletion was asked for since the video was added do not come back: those of a video come in one
    commit, and are left alone once that is there.

    Args:
        gallery: whose model is claimed.
        video: indexed to its end.
        tracklets: of the video.
        whole: all of the video; else a part of it, which a later call completes.

    Returns:
        Number of tracklets handed over; 0 if the video was there already.

    Raises:
        InputError: as :func:`has_video`.
        LockedError: a clean-up after a deletion keeps the gallery.
        StorageError: the storage failed; the same call again completes it.
    """
    if has_video(gallery, video):
        return 0
    count = 0

    def batches() -> Iterator[pa.RecordBatch]:
        nonlocal count
        block: list[WholeTracklet] = []
        for each in tracklets:
            block.append(each)
            if len(block) == _ROWS:
                yield _batch(gallery, block)
                count, block = count + len(block), []
        if block:
            yield _batch(gallery, block)
            count += len(block)

    with leases.writing(gallery.tables, video.hash):
        there = _row_of(gallery, video)
        killed = there is not None and there["complete"] is None
        if there is None or (killed and not whole and not _handed_over(gallery, video)):
            _set_video(gallery, video, complete=None if whole else False)
        reader = pa.RecordBatchReader.from_batches(schema.tracklets(gallery.dim or 1), batches())
        others = f"video = {text(video.hash)}" if whole else None
        # Read into memory first: a commit that meets another one is repeated.
        rows = reader.read_all()
        if _handed_over(gallery, video):  # by a writer that was killed, or was quicker
            count, whole = 0, True
        else:
            gallery.tables.merge("tracklets", rows, "id", whole=others)
        if whole:
            _set_video(gallery, video, complete=True)
    return count


def mark_handed_over(gallery: SharedGallery, hashes: Collection[str]) -> None:
    """Mark videos as whole whose tracklets are there and whose writer was killed then."""
    killed = f"complete IS NULL AND hash IN {texts(hashes)}"
    if not hashes:
        return
    rows = gallery.tables.rows("videos", filter=killed)
    if len(rows):
        place = rows.column_names.index("complete")
        rows = rows.set_column(place, "complete", pa.array([True] * len(rows)))
        gallery.tables.merge("videos", rows, "hash")


def _set_video(gallery: SharedGallery, video: Video, complete: bool | None) -> None:
    row = schema.video_row(video, complete)
    gallery.tables.merge("videos", pa.Table.from_pylist([row], schema.VIDEOS), "hash")


def _batch(gallery: SharedGallery, block: Sequence[WholeTracklet]) -> pa.RecordBatch:
    columns = schema.tracklets(gallery.dim or 1)
    keys = free_keys(gallery, [str(each.tracklet.id) for each in block])
    rows = [_row(each, key) for each, key in zip(block, keys, strict=True)]
    plain = pa.schema([field for field in columns if field.name != "mean"])
    batch = pa.RecordBatch.from_pylist(rows, plain)
    means = np.stack([each.mean for each in block]).astype(np.float16)
    array = pa.FixedSizeListArray.from_arrays(pa.array(means.ravel()), gallery.dim)
    place = columns.get_field_index("mean")
    arrays = [*batch.columns[:place], array, *batch.columns[place:]]
    return pa.RecordBatch.from_arrays(arrays, schema=columns)


def _row(whole: WholeTracklet, key: int) -> dict[str, Any]:
    found = whole.tracklet
    shift = found.start_time.utcoffset() if found.start_time else None
    return {
        "key": key,
        "id": str(found.id),
        "video": found.id.video,
        "track": found.id.track,
        "camera": found.camera,
        "source": found.source,
        "begins": found.start,
        "ends": found.end,
        "begins_at": found.start_time.timestamp() if found.start_time else None,
        "ends_at": found.end_time.timestamp() if found.end_time else None,
        "utc_offset": int(shift.total_seconds()) if shift else 0,
        "first_frame": found.first_frame,
        "last_frame": found.last_frame,
        "num_boxes": found.num_boxes,
        "person_id": found.person_id,
        "person": None if found.person == str(found.person_id) else found.person,
        "hidden": whole.hidden,
        "confirmed_by": whole.confirmed.by if whole.confirmed else None,
        "confirmed_at": whole.confirmed.at.isoformat() if whole.confirmed else None,
        "frame": found.frame,
        **dict(zip(("x1", "y1", "x2", "y2"), found.box, strict=True)),
        "boxes": whole.boxes.tobytes(),
        "crops": list(map(schema.crop_row, whole.crops)),
    }


def free_keys(gallery: SharedGallery, ids: Sequence[str]) -> list[int]:
    """The keys of tracklets: numbers of their ids, or of longer texts where these are taken.

    Of ten million tracklets two have the same number with a probability of one in 200.
    """
    keys = [schema.number_of(id) for id in ids]
    where = f"key IN {numbers(keys)} OR id IN {texts(ids)}"
    rows = gallery.tables.rows("tracklets", ["key", "id"], filter=where).to_pylist()
    own = {row["id"]: row["key"] for row in rows}
    taken = {row["key"]: row["id"] for row in rows}
    found: list[int] = []
    for id, key in zip(ids, keys, strict=True):
        salt = 0
        while id not in own and taken.setdefault(key, id) != id:
            salt += 1
            key = schema.number_of(f"{id} {salt}")
        found.append(own.get(id, key))
    return found
