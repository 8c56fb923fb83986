"""Writing tracklets: a table as CSV or Parquet, or MOTChallenge lines of one video."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.extras import require
from reid_dhm.files import atomic_path, csv_cell, is_written_in_place
from reid_dhm.gallery.records import DETECTION, Tracklet, TrackletFilter
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore

COLUMNS = (
    *("tracklet", "camera", "video", "source", "start", "end", "start_time", "end_time"),
    *("first_frame", "last_frame", "num_boxes", "person", "person_id"),
    *("frame", "x1", "y1", "x2", "y2"),
)
"""Columns of the table; frame and box are those of the best image."""

_ROWS = 4096


def table_format(path: Path) -> str:
    """The suffix of a table; ``.csv`` for a device or pipe without one."""
    return path.suffix or (".csv" if is_written_in_place(path) else "")


def as_row(tracklet: Tracklet) -> dict[str, Any]:
    """A tracklet under the names of :data:`COLUMNS`; times are ISO 8601, or None."""
    facts = tracklet.to_dict()
    box = facts.pop("box")
    return facts | dict(zip(COLUMNS[-4:], box, strict=True))


def export(gallery: GalleryStore, path: Path, where: TrackletFilter | None = None) -> int:
    """Write the matching tracklets, with an audit entry; the file appears complete or not at all.

    Args:
        gallery: to read from.
        path: ``.csv``, in which texts that a spreadsheet would take for formulas begin with ``'``,
            or ``.parquet``, which holds the mean embeddings as well; devices and pipes without
            a suffix get CSV.
        where: conditions; all tracklets by default.

    Returns:
        Number of rows.

    Raises:
        UnsupportedError: another suffix, or Parquet without pyarrow.
        LockedError, StorageError: the audit log or the file cannot be written; there is no file.
    """
    writers = {".csv": _write_csv, ".parquet": _write_parquet}
    suffix = table_format(path)
    if suffix not in writers:
        raise UnsupportedError(f"{path} is neither .csv nor .parquet: choose one of these suffixes")
    with atomic_path(path) as temporary:
        count = writers[suffix](gallery, temporary, where)
        audit.record(gallery, "export", {"file": str(path), "tracklets": count})
    return count


def export_mot(
    gallery: GalleryStore,
    path: Path,
    where: TrackletFilter | None = None,
    number: Callable[[Tracklet], int | None] = lambda tracklet: tracklet.id.track,
) -> int:
    """Write the boxes of one video as MOTChallenge lines, with an audit entry.

    A line is ``frame,id,left,top,width,height,score,-1,-1,-1``; lines are in the order of frames.
    Frames and pixels count from 1, as MOTChallenge's: the image's upper left corner is 1, 1. Of two
    boxes with one id in a frame the one with the higher score counts.

    Args:
        gallery: to read from.
        path: of the file, whatever its suffix.
        where: conditions; they leave one video.
        number: the id of a tracklet's boxes, by default the track number; None leaves it out.

    Returns:
        Number of lines.

    Raises:
        InputError: tracklets of several videos match, or of none.
        LockedError, StorageError: as :func:`export`.
    """
    pieces, ids, videos = [np.empty(0, DETECTION)], [], set()
    for page in pages_of(gallery, where):
        for tracklet in page:
            if (id := number(tracklet)) is not None:
                videos.add(tracklet.id.video)
                pieces.append(gallery.boxes(tracklet.key))
                ids.append(np.full(len(pieces[-1]), id))
    if len(videos) != 1:
        raise InputError(
            f"MOTChallenge lines are of one video, and {len(videos) or 'none'} of the gallery's "
            "match: give --video HASH as `reid-dhm gallery list` prints it"
        )
    boxes, of = np.concatenate(pieces), np.concatenate(ids)
    order = np.lexsort((-boxes["score"], of, boxes["frame"]))
    boxes, of = boxes[order], of[order]
    kept = np.ones(len(of), bool)
    kept[1:] = (np.diff(of) != 0) | (np.diff(boxes["frame"]) != 0)
    with atomic_path(path) as temporary:
        with temporary.open("w", encoding="ascii") as file:
            for (frame, _, (x1, y1, x2, y2), score), id in zip(
                boxes[kept].tolist(), of[kept].tolist(), strict=True
            ):
                file.write(
                    f"{frame + 1},{id},{x1 + 1:.2f},{y1 + 1:.2f},{x2 - x1:.2f},{y2 - y1:.2f},"
                    f"{score:.4f},-1,-1,-1\n"
                )
        audit.record(gallery, "export", {"file": str(path), "tracklets": len(ids)})
    return int(kept.sum())


def pages_of(gallery: GalleryStore, where: TrackletFilter | None) -> Iterator[list[Tracklet]]:
    """The matching tracklets, page after page, by key."""
    after = 0
    while page := gallery.tracklets(where, after, _ROWS):
        yield page
        after = page[-1].key


def _write_csv(gallery: GalleryStore, path: Path, where: TrackletFilter | None) -> int:
    count = 0
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        for page in pages_of(gallery, where):
            table.writerows(
                {name: csv_cell(value) for name, value in as_row(tracklet).items()}
                for tracklet in page
            )
            count += len(page)
    return count


def _write_parquet(gallery: GalleryStore, path: Path, where: TrackletFilter | None) -> int:
    require("parquet", "Parquet", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {"start": pa.float64(), "end": pa.float64()}
    kinds |= dict.fromkeys(("x1", "y1", "x2", "y2"), pa.float64())
    kinds |= dict.fromkeys(
        ("first_frame", "last_frame", "num_boxes", "person_id", "frame"), pa.int64()
    )
    fields = [pa.field(name, kinds.get(name, pa.string())) for name in COLUMNS]
    schema = pa.schema([*fields, pa.field("embedding", pa.list_(pa.float32(), gallery.dim or 1))])
    count = 0
    with pq.ParquetWriter(path, schema) as table:
        for page in pages_of(gallery, where):
            first, last = page[0].key, page[-1].key
            means = gallery.embeddings(where, first - 1, len(page))
            vectors = dict(zip(means.keys.tolist(), means.embeddings, strict=True))
            rows = [
                {**as_row(t), "embedding": vectors[t.key].astype("float32")}
                for t in page
                if first <= t.key <= last and t.key in vectors
            ]
            table.write_batch(pa.RecordBatch.from_pylist(rows, schema))
            count += len(rows)
    return count
