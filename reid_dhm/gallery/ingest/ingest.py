"""From frames to the store: decoder, detector, tracker and embedder run in parallel.

A process that is killed loses at most the current chunk of frames: the next one shows the stored
boxes to the tracker again and continues.
"""

from __future__ import annotations

import hashlib
import logging
import math
import os
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, timezone
from itertools import chain, dropwhile, groupby
from typing import TypeAlias

import supervision as sv

from reid_dhm.errors import LockedError
from reid_dhm.gallery.detect.protocol import Detector, following
from reid_dhm.gallery.footage.frames import Frame, Source, Span
from reid_dhm.gallery.ingest.growing import check_not_grown
from reid_dhm.gallery.ingest.indexing import Embedding, LockPatience, VideoIndexer
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.ingest.pipeline import Prefetched, Stage, Stages, in_order, measured
from reid_dhm.gallery.records import Embed, NewVideo
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracking import MIN_RATE, tracker_version

logger = logging.getLogger(__name__)

_FRAMES_AHEAD = 8
_LIVE_PATIENCE_MS = 200  # how long a write waits for another process's transaction
_PART_SECONDS = 600.0  # a stream is cut into videos of this length

Report: TypeAlias = Callable[[int, int], None]
"""Called with the frames done and the total, 0 if it is unknown."""

Detected: TypeAlias = "Iterator[tuple[Frame, sv.Detections]]"


@dataclass(slots=True)
class IndexingSummary:
    """What indexing did.

    Attributes:
        videos: content hashes: one, or several for a stream.
        known: whether the video was indexed before, and nothing was done.
        resumed: whether a part of it was indexed before.
        frames, detections: processed and found now, not before a restart.
        tracklets: added now.
        people: of the detections, those with a score that begins a track.
        unkept: of these, how many are in no tracklet.
        tracks: how boxes became tracklets.
        frame_rate: frames per second that were processed.
        seconds: from the first frame to the last commit.
        stages: what each stage did.
    """

    videos: list[str] = field(default_factory=list)
    known: bool = False
    resumed: bool = False
    frames: int = 0
    detections: int = 0
    tracklets: int = 0
    people: int = 0
    unkept: int = 0
    tracks: TrackSettings = field(default_factory=TrackSettings)
    frame_rate: float = 0.0
    seconds: float = 0.0
    stages: tuple[Stage, ...] = ()


def ingest(
    gallery: GalleryStore,
    camera: str,
    source: Source,
    detector: Detector,
    embed: Embed,
    options: IndexingOptions | None = None,
    start: datetime | None = None,
    report: Report | None = None,
) -> IndexingSummary:
    """Index a source, and continue what an earlier process left unfinished.

    Args:
        gallery: whose model is claimed (:meth:`.GalleryStore.claim_model`).
        camera: its name; created if it is new.
        source: the frames. A live one is cut into videos of ten minutes.
        detector: finds people in them.
        embed: turns crops into embeddings.
        options: stride, span, tracking.
        start: wall-clock time of the source's first frame; of a live one, now by default.
        report: called with the progress.

    Raises:
        InputError: the video is there under another camera or start or with other settings, is a
            longer version of one that is there, or was deleted meanwhile.
        LockedError: another process indexes the same source, or keeps the gallery locked.
        StorageError: the source cannot be read further, or the gallery cannot be written.
    """
    options = options or IndexingOptions()
    rate = source.info.fps / options.stride
    live = source.info.live
    if live and start is None:
        start = datetime.now(timezone.utc)
    detector, options = _as_begun(gallery, source, detector, options)
    tracks = options.tracks
    if tracks.tracker != "none" and rate < MIN_RATE:
        logger.warning(
            "%s: %.2g frames per second are processed, but tracking needs about %g: process "
            "more of them, or expect people who walk fast to be lost",
            *(source.info.name, rate, MIN_RATE),
        )
    video = _new_video(source, detector, options, start)
    stages = Stages.new(1 if detector.stateful else os.cpu_count() or 1)
    summary = IndexingSummary(tracks=tracks, frame_rate=rate, stages=stages.all())
    began = time.perf_counter()
    with _exclusive(gallery, camera, source), Embedding(embed, stages.embed) as embedding:

        def indexer(part: NewVideo, patience: LockPatience, position: int = 0) -> VideoIndexer:
            writer = patience.insist(lambda: VideoWriter.open(gallery, camera, part))
            if writer.video.position != position and not live:
                raise LockedError(
                    f"{part.source} is being indexed by another process: wait until that is done"
                )
            tracks = TrackSettings.from_dict(part.settings)
            rate = part.fps / part.settings["stride"]
            chunk = options.chunk
            return VideoIndexer(writer, tracks, rate, chunk, embedding, stages, patience)

        position = 0
        if live:
            at_first = LockPatience(lambda: False)
            for left in _left_unfinished(gallery, camera, video.source):
                if left.settings.get("tracking") == tracker_version():
                    indexer(left, at_first).end()
                else:  # the stored boxes would give other tracks now
                    logger.warning(
                        "%s: people in view when indexing was interrupted are lost, because the "
                        "tracker has changed",
                        left.hash,
                    )
                    _finish(gallery, camera, left, at_first)
        else:
            check_not_grown(gallery, camera, source)
            there = VideoWriter.open(gallery, camera, video).video
            if there.complete:
                return replace(summary, videos=[there.hash], known=True)
            position = there.position
            summary.resumed = position > 0
        total = _total_frames(source, options)
        with _detected(source, detector, options, position, stages, embedding) as (found, ended):
            patience = LockPatience(ended if live else None)
            for moment, frames in _parts(found, live):
                part = _part(video, moment)
                current = indexer(part, patience, position)
                for frame, people in frames:
                    current.see(frame, people)
                    summary.frames += 1
                    if report is not None:
                        report(frame.number + 1, total)
                current.end()
                summary.videos.append(part.hash)
                summary.detections += current.detections
                summary.tracklets += current.tracklets
                summary.people += current.people
                summary.unkept += current.unkept
    summary.seconds = time.perf_counter() - began
    return summary


