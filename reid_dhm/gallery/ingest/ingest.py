"""From frames to the store: decoder, detector and embedder at work beside each other.

A process killed at any moment loses at most the chunk of frames it was at: the next one shows the
stored boxes to the tracker again and goes on from there.
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

from reid_dhm.errors import InputError, LockedError
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame, Source, Span
from reid_dhm.gallery.ingest.indexing import Embedding, Stages, VideoIndexer
from reid_dhm.gallery.ingest.pipeline import Stage, ahead, in_order, measured
from reid_dhm.gallery.records import Embed, NewVideo
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter
from reid_dhm.gallery.track.tracking import LEAST_RATE, release
from reid_dhm.gallery.track.tracklets import TrackSettings

logger = logging.getLogger(__name__)

_FRAMES_AHEAD = 8
_PART_SECONDS = 600.0  # a stream is cut into videos of this length

Report: TypeAlias = Callable[[int, int], None]
"""Told the frames done and in all, 0 where nobody knows."""

Detected: TypeAlias = "Iterator[tuple[Frame, sv.Detections]]"


@dataclass(frozen=True, slots=True)
class Options:
    """How a source is indexed.

    Attributes:
        stride: one of so many frames is looked at.
        begin, end: seconds from the source's start; None is its end.
        tracks: how boxes become tracklets.
        chunk: frames between commits.
    """

    stride: int = 1
    begin: float = 0.0
    end: float | None = None
    tracks: TrackSettings = field(default_factory=TrackSettings)
    chunk: int = 64

    def __post_init__(self) -> None:
        if self.stride < 1:
            raise InputError(f"stride is {self.stride}: use 1 or more")
        if self.begin < 0 or (self.end is not None and self.end <= self.begin):
            raise InputError(
                f"the span from {self.begin:g} s to {self.end} s holds nothing: let it begin at 0 "
                "or later, and end later than that"
            )


@dataclass(slots=True)
class Summary:
    """What came of indexing.

    Attributes:
        videos: content hashes: one, or several for a stream.
        known: whether all of it was there already, and nothing was done.
        resumed: whether a part of it was there already.
        frames, detections: looked at and found now, not before a restart.
        tracklets: added now.
        seconds: from the first frame to the last commit.
        stages: what each stage did.
    """

    videos: list[str] = field(default_factory=list)
    known: bool = False
    resumed: bool = False
    frames: int = 0
    detections: int = 0
    tracklets: int = 0
    seconds: float = 0.0
    stages: tuple[Stage, ...] = ()


def ingest(
    gallery: GalleryStore,
    camera: str,
    source: Source,
    detector: Detector,
    embed: Embed,
    options: Options | None = None,
    start: datetime | None = None,
    report: Report | None = None,
) -> Summary:
    """Index a source; what an earlier process left unfinished is gone on with.

    Args:
        gallery: whose model is claimed (:meth:`.GalleryStore.claim_model`).
        camera: its name; made if it is new.
        source: the frames. A live one is cut into videos of ten minutes.
        detector: finds people in them.
        embed: turns crops into embeddings.
        options: stride, span, tracking.
        start: wall-clock time of the source's first frame; of a live one, now by default.
        report: told how far it is.

    Raises:
        InputError: the video is there under another camera or start or with other settings, or it
            was deleted meanwhile; another process indexes the same live source; or the gallery
            cannot be written.
    """
    options = options or Options()
    if (rate := source.info.fps / options.stride) < LEAST_RATE:
        logger.warning(
            "%s is looked at %.2g times a second, and people are followed by where they were the "
            "time before: who walks fast is lost, so look %g times or more if the footage has them",
            *(source.info.name, rate, LEAST_RATE),
        )
    live = source.info.live
    if live and start is None:
        start = datetime.now(timezone.utc)
    video = _new_video(source, detector, options, start)
    stages = Stages.new(1 if detector.stateful else os.cpu_count() or 1)
    summary = Summary(stages=stages.all())
    began = time.perf_counter()
    with _alone(gallery, camera, source), Embedding(embed, stages.embed) as embedding:

        def indexer(part: NewVideo, position: int | None = None) -> VideoIndexer:
            writer = VideoWriter.open(gallery, camera, part)
            if position not in (None, writer.video.position):
                raise LockedError(
                    f"{part.source} is being indexed by another process: wait until that is done"
                )
            tracks = TrackSettings.from_dict(part.settings)
            rate = part.fps / part.settings["stride"]
            return VideoIndexer(writer, tracks, rate, options.chunk, embedding, stages)

        position = 0
        if live:
            for left in _left_unfinished(gallery, camera, video.source):
                if left.settings.get("tracking") == release():
                    indexer(left).end()
                else:  # the boxes that are stored would give other tracks now
                    logger.warning("%s: who was in view when it stopped is lost", left.hash)
                    VideoWriter.open(gallery, camera, left).finish()
        else:
            there = VideoWriter.open(gallery, camera, video).video
            if there.complete:
                return replace(summary, videos=[there.hash], known=True)
            position = there.position
            summary.resumed = position > 0
        total = _frames_in_all(source, options)
        with _detected(source, detector, options, position, stages) as detected:
            for moment, frames in _parts(detected, live):
                part = _part(video, moment)
                current = indexer(part, None if live else position)
                for frame, found in frames:
                    current.see(frame, found)
                    summary.frames += 1
                    if report is not None:
                        report(frame.number + 1, total)
                current.end()
                summary.videos.append(part.hash)
                summary.detections += current.detections
                summary.tracklets += current.tracklets
    summary.seconds = time.perf_counter() - began
    return summary


def _new_video(
    source: Source, detector: Detector, options: Options, start: datetime | None
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
            "tracking": release(),
            "fps": info.fps,
            "stride": options.stride,
            "from": options.begin,
            "to": options.end,
        },
    )


def _left_unfinished(gallery: GalleryStore, camera: str, source: str) -> list[NewVideo]:
    """Parts of a stream that a killed process began."""
    return [
        video
        for video in gallery.videos()
        if (video.camera, video.source) == (camera, source) and not video.complete
    ]


@contextmanager
def _alone(gallery: GalleryStore, camera: str, source: Source) -> Iterator[None]:
    """Keep other processes from indexing the same live source, until this one ends or is killed."""
    if not source.info.live:
        yield
        return
    name = hashlib.blake2b(f"{camera}\n{source.info.name}".encode(), digest_size=8).hexdigest()
    # A lock that every system has, and that no killed process holds: an empty database's.
    lock = sqlite3.connect(gallery.folder / f"{name}.lock", timeout=0, isolation_level=None)
    try:
        lock.execute("BEGIN EXCLUSIVE")
    except sqlite3.OperationalError as error:
        lock.close()
        raise LockedError(
            f"{source.info.name} is being indexed by another process: stop that one first"
        ) from error
    try:
        yield
    finally:
        lock.close()


@contextmanager
def _detected(
    source: Source, detector: Detector, options: Options, position: int, stages: Stages
) -> Iterator[Detected]:
    """Frames from ``position`` on, in order, with the people found in them."""
    end = math.inf if options.end is None else options.end
    # A stateful detector has to see again what came before.
    first = 0 if detector.stateful else position
    frames = measured(source.frames(Span(first, options.stride, options.begin, end)), stages.decode)

    def detect(frame: Frame) -> sv.Detections:
        with stages.detect.busy():
            return detector.detect(frame)

    workers = stages.detect.workers
    with (
        ThreadPoolExecutor(workers, thread_name_prefix="detect") as pool,
        ahead(frames, _FRAMES_AHEAD, drop=source.info.live) as decoded,
    ):
        detected = in_order(pool, detect, decoded, 2 * workers)
        yield dropwhile(lambda item: item[0].number < position, detected)


def _parts(detected: Detected, live: bool) -> Iterator[tuple[float, Detected]]:
    """Videos to make of a source: when each begins, and its frames, counted from there."""
    if not live:
        yield 0.0, detected
        return
    for _, frames in groupby(detected, key=lambda item: item[0].time // _PART_SECONDS):
        begin = next(frames)
        yield begin[0].time, _counted_from(begin, frames)  # noqa: B031 (nothing taken twice)


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


def _frames_in_all(source: Source, options: Options) -> int:
    """How many frames of the source will pass by; 0 where nobody knows."""
    count = source.info.num_frames or 0
    return count if options.end is None else min(count, round(options.end * source.info.fps))
