"""Replacing the embeddings of a gallery by another model's: kept aside, then exchanged at once.

Computing them is left to :mod:`reid_dhm.gallery.ingest.reembed`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import ModelMismatchError
from reid_dhm.gallery.records import Crop
from reid_dhm.gallery.store import audit, queries
from reid_dhm.gallery.store.database import DamagedRowError
from reid_dhm.gallery.store.gallery import GalleryStore

_WAITING = """SELECT key FROM tracklets
    WHERE key > ? AND key NOT IN (SELECT tracklet FROM new_means) ORDER BY key LIMIT ?"""
_CROPS = """SELECT id, tracklet, frame, time, x1, y1, x2, y2, quality, jpeg FROM crops
    WHERE tracklet IN (SELECT value FROM json_each(?)) ORDER BY tracklet, rank"""

# Where ranks change places, none may be taken twice on the way.
_FREE_RANKS = """UPDATE crops SET rank = -1 - rank WHERE tracklet IN (
    SELECT c.tracklet FROM crops c JOIN new_crops n ON n.crop = c.id WHERE n.rank <> c.rank)"""
_EXCHANGE = (
    _FREE_RANKS,
    """UPDATE crops SET
        embedding = (SELECT embedding FROM new_crops WHERE crop = id),
        rank = (SELECT rank FROM new_crops WHERE crop = id)""",
    "UPDATE embeddings SET mean = (SELECT n.mean FROM new_means n WHERE n.tracklet = "
    "embeddings.tracklet)",
    "UPDATE gallery SET thresholds = NULL, revision = revision + 1, (fingerprint, model, dim) = "
    "(SELECT fingerprint, model, dim FROM new_model)",
)
_FORGET = ("DELETE FROM new_crops", "DELETE FROM new_means", "DELETE FROM new_model")


class StoredCrop(NamedTuple):
    """An image of the gallery.

    Attributes:
        id: row number.
        crop: without its embedding.
    """

    id: int
    crop: Crop


class NewEmbeddings(NamedTuple):
    """A tracklet as another model sees it.

    Attributes:
        key: of the tracklet.
        mean: (D,) float16 unit vector.
        ids: row numbers of its images, best first.
        embeddings: (K, D) float16 unit rows, of the same images.
    """

    key: int
    mean: NDArray[np.float16]
    ids: Sequence[int]
    embeddings: NDArray[np.float16]


class Reembedding:
    """The embeddings of another model on their way into a gallery; what is added survives a kill.

    Readers see the gallery's own embeddings until :meth:`finish`, and the others from then on.

    Args:
        gallery: changed by :meth:`finish` alone.
        fingerprint, dim, model: of the other model, as for :meth:`.GalleryStore.claim_model`. What
            an earlier process added for the same model is kept, for any other it is discarded.
    """

    def __init__(self, gallery: GalleryStore, fingerprint: str, dim: int, model: str) -> None:
        self._gallery, self._fingerprint, self._dim, self._model = gallery, fingerprint, dim, model
        with gallery.writing() as db:
            found = db.execute("SELECT fingerprint, dim FROM new_model").fetchone()
            if found != (fingerprint, dim):
                self._forget(db)
                sql = "INSERT INTO new_model (only, fingerprint, model, dim) VALUES (1, ?, ?, ?)"
                db.execute(sql, (fingerprint, model, dim))

    def done(self) -> int:
        """Number of tracklets that have their new embeddings."""
        with self._gallery.reading() as db:
            return int(db.execute("SELECT count(*) FROM new_means").fetchone()[0])

    def waiting(self, after: int, limit: int) -> list[tuple[int, list[StoredCrop]]]:
        """The next tracklets above key ``after`` without new embeddings, with their images.

        Raises:
            StorageError: a tracklet has no images.
        """
        with self._gallery.snapshot() as db:
            keys = [row[0] for row in db.execute(_WAITING, (after, limit)).fetchall()]
            crops: dict[int, list[StoredCrop]] = {key: [] for key in keys}
            for id, key, *row in db.execute(_CROPS, (json.dumps(keys),)).fetchall():
                crops[key].append(StoredCrop(id, queries.crop((*row, b""))))
            if bare := [key for key in keys if not crops[key]]:
                raise DamagedRowError(f"the tracklet with key {bare[0]} has no crops")
        return list(crops.items())

    def add(self, tracklets: Sequence[NewEmbeddings]) -> None:
        """Keep these aside; tracklets that were deleted meanwhile are left out.

        Raises:
            ModelMismatchError: another process has begun to embed with another model.
        """
        with self._gallery.writing() as db:
            self._check_same(db)
            db.executemany(
                "INSERT OR REPLACE INTO new_means SELECT key, ?2 FROM tracklets WHERE key = ?1",
                [(found.key, _blob(found.mean)) for found in tracklets],
            )
            db.executemany(
                "INSERT OR REPLACE INTO new_crops SELECT id, ?2, ?3 FROM crops WHERE id = ?1",
                [
                    (id, rank, _blob(row))
                    for found in tracklets
                    for rank, (id, row) in enumerate(zip(found.ids, found.embeddings, strict=True))
                ],
            )

    def finish(self, actor: str | None = None) -> int | None:
        """Exchange all embeddings in one transaction, with an entry in the audit log.

        The gallery's thresholds go: they are the old model's.

        Returns:
            Number of tracklets; None if some lack new embeddings, and nothing is changed.

        Raises:
            ModelMismatchError: as :meth:`add`.
        """
        gallery = self._gallery
        with gallery.writing(deleted=True) as db:
            self._check_same(db)
            if db.execute(_WAITING, (0, 1)).fetchone() is not None:
                return None
            before = queries.model(db.execute(queries.MODEL).fetchone())
            for statement in _EXCHANGE:
                db.execute(statement)
            self._forget(db)
            count = int(db.execute("SELECT count(*) FROM tracklets").fetchone()[0])
            detail = {
                "from": {"model": before[1], "fingerprint": before[0]},
                "to": {"model": self._model, "fingerprint": self._fingerprint},
                "tracklets": count,
            }
            audit.insert(db, "reembed", detail, *audit.who_and_when(actor))
        gallery.empty_cache()  # indexes of the old embeddings
        return count

    def _check_same(self, db: Any) -> None:
        found = db.execute("SELECT fingerprint FROM new_model").fetchone()
        if found is None or found[0] != self._fingerprint:
            raise ModelMismatchError(
                f"another process embeds {self._gallery.folder} with another model: wait until "
                "that is done, then run this again"
            )

    @staticmethod
    def _forget(db: Any) -> None:
        for statement in _FORGET:
            db.execute(statement)


def _blob(vector: NDArray[np.float16]) -> bytes:
    return np.ascontiguousarray(vector, "<f2").tobytes()
