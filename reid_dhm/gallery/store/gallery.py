"""Reading a gallery: a folder whose SQLite file holds who was seen where and when.

Videos are added by :mod:`.writing`, people named by :mod:`.statements` and deleted by
:mod:`.deletion`. docs/gallery.md explains tables, ids and invariants.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.records import (
    DETECTION,
    Camera,
    Crop,
    EmbeddingPage,
    State,
    Tracklet,
    TrackletFilter,
    Video,
)
from reid_dhm.gallery.store import filters, queries
from reid_dhm.gallery.store.database import (
    FILE,
    connect,
    remove_cache,
    transaction,
    translated_errors,
)
from reid_dhm.gallery.store.reader import MAX_ROWS, GalleryReader


class GalleryStore(GalleryReader):
    """An open gallery; a context manager. It is one connection, for one thread at a time.

    Args:
        folder: of the gallery.
        create: make it if it does not exist.

    Attributes:
        cache: folder for derived data; emptied when anything is deleted.

    Raises:
        NotFoundError: no gallery there.
        InputError: another program's database, or a gallery of a newer release.
        LockedError: the file is locked for more than five seconds; also by every method.
        StorageError: the file is damaged or cannot be read, the disk is full, or writing is
            forbidden; also by every method. Nothing that was committed is lost.
    """

    def __init__(self, folder: Path | str, create: bool = False) -> None:
        self._folder = Path(folder)
        self.cache = self.folder / "cache"
        self._connection = connect(self.folder, create)
        self._claimed: tuple[str, int] | None = None

    @property
    def folder(self) -> Path:
        """The folder."""
        return self._folder

    @property
    def path(self) -> Path:
        """Its SQLite file."""
        return self._folder / FILE

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def empty_cache(self) -> None:
        """Delete all derived data, also what other processes write there at this moment.

        Raises:
            StorageError: it cannot be deleted.
        """
        remove_cache(self.cache)

    def empty_log(self) -> bool:
        """Checkpoint and truncate the write-ahead log; False while a reader needs it."""
        with self.reading() as db:
            busy, _, _ = db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        return not busy

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """The connection, with SQLite's failures as :class:`.ReidError`."""
        with translated_errors(self.path):
            yield self._connection

    @contextmanager
    def snapshot(self) -> Iterator[sqlite3.Connection]:
        """As :meth:`reading`; several queries see one state of the gallery."""
        with self.reading() as db:
            if db.in_transaction:
                yield db
                return
            db.execute("BEGIN")
            try:
                yield db
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    @contextmanager
    def writing(self, *, changed: bool = False, deleted: bool = False) -> Iterator[Any]:
        """A transaction, all or nothing; within another one it is a part of that.

        Args:
            changed: an index has to follow: the generation grows.
            deleted: tracklets are deleted: generation and deletions grow.
        """
        with translated_errors(self.path), transaction(self._connection):
            yield self._connection
            if changed or deleted:
                self._connection.execute(
                    "UPDATE gallery SET generation = generation + 1, deletions = deletions + ?",
                    (int(deleted),),
                )

    def claim_model(self, fingerprint: str, dim: int, model: str) -> None:
        """Set the model whose embeddings are about to be stored; the first one stays.

        Args:
            fingerprint: ``Embedder.fingerprint``.
            dim: ``Embedder.dim``.
            model: its name for people, such as the checkpoint's path.

        Raises:
            ModelMismatchError: the gallery holds another model's.
        """
        self.check_model(fingerprint, dim)
        with self.writing() as db:
            db.execute(
                "UPDATE gallery SET fingerprint = ?, dim = ?, model = ? WHERE fingerprint IS NULL",
                (fingerprint, dim, model),
            )
        self.check_model(fingerprint, dim)  # another process may have been quicker
        self._claimed = fingerprint, dim

    def check_claim(self) -> None:
        """As :meth:`check_model`, for the model claimed: before its embeddings are stored."""
        if self._claimed is not None:
            self.check_model(*self._claimed)

    def state(self) -> State:
        """Generation, deletions, number of tracklets and highest key."""
        with self.reading() as db:
            return queries.state(db.execute(queries.STATE).fetchone())

    def generation(self) -> int:
        """Of :meth:`state`, without counting a million tracklets."""
        with self.reading() as db:
            return int(db.execute("SELECT generation FROM gallery").fetchone()[0])

    def cameras(self) -> list[Camera]:
        """All cameras, by name."""
        with self.reading() as db:
            return list(map(queries.camera, db.execute(queries.CAMERAS).fetchall()))

    def videos(self) -> list[Video]:
        """All videos, in the order they were first indexed."""
        with self.reading() as db:
            sql = queries.VIDEOS + " ORDER BY v.id"
            return list(map(queries.video, db.execute(sql).fetchall()))

    def video(self, hash: str) -> Video:
        """The video of a content hash.

        Raises:
            NotFoundError: there is none.
        """
        with self.reading() as db:
            sql = queries.VIDEOS + " WHERE v.hash = ?"
            row = db.execute(sql, (filters.as_utf8(hash),)).fetchone()
            if row is not None:
                return queries.video(row)
        raise self._no_video(hash)

    def count(self, where: TrackletFilter | None = None) -> int:
        """Number of tracklets that match; all of them by default."""
        condition, values = self.condition(where)
        with self.reading() as db:
            return int(db.execute(queries.COUNT + condition, values).fetchone()[0])

    def counts(self) -> dict[int, int]:
        """Number of tracklets per video ``id``; videos without any are left out."""
        with self.reading() as db:
            return dict(db.execute("SELECT video, count(*) FROM tracklets GROUP BY video"))

    def tracklets(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = 1000
    ) -> list[Tracklet]:
        """The next matching tracklets, by key.

        Args:
            where: conditions; all tracklets by default.
            after: the last key of the page before.
            limit: most tracklets to return.
        """
        condition, values = self.condition(where)
        sql = queries.TRACKLETS + condition + " AND t.key > ? ORDER BY t.key LIMIT ?"
        with self.reading() as db:
            rows = db.execute(sql, (*values, after, min(limit, MAX_ROWS))).fetchall()
            return [queries.tracklet(row) for row in rows]

    def tracklets_by_key(self, keys: Iterable[int]) -> list[Tracklet]:
        """The tracklets with these keys, in this order; keys that do not exist are left out."""
        wanted = [int(key) for key in keys]
        sql = queries.TRACKLETS + " WHERE t.key IN (SELECT value FROM json_each(?))"
        with self.reading() as db:
            rows = db.execute(sql, (json.dumps(wanted),)).fetchall()
            found = {row[0]: queries.tracklet(row) for row in rows}
        return [found[key] for key in wanted if key in found]

    def boxes(self, key: int) -> NDArray[np.void]:
        """(N,) :data:`.DETECTION` of a tracklet, empty if it was deleted."""
        with self.reading() as db:
            row = db.execute("SELECT boxes FROM boxes WHERE tracklet = ?", (key,)).fetchone()
            return np.empty(0, DETECTION) if row is None else queries.boxes(row)

    def crops(self, key: int) -> list[Crop]:
        """The images of a tracklet with their embeddings, best first."""
        with self.reading() as db:
            return [queries.crop(row) for row in db.execute(queries.CROPS, (key,)).fetchall()]

    def thumbnail(self, key: int) -> bytes | None:
        """The best image of a tracklet, as JPEG; None if it was deleted."""
        with self.reading() as db:
            sql = "SELECT jpeg FROM crops WHERE tracklet = ? AND rank = 0"
            row = db.execute(sql, (key,)).fetchone()
            return None if row is None else queries.jpeg(row)

    def tracklets_in_frame(self, video: str, frame: int) -> list[Tracklet]:
        """Tracklets of a video that begin at a frame or before and end there or later, by key."""
        sql = queries.TRACKLETS + " WHERE v.hash = ? AND ? BETWEEN t.first_frame AND t.last_frame"
        with self.reading() as db:
            rows = db.execute(sql + " ORDER BY t.key", (video, frame)).fetchall()
            return list(map(queries.tracklet, rows))

    def embeddings(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = 65536
    ) -> EmbeddingPage:
        """The embeddings of the next matching tracklets, by key; no rows after the last.

        Args:
            where: conditions; all tracklets by default.
            after: the last key of the page before.
            limit: most rows to return.
        """
        condition, values = self.condition(where)
        sql = queries.EMBEDDINGS + condition + " AND e.tracklet > ? ORDER BY e.tracklet LIMIT ?"
        with self.reading() as db:
            rows = db.execute(sql, (*values, after, min(limit, MAX_ROWS))).fetchall()
            return queries.page(rows, self.dim or 0)

    def keys(self, where: TrackletFilter | None = None) -> NDArray[np.int64]:
        """(N,) keys of the matching tracklets, ascending."""
        condition, values = self.condition(where)
        with self.reading() as db:
            rows = db.execute(queries.KEYS + condition + " ORDER BY t.key", values)
            return np.fromiter((row[0] for row in rows), np.int64)

    def model(self) -> tuple[str | None, str | None, int | None]:
        """Fingerprint, name for people and dimension of the model; None in a new gallery."""
        with self.reading() as db:
            return queries.model(db.execute(queries.MODEL).fetchone())

    def condition(self, where: TrackletFilter | None) -> tuple[str, list[Any]]:
        """A WHERE clause over tracklets ``t`` of videos ``v``, and its values.

        Raises:
            NotFoundError: a camera or video that is not there.
        """
        self.check_filter(where)
        return filters.condition(TrackletFilter() if where is None else where)

    def frame_ends(self, video: Video, frame: int) -> list[tuple[int, float]]:
        """Frame and time where tracklets begin or end: the nearest up to a frame and after it."""
        with self.reading() as db:
            rows = [row for sql in queries.ENDS for row in db.execute(sql, (video.id, frame))]
            return list(map(queries.end, rows))

    def thresholds_row(self) -> Sequence[Any]:
        """Fingerprint and dimension of the model, and the gallery's thresholds as JSON or None."""
        with self.reading() as db:
            row: Sequence[Any] = db.execute(queries.THRESHOLDS).fetchone()
            return row

    def add_audit_row(self, time: str, actor: str, action: str, detail: str) -> None:
        """Add an entry to the audit log."""
        with self.writing() as db:
            db.execute(queries.ADD_AUDIT, (time, actor, action, detail))

    def audit_rows(
        self, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Sequence[Any]]:
        """The newest entries of the audit log, newest first."""
        with self.reading() as db:
            return db.execute(queries.AUDIT, (after, before, min(limit, MAX_ROWS))).fetchall()

    def person_rows(
        self, who: str | int | None = None, first: int = 0, last: int = MAX_ROWS
    ) -> list[Sequence[Any]]:
        """One person, or those of these numbers."""
        number = who if isinstance(who, int) else filters.person_number(who or "")
        name = filters.as_utf8(who) if isinstance(who, str) else None
        condition, values = queries.IS_PERSON, [name, number]
        if who is None:
            condition, values = queries.NUMBERED, [first, last]
        with self.reading() as db:
            return db.execute(queries.PEOPLE.format(condition), values).fetchall()
