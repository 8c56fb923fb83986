"""Writing a video into a gallery, in chunks of frames, so that a kill loses nothing committed.

Detecting and tracking people is left to :mod:`reid_dhm.gallery.ingest`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import InputError, LockedError, NotFoundError, ReidError
from reid_dhm.gallery.records import (
    DETECTION,
    Crop,
    NewTracklet,
    NewVideo,
    Video,
    check_name,
    is_hash,
)
from reid_dhm.gallery.store import joining, queries
from reid_dhm.gallery.store.filters import as_utf8
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.membership import count_change, remove_empty


class Chunk(NamedTuple):
    """Consecutive processed frames.

    Attributes:
        frames: (F,) :data:`~reid_dhm.gallery.records.FRAME`, in order.
        detections: (N,) :data:`~reid_dhm.gallery.records.DETECTION`, in the order of frames.
    """

    frames: NDArray[np.void]
    detections: NDArray[np.void]


@dataclass(frozen=True, slots=True)
class Progress:
    """What one commit adds to a video.

    Attributes:
        chunk: frames since the last commit, with their detections.
        position: number of the next frame to process.
        pending: all best crops of every unfinished track whose best crops changed.
        tracklets: finished and embedded tracks.
        dropped: finished tracks that do not become tracklets.
    """

    chunk: Chunk
    position: int
    pending: Mapping[int, Sequence[Crop]]
    tracklets: Sequence[NewTracklet] = ()
    dropped: Sequence[int] = ()


class VideoWriter:
    """Adds a video to a gallery; what is committed survives a kill.

    Attributes:
        video: its state in the gallery when it was opened.
    """

    def __init__(self, gallery: GalleryStore, video: Video) -> None:
        self._gallery = gallery
        self.video = video
        self._position = video.position

    @classmethod
    def open(cls, gallery: GalleryStore, camera: str, video: NewVideo) -> VideoWriter:
        """Begin a video, or continue an unfinished one.

        Args:
            gallery: whose model is claimed already.
            camera: created if it does not exist.
            video: to be indexed.

        Raises:
            InputError: a name or hash that is not allowed, or the video exists with another
                camera, start time or settings.
        """
        check_name("camera", camera)
        if not is_hash(video.hash):
            raise InputError(f"{video.hash[:60]!r} is not a hash of 16 hexadecimal digits")
        if video.source != as_utf8(video.source):
            raise InputError(f"{video.source!r} is not named in UTF-8: rename it")
        start = None if video.start_time is None else video.start_time.timestamp()
        shift = video.start_time.utcoffset() if video.start_time is not None else None
        settings = json.dumps(dict(video.settings), sort_keys=True)
        with gallery.writing() as db:
            db.execute("INSERT OR IGNORE INTO cameras (name) VALUES (?)", (camera,))
            db.execute(
                "INSERT OR IGNORE INTO videos (hash, camera, source, fps, width, height, "
                "start_time, utc_offset, resumable, settings) VALUES "
                "(?, (SELECT id FROM cameras WHERE name = ?), ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    *(video.hash, camera, video.source, video.fps, video.width, video.height),
                    *(start, int(shift.total_seconds()) if shift else 0),
                    *(video.resumable, settings),
                ),
            )
            there = gallery.video(video.hash)
            _check_same(there, camera, video, json.loads(settings))
        return cls(gallery, there)

    def chunks(self) -> list[Chunk]:
        """The committed chunks of an unfinished video, in order of frames."""
        with self._gallery.reading() as db:
            rows = db.execute(
                "SELECT frames, detections FROM chunks WHERE video = ? ORDER BY first_frame",
                (self.video.id,),
            ).fetchall()
            return [Chunk(queries.frames(row[:1]), queries.boxes(row[1:])) for row in rows]

    def pending(self) -> dict[int, list[Crop]]:
        """The best crops of unfinished tracks, by track, best first."""
        sql = (
            "SELECT track, frame, time, x1, y1, x2, y2, quality, jpeg FROM pending "
            "WHERE video = ? ORDER BY track, id"
        )
        found: dict[int, list[Crop]] = {}
        with self._gallery.reading() as db:
            for track, *row in db.execute(sql, (self.video.id,)).fetchall():
                found.setdefault(track, []).append(queries.crop((*row, b"")))
        return found

    def tracks(self) -> set[int]:
        """Numbers of the tracks that are already tracklets."""
        sql = "SELECT track FROM tracklets WHERE video = ?"
        with self._gallery.reading() as db:
            return {row[0] for row in db.execute(sql, (self.video.id,))}

    def commit(self, progress: Progress) -> int:
        """Add the progress, all or nothing; returns the number of tracklets added.

        People seen in a span that was deleted meanwhile are left out.

        Raises:
            NotFoundError: the video was deleted.
            ModelMismatchError: the gallery was embedded with another model meanwhile.
            LockedError: another process is indexing it; and as every write
                (:class:`~reid_dhm.gallery.store.gallery.GalleryStore`).
        """
        with self._gallery.writing(changed=bool(progress.tracklets)) as db:
            self._gallery.check_claim()
            moved = db.execute(
                "UPDATE videos SET position = ?, num_frames = num_frames + ? "
                "WHERE id = ? AND position = ? AND NOT complete",
                (
                    *(progress.position, len(progress.chunk.frames)),
                    *(self.video.id, self._position),
                ),
            ).rowcount
            if not moved:
                raise self._conflict()
            if len(progress.chunk.frames):
                db.execute(
                    "INSERT INTO chunks VALUES (?, ?, ?, ?)",
                    (
                        *(self.video.id, int(progress.chunk.frames["frame"][0])),
                        *(progress.chunk.frames.tobytes(), progress.chunk.detections.tobytes()),
                    ),
                )
            in_deleted_span = _DeletedSpans(db, self.video.id)
            finished = [tracklet.track for tracklet in progress.tracklets]
            stale = [*progress.pending, *finished, *progress.dropped]
            db.executemany(
                "DELETE FROM pending WHERE video = ? AND track = ?",
                [(self.video.id, track) for track in stale],
            )
            db.executemany(
                "INSERT INTO pending (video, track, frame, time, x1, y1, x2, y2, quality, jpeg) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                [
                    (self.video.id, track, c.frame, c.time, *c.box, c.quality, c.jpeg)
                    for track, crops in progress.pending.items()
                    if not in_deleted_span([crop.time for crop in crops])
                    for c in crops
                ],
            )
            kept = [t for t in progress.tracklets if not in_deleted_span(t.boxes["time"].tolist())]
            for tracklet in kept:
                _insert(db, self.video.id, tracklet)
        self._position = progress.position
        return len(kept)

    def add(self, tracklets: Sequence[NewTracklet]) -> None:
        """Add finished tracklets that were made elsewhere, without frames."""
        with self._gallery.writing(changed=bool(tracklets)) as db:
            self._gallery.check_claim()
            for tracklet in tracklets:
                _insert(db, self.video.id, tracklet)

    def finish(self) -> tuple[int, NDArray[np.void]]:
        """Mark the video as indexed to its end, and delete what was kept to continue it.

        The pieces of one track become one tracklet, if the video is indexed so.

        Returns:
            By how many tracklets it has become fewer, and the :data:`.DETECTION` of those left out.
        """
        joins = joining.find_joins(self._gallery, self.video)
        found = bool(joins.chains or joins.brief)
        fewer, left_out = 0, [np.empty(0, DETECTION)]
        with self._gallery.writing(deleted=found) as db:
            for keys, tracklet in joining.replacements(self._gallery, db, self.video, joins):
                if tracklet is None:
                    left_out += [self._gallery.boxes(key) for key in keys]
                announced = _announced(db, keys)
                db.executemany("DELETE FROM tracklets WHERE key = ?", [(key,) for key in keys])
                fewer += len(keys)
                if tracklet is not None:
                    joined = _insert(db, self.video.id, tracklet)
                    fewer -= 1
                    db.executemany(
                        "UPDATE announcements SET tracklet = ? WHERE id = ?",
                        [(joined, id) for id in announced],
                    )
            if fewer:
                remove_empty(db)
                count_change(db)
            db.execute("DELETE FROM chunks WHERE video = ?", (self.video.id,))
            db.execute("DELETE FROM pending WHERE video = ?", (self.video.id,))
            db.execute("DELETE FROM forgotten WHERE video = ?", (self.video.id,))
            db.execute("UPDATE videos SET complete = 1 WHERE id = ?", (self.video.id,))
        return fewer, np.concatenate(left_out)

    def _conflict(self) -> ReidError:
        if self.video.hash not in {video.hash for video in self._gallery.videos()}:
            return NotFoundError(f"{self.video.source} was deleted from the gallery meanwhile")
        return LockedError(
            f"{self.video.source} is being indexed by another process: wait until that is done"
        )


class _DeletedSpans:
    """Whether a track was seen in a span that was deleted while the video is being indexed."""

    def __init__(self, db: Any, video: int) -> None:
        sql = "SELECT after, before FROM forgotten WHERE video = ?"
        self._spans = [_span(row) for row in db.execute(sql, (video,)).fetchall()]

    def __call__(self, times: Sequence[float]) -> bool:
        return any(
            (after is None or max(times) >= after) and (before is None or min(times) <= before)
            for after, before in self._spans
        )


@queries.checked(float | None, float | None)
def _span(row: Sequence[Any]) -> tuple[float | None, float | None]:
    return row[0], row[1]


def _check_same(there: Video, camera: str, video: NewVideo, settings: dict[str, Any]) -> None:
    again = f"delete video {there.hash} first"
    if there.camera != camera:
        raise InputError(
            f"{video.source} is in the gallery already, as seen by camera {there.camera!r}: "
            f"name that one, or {again}"
        )
    if there.start_time != video.start_time:
        raise InputError(
            f"{video.source} is in the gallery already, starting at {there.start_time}: give the "
            f"same start, or {again}"
        )
    for name in sorted(settings.keys() | there.settings.keys()):
        if name == "tracking" and there.complete:
            continue  # another release indexed it, and there is nothing to continue
        if settings.get(name) != there.settings.get(name):
            raise InputError(
                f"{video.source} is in the gallery already, indexed with {name} "
                f"{there.settings.get(name)!r} instead of {settings.get(name)!r}: give the same, "
                f"or {again}"
            )


def _announced(db: Any, keys: Sequence[int]) -> list[int]:
    """Take these tracklets out of announcements; returns the numbers of those."""
    sql = "FROM announcements WHERE tracklet IN (SELECT value FROM json_each(?))"
    found = [row[0] for row in db.execute(f"SELECT id {sql}", (json.dumps(list(keys)),))]
    db.executemany("UPDATE announcements SET tracklet = NULL WHERE id = ?", [(id,) for id in found])
    return found


def _insert(db: Any, video: int, tracklet: NewTracklet) -> int:
    """Add a tracklet; returns its key."""
    boxes = tracklet.boxes
    first, last = boxes[0], boxes[-1]
    key = db.execute(
        'INSERT INTO tracklets (video, track, start, "end", first_frame, last_frame, num_boxes) '
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            *(video, tracklet.track, float(first["time"]), float(last["time"])),
            *(int(first["frame"]), int(last["frame"]), len(boxes)),
        ),
    ).lastrowid
    mean = np.ascontiguousarray(tracklet.mean, "<f2").tobytes()
    db.execute("INSERT INTO embeddings VALUES (?, ?)", (key, mean))
    db.execute("INSERT INTO boxes VALUES (?, ?)", (key, boxes.tobytes()))
    db.executemany(
        "INSERT INTO crops (tracklet, rank, frame, time, x1, y1, x2, y2, quality, embedding, jpeg) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        [
            (
                *(key, rank, c.frame, c.time, *c.box, c.quality),
                *(np.ascontiguousarray(c.embedding, "<f2").tobytes(), c.jpeg),
            )
            for rank, c in enumerate(tracklet.crops)
        ],
    )
    return int(key)
