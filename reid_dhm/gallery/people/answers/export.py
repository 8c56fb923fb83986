"""Writing people with their tracklets: CSV, Parquet, or JSON with one object for every person."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from reid_dhm.errors import UnsupportedError
from reid_dhm.extras import require
from reid_dhm.files import atomic_path, csv_cell
from reid_dhm.gallery.people.answers.presence import read_presence
from reid_dhm.gallery.people.answers.route import Appearance
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.export import COLUMNS as TRACKLET_COLUMNS
from reid_dhm.gallery.store.export import as_row, table_format
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import confirmations, people

COLUMNS = (*TRACKLET_COLUMNS, "name", "confirmed_by", "confirmed_at")
"""Columns of the table, a row a tracklet."""

_OWN = ("person", "person_id", "name")  # of the person, not of a tracklet


def export_people(gallery: GalleryStore, path: Path, where: TrackletFilter | None = None) -> int:
    """Write the people's tracklets that match, by person and time, with an audit entry.

    The file appears complete or not at all.

    Args:
        gallery: to read from.
        path: ``.csv``, ``.parquet``, or ``.json``: a list of people with their appearances.
        where: conditions; everybody by default.

    Returns:
        Number of tracklets.

    Raises:
        UnsupportedError: another suffix, or Parquet without pyarrow.
        LockedError, StorageError: the audit log or the file cannot be written; there is no file.
    """
    writers = {".csv": _write_csv, ".json": _write_json, ".parquet": _write_parquet}
    suffix = table_format(path)
    if suffix not in writers:
        raise UnsupportedError(
            f"{path} is neither .csv nor .json nor .parquet: choose one of these suffixes"
        )
    with gallery.snapshot():
        rows = list(_rows(gallery, where))
    with atomic_path(path) as temporary:
        writers[suffix](temporary, rows)
        audit.record(gallery, "export", {"file": str(path), "tracklets": len(rows)})
    return len(rows)


def _rows(gallery: GalleryStore, where: TrackletFilter | None) -> Iterator[dict[str, Any]]:
    known = {person.id: person for person in people(gallery)}
    presence = read_presence(gallery, where)
    pairs = zip(presence.people.tolist(), presence.keys.tolist(), strict=True)
    for number, group in groupby(pairs, key=lambda pair: pair[0]):
        said = confirmations(gallery, number)
        for tracklet in gallery.tracklets_by_key([key for _, key in group]):
            facts = Appearance(tracklet, said[tracklet.key]).to_dict()
            yield {
                **as_row(tracklet),
                **known[number].to_dict(),
                "confirmed_by": facts["confirmed_by"],
                "confirmed_at": facts["confirmed_at"],
            }


def _write_csv(path: Path, rows: list[dict[str, Any]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: csv_cell(row[name]) for name in COLUMNS} for row in rows)


def _write_json(path: Path, rows: list[dict[str, Any]]) -> None:
    found = [
        {
            **dict(zip(_OWN, person, strict=True)),
            "appearances": [
                {name: value for name, value in row.items() if name not in _OWN} for row in group
            ],
        }
        for person, group in groupby(rows, key=lambda row: tuple(row[name] for name in _OWN))
    ]
    path.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")


def _write_parquet(path: Path, rows: list[dict[str, Any]]) -> None:
    require("parquet", "Parquet", "pyarrow")
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = dict.fromkeys(("start", "end", "x1", "y1", "x2", "y2"), pa.float64())
    whole = ("person_id", "first_frame", "last_frame", "num_boxes", "frame")
    kinds |= dict.fromkeys(whole, pa.int64())
    schema = pa.schema([pa.field(name, kinds.get(name, pa.string())) for name in COLUMNS])
    pq.write_table(pa.Table.from_pylist(rows, schema), path)