def _as_begun(
    gallery: GalleryStore, source: Source, detector: Detector, options: IndexingOptions
) -> tuple[Detector, IndexingOptions]:
    """Both, with the defaults of the release that began to index this video, if one did."""
    tracks = options.tracks
    for video in gallery.videos():
        if video.hash == source.info.hash:
            detector = following(detector, video.settings)
            tracks = tracks.following(video.settings)
    if tracks.activation is None:
        certain = getattr(detector, "certain", tracks.least_score)
        tracks = replace(tracks, activation=certain)
    rate = source.info.fps / options.stride
    return detector, replace(options, tracks=tracks.for_rate(rate))


def _new_video(
    source: Source, detector: Detector, options: IndexingOptions, start: datetime | None
) -> NewVideo:
    info = source.info
    return NewVideo(
        info.hash,
        info.name,
        info.fps,
        info.width,
        info.height,
        start,
        resumable=not info.live,
        settings={
            **detector.settings,
            **options.tracks.as_dict(),
            "tracking": tracker_version(),
            "fps": info.fps,
            "stride": options.stride,
            "from": options.begin,
            "to": options.end,
        },
    )


def _finish(gallery: GalleryStore, camera: str, video: NewVideo, patience: LockPatience) -> None:
    """Mark a video as complete without its open tracks."""

    def finish() -> bool:
        VideoWriter.open(gallery, camera, video).finish()
        return True

    patience.insist(finish)


def _left_unfinished(gallery: GalleryStore, camera: str, source: str) -> list[NewVideo]:
    """Parts of a stream that a killed process left."""
    return [
        video
        for video in gallery.videos()
        if (video.camera, video.source) == (camera, source) and not video.complete
    ]


@contextmanager
def _exclusive(gallery: GalleryStore, camera: str, source: Source) -> Iterator[None]:
    """Keep other processes from indexing the same live source while this one runs."""
    if not source.info.live:
        yield
        return
    name = hashlib.blake2b(f"{camera}\n{source.info.name}".encode(), digest_size=8).hexdigest()
    # An empty database is a lock that every system has and that ends with its process.
    lock = sqlite3.connect(gallery.folder / f"{name}.lock", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise LockedError(
            f"{source.info.name} is being indexed by another process: stop that one first"
        ) from error
    with gallery.reading() as db:
        (patience,) = db.execute("PRAGMA busy_timeout").fetchone()
        # Frames pass by while a write waits: try again later instead.
        db.execute(f"PRAGMA busy_timeout = {_LIVE_PATIENCE_MS}")
    try:
        yield
    finally:
        lock.close()
        with gallery.reading() as db:
            db.execute(f"PRAGMA busy_timeout = {patience}")


@contextmanager
def _detected(
    source: Source,
    detector: Detector,
    options: IndexingOptions,
    position: int,
    stages: Stages,
    embedding: Embedding,
) -> Iterator[tuple[Detected, Callable[[], bool]]]:
    """Frames from ``position`` on, in order, with their people; and whether the source ended."""
    end = math.inf if options.end is None else options.end
    # A stateful detector has to process the earlier frames again.
    first = 0 if detector.stateful else position
    frames = measured(source.frames(Span(first, options.stride, options.begin, end)), stages.decode)

    def detect(frame: Frame) -> sv.Detections:
        with stages.detect.busy():
            return detector.detect(frame)

    def watched(frames: Prefetched[Frame]) -> Iterator[Frame | None]:
        for frame in frames:
            if frame is None:  # a stream may be away for long: look for errors meanwhile
                embedding.check()
            yield frame

    workers = stages.detect.workers
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="detect") as pool,
        Prefetched(frames, _FRAMES_AHEAD, drop=source.info.live, stop=source.stop) as decoded,
    ):
        detected = in_order(pool, detect, watched(decoded), 2 * workers)
        yield dropwhile(lambda item: item[0].number < position, detected), lambda: decoded.ended


def _parts(detected: Detected, live: bool) -> Iterator[tuple[float, Detected]]:
    """The videos that a source becomes: when each begins, and its frames, counted from there."""
    if not live:
        yield 0.0, detected
        return
    for _, frames in groupby(detected, key=lambda item: item[0].time // _PART_SECONDS):
        begin = next(frames)
        yield begin[0].time, _counted_from(begin, frames)  # noqa: B031 (each group is used once)


def _counted_from(begin: tuple[Frame, sv.Detections], rest: Detected) -> Detected:
    first = begin[0]
    for frame, found in chain([begin], rest):
        yield Frame(frame.number - first.number, frame.time - first.time, frame.image), found


def _part(video: NewVideo, moment: float) -> NewVideo:
    """The video that begins ``moment`` seconds after a stream did."""
    if not moment or video.start_time is None:
        return video
    hash = hashlib.blake2b(f"{video.hash} {moment}".encode(), digest_size=8).hexdigest()
    return replace(video, hash=hash, start_time=video.start_time + timedelta(seconds=moment))


def _total_frames(source: Source, options: IndexingOptions) -> int:
    """How many frames of the source will be read; 0 if unknown."""
    count = source.info.num_frames or 0
    return count if options.end is None else round(min(count, options.end * source.info.fps))
