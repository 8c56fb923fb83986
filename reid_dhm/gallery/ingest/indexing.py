"""Writes one video into the store: boxes become tracks, and tracks tracklets, chunk by chunk.

Frames and boxes come from :mod:`reid_dhm.gallery.ingest.ingest`.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import LockedError
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.ingest.pipeline import Stage, Stages
from reid_dhm.gallery.records import DETECTION, FRAME, Embed, NewTracklet
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.gallery.track.tracking import from_records, to_records
from reid_dhm.gallery.track.tracklets import Track, TrackletBuilder, embed_tracks, worth_keeping

logger = logging.getLogger(__name__)

T = TypeVar("T")

_CROPS_PER_BATCH = 32
_BATCHES_AHEAD = 4
_RETRY = 2.0  # seconds between attempts to write into a locked gallery
_AFTER_STREAM = 60.0  # seconds to wait for a lock once the stream has ended


class Embedding:
    """Embeds finished tracks in a thread; a context manager.

    A batch that fails raises its error where its result is taken, and in :meth:`check`; the thread
    continues with the next batch.
    """

    def __init__(self, embed: Embed, stage: Stage) -> None:
        self._embed, self._stage = embed, stage
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embed")
        self._error: BaseException | None = None

    def __enter__(self) -> Embedding:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, tracks: Sequence[Track]) -> Future[list[NewTracklet]]:
        """Embed the crops of these tracks."""
        return self._pool.submit(self._work, tracks)

    def check(self) -> None:
        """Raise the error of a batch that failed, before its result is taken."""
        if self._error is not None:
            raise self._error

    def _work(self, tracks: Sequence[Track]) -> list[NewTracklet]:
        try:
            with self._stage.busy(sum(len(track.best.crops) for track in tracks)):
                return embed_tracks(tracks, self._embed)
        except BaseException as error:
            self._error = error
            raise


class LockPatience:
    """How long writing waits while another process locks the gallery.

    A file can be indexed again later, so a lock is an error at once. A live stream cannot: its
    writes are repeated for as long as it lasts.

    Args:
        ended: whether the stream has ended; None for a file.
    """

    def __init__(self, ended: Callable[[], bool] | None = None) -> None:
        self._ended = ended
        self._locked, self._retry = False, 0.0

    def attempt(self, write: Callable[[], T]) -> T | None:
        """Write now; None if the gallery is locked or was locked a moment ago."""
        if self._ended is None:
            return write()
        if time.monotonic() < self._retry:
            return None
        try:
            result = write()
        except LockedError as error:
            if not self._locked:
                logger.warning("%s; frames are kept in memory until then", error)
            self._locked, self._retry = True, time.monotonic() + _RETRY
            return None
        self._locked = False
        return result

    def insist(self, write: Callable[[], T]) -> T:
        """Write, and wait for the lock.

        Raises:
            LockedError: it is still held a minute after the stream ended.
        """
        give_up: float | None = None
        while (result := self.attempt(write)) is None:
            assert self._ended is not None
            if self._ended():
                give_up = give_up or time.monotonic() + _AFTER_STREAM
                if time.monotonic() > give_up:
                    return write()
            time.sleep(_RETRY / 10)
        return result


class VideoIndexer:
    """Takes the frames of one video, in order, and writes its tracklets.

    Args:
        writer: of the video.
        settings: how boxes become tracklets.
        frame_rate: frames per second that it will see.
        chunk: frames between commits.
        embedding: shared by the videos of a process.
        stages: where work is counted.
        patience: with a locked gallery.

    Attributes:
        detections: boxes seen, without those before a restart.
        tracklets: added to the store; pieces that were joined count as one.
        people: of the detections, those with a score that begins a track.
    """

    def __init__(
        self,
        writer: VideoWriter,
        settings: TrackSettings,
        frame_rate: float,
        chunk: int,
        embedding: Embedding,
        stages: Stages,
        patience: LockPatience,
    ) -> None:
        settings = settings.for_rate(frame_rate)
        self._writer, self._settings, self._chunk = writer, settings, chunk
        self._embedding, self._stages, self._patience = embedding, stages, patience
        self._builder = TrackletBuilder(settings, frame_rate)
        self._position = writer.video.position
        self._frames: list[tuple[int, float]] = []
        self._boxes = [np.empty(0, DETECTION)]
        self._done: dict[int, Track] = {}  # until they are tracklets in the store
        self._waiting: list[Track] = []
        self._batches: deque[Future[list[NewTracklet]]] = deque()
        self._embedded: list[NewTracklet] = []
        self._dropped: list[int] = []
        self.detections = self.tracklets = self.people = self._kept = 0
        self._begin = self._position
        self._replay()

    @property
    def unkept(self) -> int:
        """Of the people, those who are in no tracklet, once the video has ended."""
        return self.people - self._kept

    def see(self, frame: Frame, found: sv.Detections) -> None:
        """Process the next frame and the people found in it."""
        with self._stages.track.busy():
            self._finish(self._builder.see(frame.number, frame.time, found, frame.image))
        self._frames.append((frame.number, frame.time))
        records = to_records(frame.number, frame.time, found)
        self._boxes.append(records)
        self.people += self._people_in(records)
        self._position = frame.number + 1
        self.detections += len(found)
        if len(self._frames) >= self._chunk:
            self._collect()
            self._patience.attempt(self._commit)

    def end(self) -> None:
        """There are no more frames: write what is left, and mark the video as complete."""
        self._finish(self._builder.end())
        self._submit()
        while self._batches:
            self._collect(wait=True)
            self._patience.insist(self._commit)
        self._patience.insist(self._commit)
        self._patience.insist(self._complete)

    def _replay(self) -> None:
        """Restore the state of the last commit."""
        stored, pending = self._writer.tracks(), self._writer.pending()
        done: list[Track] = []
        for chunk in self._writer.chunks():
            ends = np.searchsorted(chunk.detections["frame"], chunk.frames["frame"], "right")
            shares = np.split(chunk.detections, ends[:-1])
            for (number, moment), boxes in zip(chunk.frames.tolist(), shares, strict=True):
                done += self._builder.see(number, moment, from_records(boxes), None)
        missing = [track for track in done if track.number not in stored]
        self._builder.restore(pending, missing)
        self._finish(missing)

    def _finish(self, done: Sequence[Track]) -> None:
        for track in done:
            if worth_keeping(track, self._settings):
                self._done[track.number] = track
                self._waiting.append(track)
                self._kept += sum(map(self._people_in, track.boxes))
            else:
                self._dropped.append(track.number)
        if sum(len(track.best.crops) for track in self._waiting) >= _CROPS_PER_BATCH:
            self._submit()

    def _people_in(self, boxes: NDArray[np.void]) -> int:
        """How many boxes of this run have a score that begins a track."""
        counted = (boxes["frame"] >= self._begin) & (boxes["score"] >= self._settings.least_score)
        return int(counted.sum())

    def _submit(self) -> None:
        if self._waiting:
            self._batches.append(self._embedding.submit(self._waiting))
            self._waiting = []

    def _collect(self, wait: bool = False) -> None:
        """Take the tracklets that are embedded; with ``wait``, those of at least one batch."""
        self._submit()
        while self._batches and (
            wait or self._batches[0].done() or len(self._batches) > _BATCHES_AHEAD
        ):
            self._embedded += self._batches.popleft().result()
            wait = False

    def _commit(self) -> bool:
        """Write everything that is new."""
        written = {tracklet.track for tracklet in self._embedded}
        unwritten = {**self._builder.open, **self._done}
        pending = {
            number: unwritten[number].best.crops
            for number in sorted(self._builder.changed)
            if number in unwritten and number not in written
        }
        chunk = Chunk(np.array(self._frames, FRAME), np.concatenate(self._boxes))
        progress = Progress(chunk, self._position, pending, self._embedded, self._dropped)
        with self._stages.store.busy(len(self._frames)):
            self.tracklets += self._writer.commit(progress)
        for number in written:
            del self._done[number]
        self._builder.changed.clear()
        self._frames, self._boxes = [], [np.empty(0, DETECTION)]
        self._embedded, self._dropped = [], []
        return True

    def _complete(self) -> bool:
        fewer, left_out = self._writer.finish()
        self.tracklets -= fewer
        self._kept -= self._people_in(left_out)
        return True
