"""Reading a gallery on shared storage: any number of readers, writers and machines at once.

Writing is left to :mod:`.writing`, deletion to :mod:`.deletion`, indexes to :mod:`.upkeep`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from reid_dhm.errors import NotFoundError, UnsupportedError
from reid_dhm.gallery.address import SharedAddress
from reid_dhm.gallery.records import (
    DETECTION,
    Camera,
    Crop,
    EmbeddingPage,
    Tracklet,
    TrackletFilter,
    Video,
)
from reid_dhm.gallery.shared import schema
from reid_dhm.gallery.shared.filters import condition, numbers, text
from reid_dhm.gallery.shared.index_facts import IndexFacts
from reid_dhm.gallery.shared.tables import Tables, nothing_there
from reid_dhm.gallery.store.filters import person_number
from reid_dhm.gallery.store.reader import MAX_ROWS, GalleryReader

_EMBEDDING = ("key", "mean", "camera", "begins", "ends", "begins_at", "ends_at")
_PAGE = 65536


class SharedGallery(GalleryReader):
    """An open gallery on shared storage; a context manager, for one thread at a time.

    Args:
        address: of the gallery.
        create: make it if nothing lies there.

    Attributes:
        tables: of the gallery.

    Raises:
        NotFoundError: no gallery there.
        InputError: something else lies there.
        UnsupportedError: a gallery of a later release, or the extra ``cluster`` is not installed.
        StorageError: the storage cannot be reached; also by every method.
    """

    def __init__(self, address: SharedAddress, create: bool = False) -> None:
        self._address = address
        self.tables = Tables(address)
        self._model: dict[str, Any] | None = None
        there = self.tables.are_there()
        version = self.facts().get("schema") if there else None
        if version is None and create:  # none, or its creation was killed or is under way
            for name, columns in schema.TABLES.items():
                self.tables.create(name, columns)
            self.set_facts(keep=True, schema=schema.VERSION)
            version = self.facts()["schema"]
        if version is None:
            raise NotFoundError(nothing_there(address))
        if version > schema.VERSION:
            raise UnsupportedError(
                f"{address} was written by a newer release (schema {version}, this one supports "
                f"up to {schema.VERSION}): update reid-dhm"
            )

    @property
    def folder(self) -> SharedAddress:
        """Its address."""
        return self._address

    @property
    def path(self) -> SharedAddress:
        """Its address, for messages about damage."""
        return self._address

    def close(self) -> None:
        """Nothing stays open."""

    def snapshot(self) -> AbstractContextManager[None]:
        """Several queries within see one state of every table."""
        return self.tables.snapshot()

    # Facts

    def facts(self) -> dict[str, Any]:
        """What is stored once for the whole gallery."""
        rows = self.tables.rows("facts").to_pylist()
        return {row["name"]: json.loads(row["value"]) for row in rows}

    def set_facts(self, keep: bool = False, **facts: Any) -> None:
        """Store facts, in one commit; ``keep`` leaves those alone that are there."""
        rows = [{"name": name, "value": json.dumps(value)} for name, value in facts.items()]
        self.tables.merge("facts", pa.Table.from_pylist(rows, schema.FACTS), "name", keep=keep)

    def model(self) -> tuple[str | None, str | None, int | None]:
        """Fingerprint, name for people and dimension of the model; None in a new gallery."""
        if self._model is None:  # once it is claimed it stays
            self._model = self.facts().get("model")
        found = self._model
        return (found["fingerprint"], found["name"], found["dim"]) if found else (None, None, None)

    def claim_model(self, fingerprint: str, dim: int, model: str) -> None:
        """As :meth:`.GalleryStore.claim_model`."""
        self.check_model(fingerprint, dim)
        if self.fingerprint is None:
            facts = {"fingerprint": fingerprint, "name": model, "dim": dim}
            self.set_facts(keep=True, model=facts)
            self.check_model(fingerprint, dim)  # another writer may have been quicker
        self.tables.create("tracklets", schema.tracklets(dim))

    def thresholds_row(self) -> Sequence[Any]:
        """Fingerprint and dimension of the model; thresholds are of a folder."""
        fingerprint, _, dim = self.model()
        return fingerprint, dim, None

    def index_facts(self) -> IndexFacts | None:
        """The vector index; None where tracklets are scanned."""
        found = self.facts().get("index")
        return IndexFacts(**found) if found else None

    # Cameras and videos

    def cameras(self) -> list[Camera]:
        """All cameras that have a video, by name."""
        names = set(self.tables.rows("videos", ["camera"])["camera"].to_pylist())
        return [Camera(schema.camera_number(name), name) for name in sorted(names)]

    def videos(self) -> list[Video]:
        """All videos, in the order of their ids."""
        found = map(schema.as_video, self.tables.rows("videos").to_pylist())
        return sorted(found, key=lambda video: video.id)

    def video(self, hash: str) -> Video:
        """The video of a content hash.

        Raises:
            NotFoundError: there is none.
        """
        for row in self.tables.rows("videos", filter=f"hash = {text(hash)}").to_pylist():
            return schema.as_video(row)
        raise self._no_video(hash)

    # Tracklets

    def count(self, where: TrackletFilter | None = None) -> int:
        """Number of tracklets that match; all of them by default."""
        wanted = self._condition(where)
        if self.dim is None:
            return 0
        return self.tables.read("tracklets", lambda table: int(table.count_rows(wanted)))

    def counts(self) -> dict[int, int]:
        """Number of tracklets per video ``id``; videos without any are left out."""
        found = self._query("SELECT video, count(*) AS n FROM dataset GROUP BY video")
        return {schema.number_of(row["video"]): row["n"] for row in found}

    def tracklets(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = 1000
    ) -> list[Tracklet]:
        """The next matching tracklets, by key."""
        rows = self._rows(schema.DESCRIPTION, self._condition(where, after), limit)
        return [schema.as_tracklet(row) for row in rows.to_pylist()]

    def tracklets_by_key(self, keys: Iterable[int]) -> list[Tracklet]:
        """The tracklets with these keys, in this order; keys that do not exist are left out."""
        wanted = [int(key) for key in keys]
        if not wanted:
            return []
        rows = self._rows(schema.DESCRIPTION, f"key IN {numbers(wanted)}")
        found = {row["key"]: schema.as_tracklet(row) for row in rows.to_pylist()}
        return [found[key] for key in wanted if key in found]

    def tracklets_in_frame(self, video: str, frame: int) -> list[Tracklet]:
        """Tracklets of a video that begin at a frame or before and end there or later, by key."""
        here = f"video = {text(video)} AND first_frame <= {frame} AND last_frame >= {frame}"
        rows = self._rows(schema.DESCRIPTION, here, order_by=["key"])
        return [schema.as_tracklet(row) for row in rows.to_pylist()]

    def boxes(self, key: int) -> NDArray[np.void]:
        """(N,) :data:`.DETECTION` of a tracklet, empty if it was deleted."""
        for row in self._rows(["boxes"], f"key = {int(key)}").to_pylist():
            return np.frombuffer(row["boxes"], DETECTION)
        return np.empty(0, DETECTION)

    def crops(self, key: int) -> list[Crop]:
        """The images of a tracklet with their embeddings, best first."""
        for row in self._rows(["crops"], f"key = {int(key)}").to_pylist():
            return list(map(schema.as_crop, row["crops"]))
        return []

    def thumbnail(self, key: int) -> bytes | None:
        """The best image of a tracklet, as JPEG; None if it was deleted."""
        crops = self.crops(key)
        return crops[0].jpeg if crops else None

    def embeddings(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = _PAGE
    ) -> EmbeddingPage:
        """The embeddings of the next matching tracklets, by key; no rows after the last."""
        return self._page(self._rows(_EMBEDDING, self._condition(where, after), limit))

    def pages(
        self, where: TrackletFilter | None = None, limit: int = _PAGE, after: int = 0
    ) -> Iterator[EmbeddingPage]:
        """All embeddings of one state of the gallery above a key, page after page, in any order."""
        wanted = self._condition(where, after)
        if self.dim is None:
            return
        scan = self.tables.table("tracklets").scanner(
            list(_EMBEDDING), filter=wanted, batch_size=limit
        )
        for batch in scan.to_batches():
            if len(batch):
                yield self._page(pa.Table.from_batches([batch]))

    def keys(self, where: TrackletFilter | None = None) -> NDArray[np.int64]:
        """(N,) keys of the matching tracklets, ascending."""
        rows = self._rows(["key"], self._condition(where))
        return np.sort(rows["key"].to_numpy().astype(np.int64))

    def frame_ends(self, video: Video, frame: int) -> list[tuple[int, float]]:
        """Frame and time where tracklets begin or end: the nearest up to a frame and after it."""
        rows = self._rows(
            ["first_frame", "begins", "last_frame", "ends"], f"video = {text(video.hash)}"
        ).to_pylist()
        ends = [(row["first_frame"], row["begins"]) for row in rows]
        ends += [(row["last_frame"], row["ends"]) for row in rows]
        before = [end for end in ends if end[0] <= frame]
        later = [end for end in ends if end[0] > frame]
        return [*([max(before)] if before else []), *([min(later)] if later else [])]

    def nearest(
        self,
        query: NDArray[np.float32],
        k: int,
        where: TrackletFilter | None = None,
        effort: Mapping[str, int] | None = None,
    ) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float16]]:
        """What the index proposes for a query, or a scan where there is no index.

        Args:
            query: (D,) float32 unit vector.
            k: most proposals.
            where: which tracklets may be proposed.
            effort: Lance's ``nprobes`` and ``ef``.

        Returns:
            Scores (n,) as the index approximates them, best first, keys (n,), and the (n, D)
            embeddings as they are stored.
        """
        search = {"column": "mean", "q": query, "k": k, "metric": "dot", **(effort or {})}
        rows = self._rows(
            ["key", "mean", "_distance"], self._condition(where), nearest=search, prefilter=True
        )
        scores = 1 - rows["_distance"].to_numpy().astype(np.float32)
        keys = rows["key"].to_numpy().astype(np.int64)
        return scores, keys, schema.vectors(rows["mean"], len(query))

    # People and the audit log

    def person_rows(
        self, who: str | int | None = None, first: int = 0, last: int = MAX_ROWS
    ) -> list[Sequence[Any]]:
        """One person, or those of these numbers."""
        wanted = f"person_id BETWEEN {first} AND {last}"
        if who is not None:
            wanted = self._condition(self._of_person(who)) or wanted
        found = self._query(
            "SELECT person_id, max(person) AS name, count(*) AS n, count(confirmed_by) AS c, "
            "max(CAST(hidden AS INT)) AS hidden FROM dataset "
            f"WHERE person_id IS NOT NULL AND {wanted} GROUP BY person_id ORDER BY person_id"
        )
        return [tuple(row.values()) for row in found]

    def add_audit_row(self, time: str, actor: str, action: str, detail: str) -> None:
        """Add an entry to the audit log."""
        number = int(np.datetime64(time[:26], "us").astype(np.int64))  # of the microsecond
        row = {"number": number, "time": time, "actor": actor, "action": action, "detail": detail}
        self.tables.append("audit", pa.Table.from_pylist([row], schema.AUDIT))

    def audit_rows(
        self, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Sequence[Any]]:
        """The newest entries of the audit log, newest first."""
        bounds = [f"time >= {text(after)}"] if after else []
        bounds += [f"time <= {text(before)}"] if before else []
        rows = self.tables.rows("audit", filter=" AND ".join(bounds) or None).to_pylist()
        rows.sort(key=lambda row: (row["time"], row["number"]), reverse=True)
        return [[row[name] for name in schema.AUDIT.names] for row in rows[:limit]]

    # Within

    def _condition(self, where: TrackletFilter | None, after: int = 0) -> str | None:
        self.check_filter(where)
        if where is not None and isinstance(where.person, str):
            where = replace(where, person=self._of_person(where.person).person)
        return condition(where, after)

    def _of_person(self, who: str | int) -> TrackletFilter:
        """The person of a name, or else of a number."""
        named = TrackletFilter(person=who)
        if isinstance(who, str) and self.dim is not None:
            where = condition(named)
            if not self.tables.read("tracklets", lambda table: table.count_rows(where)):
                return TrackletFilter(person=person_number(who))
        return named

    def _rows(
        self, columns: Sequence[str], where: str | None, limit: int | None = None, **scan: Any
    ) -> pa.Table:
        """Rows of tracklets; with a limit the first by key."""
        dim = self.dim
        if dim is None:
            names = [name for name in columns if name != "_distance"]
            fields = [schema.tracklets(1).field(name) for name in names]
            return pa.schema([*fields, pa.field("_distance", pa.float32())]).empty_table()
        if limit is not None:
            scan |= {"limit": min(limit, MAX_ROWS), "order_by": ["key"]}
        return self.tables.rows("tracklets", columns, filter=where, **scan)

    def _page(self, rows: pa.Table) -> EmbeddingPage:
        names, place = np.unique(rows["camera"].to_pylist(), return_inverse=True)
        numbers = np.array([schema.camera_number(str(name)) for name in names], np.int64)
        return EmbeddingPage(
            rows["key"].to_numpy().astype(np.int64),
            schema.vectors(rows["mean"], self.dim or 0),
            numbers[place] if len(rows) else np.empty(0, np.int64),
            *(schema.seconds_of(rows[name]) for name in _EMBEDDING[3:]),
        )

    def _query(self, sql: str) -> list[dict[str, Any]]:
        """Rows of a query over the tracklets."""
        if self.dim is None:
            return []
        batches = self.tables.read(
            "tracklets", lambda table: table.sql(sql).build().to_batch_records()
        )
        return [row for batch in batches for row in batch.to_pylist()]
