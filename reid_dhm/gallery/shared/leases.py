"""Who is writing: so that no file of a writer at work is taken for one of a killed writer.

Lance cannot tell a file that is about to be committed from one that never will be. Writers and the
clean-up of a deletion therefore announce themselves in one table, whose commits are serial: of a
writer and a clean-up that begin at once, at least one sees the other, and the writer gives way.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import pyarrow as pa

from reid_dhm.errors import LockedError
from reid_dhm.gallery.shared import schema
from reid_dhm.gallery.shared.filters import text
from reid_dhm.gallery.shared.tables import Tables

_WRITE, _CLEAN = "write ", "clean "
_WRITER_SECONDS = 3600.0
"""After so long a writer is taken for dead; no hand-over of a video takes that long."""
_CLEANER_SECONDS = 600.0
_PATIENCE = 30.0
_PAUSE = 0.25


@contextmanager
def writing(tables: Tables, name: str, patience: float = 120.0) -> Iterator[None]:
    """The right to write files, which any number of writers have at once, also of one thing.

    Args:
        tables: of the gallery.
        name: of what is written.
        patience: seconds to wait for a clean-up.

    Raises:
        LockedError: a clean-up takes longer.
    """
    own = f"{_WRITE}{name} {uuid.uuid4().hex}"  # a killed writer's row ages out
    ends = time.monotonic() + patience
    while True:
        _announce(tables, own)
        if not _others(tables, _CLEAN, _CLEANER_SECONDS):
            break
        _withdraw(tables, own)
        if time.monotonic() > ends:
            raise LockedError(
                f"{tables.address} is being cleaned up after a deletion: try again in a few minutes"
            )
        time.sleep(_PAUSE)
    try:
        yield
    finally:
        _withdraw(tables, own)


@contextmanager
def cleaning(tables: Tables) -> Iterator[bool]:
    """The right to remove files that no version names: True if nobody is writing."""
    own = _CLEAN + uuid.uuid4().hex
    _announce(tables, own)
    try:
        ends = time.monotonic() + _PATIENCE
        while busy := bool(_others(tables, _WRITE, _WRITER_SECONDS)):
            if time.monotonic() > ends:
                break
            time.sleep(_PAUSE)
        yield not busy
    finally:
        _withdraw(tables, own)
        _forget_dead(tables)


def _announce(tables: Tables, name: str) -> None:
    row = {"name": name, "since": time.time()}
    tables.merge("activity", pa.Table.from_pylist([row], schema.ACTIVITY), "name")


def _withdraw(tables: Tables, name: str) -> None:
    tables.delete("activity", f"name = {text(name)}")


def _others(tables: Tables, kind: str, seconds: float) -> list[str]:
    rows = tables.rows("activity").to_pylist()
    least = time.time() - seconds
    return [row["name"] for row in rows if row["name"].startswith(kind) and row["since"] > least]


def _forget_dead(tables: Tables) -> None:
    tables.delete("activity", f"since < {time.time() - _WRITER_SECONDS!r}")
