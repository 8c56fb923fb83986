"""One video on its way into the store: boxes become tracks, tracks tracklets, chunk by chunk.

Where frames and boxes come from is :mod:`reid_dhm.gallery.ingest.ingest`'s.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import supervision as sv

from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.ingest.pipeline import Stage
from reid_dhm.gallery.records import DETECTION, FRAME, Embed, NewTracklet
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter
from reid_dhm.gallery.track.tracking import as_records
from reid_dhm.gallery.track.tracklets import (
    Track,
    TrackletBuilder,
    TrackSettings,
    embed_tracks,
    worth_keeping,
)

_CROPS_PER_BATCH = 32
_BATCHES_AHEAD = 4


@dataclass(frozen=True, slots=True)
class Stages:
    """What each stage did."""

    decode: Stage
    detect: Stage
    track: Stage
    embed: Stage
    store: Stage

    @classmethod
    def new(cls, detectors: int) -> Stages:
        """Stages that did nothing yet, ``detectors`` of them detecting at once."""
        return cls(
            Stage("decode", "frames"),
            Stage("detect", "frames", detectors),
            Stage("track and crop", "frames"),
            Stage("embed", "crops"),
            Stage("store", "frames"),
        )

    def all(self) -> tuple[Stage, ...]:
        """In the order of the flow."""
        return self.decode, self.detect, self.track, self.embed, self.store


class Embedding:
    """Embeds finished tracks in a thread of its own; a context manager."""

    def __init__(self, embed: Embed, stage: Stage) -> None:
        self._embed, self._stage = embed, stage
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="embed")

    def __enter__(self) -> Embedding:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def submit(self, tracks: Sequence[Track]) -> Future[list[NewTracklet]]:
        """Embed the crops of these tracks, later."""
        return self._pool.submit(self._work, tracks)

    def _work(self, tracks: Sequence[Track]) -> list[NewTracklet]:
        with self._stage.busy(sum(len(track.best.crops) for track in tracks)):
            return embed_tracks(tracks, self._embed)


class VideoIndexer:
    """Takes the frames of one video, in order, and writes what comes of them.

    Args:
        writer: of the video.
        settings: how boxes become tracklets.
        frame_rate: frames a second that it will see.
        chunk: frames between commits.
        embedding: shared by the videos of a process.
        stages: where to count.

    Attributes:
        detections: boxes seen, those before a restart left out.
        tracklets: added to the store.
    """

    def __init__(
        self,
        writer: VideoWriter,
        settings: TrackSettings,
        frame_rate: float,
        chunk: int,
        embedding: Embedding,
        stages: Stages,
    ) -> None:
        self._writer, self._settings, self._chunk = writer, settings, chunk
        self._embedding, self._stages = embedding, stages
        self._builder = TrackletBuilder(settings, frame_rate)
        self._position = writer.video.position
        self._frames: list[tuple[int, float]] = []
        self._boxes = [np.empty(0, DETECTION)]
        self._done: dict[int, Track] = {}  # until they are tracklets in the store
        self._waiting: list[Track] = []
        self._batches: deque[Future[list[NewTracklet]]] = deque()
        self._dropped: list[int] = []
        self.detections = self.tracklets = 0
        self._replay()

    def see(self, frame: Frame, found: sv.Detections) -> None:
        """Take the next frame and the people found in it."""
        with self._stages.track.busy():
            boxes = as_records(frame.number, frame.time, found)
            self._finish(self._builder.see(frame.time, boxes, frame.image))
        self._frames.append((frame.number, frame.time))
        self._boxes.append(boxes)
        self._position = frame.number + 1
        self.detections += len(boxes)
        if len(self._frames) >= self._chunk:
            self._commit()

    def end(self) -> None:
        """There are no more frames: write what is left, and call the video complete."""
        self._finish(self._builder.end())
        self._submit()
        while self._batches:
            self._commit(wait=True)
        self._commit()
        self._writer.finish()

    def _replay(self) -> None:
        """Come back to where the last commit was."""
        stored, pending = self._writer.tracks(), self._writer.pending()
        done: list[Track] = []
        for chunk in self._writer.chunks():
            ends = np.searchsorted(chunk.detections["frame"], chunk.frames["frame"], "right")
            shares = np.split(chunk.detections, ends[:-1])
            for time, boxes in zip(chunk.frames["time"].tolist(), shares, strict=True):
                done += self._builder.see(time, boxes, None)
        lacking = [track for track in done if track.number not in stored]
        self._builder.restore(pending, lacking)
        self._finish(lacking)

    def _finish(self, done: Sequence[Track]) -> None:
        for track in done:
            if worth_keeping(track, self._settings):
                self._done[track.number] = track
                self._waiting.append(track)
            else:
                self._dropped.append(track.number)
        if sum(len(track.best.crops) for track in self._waiting) >= _CROPS_PER_BATCH:
            self._submit()

    def _submit(self) -> None:
        if self._waiting:
            self._batches.append(self._embedding.submit(self._waiting))
            self._waiting = []

    def _commit(self, wait: bool = False) -> None:
        """Write all that is new; with ``wait``, at least one batch of tracklets."""
        self._submit()
        tracklets: list[NewTracklet] = []
        while self._batches and (
            wait or self._batches[0].done() or len(self._batches) > _BATCHES_AHEAD
        ):
            tracklets += self._batches.popleft().result()
            wait = False
        written = {tracklet.track for tracklet in tracklets}
        unwritten = {**self._builder.open, **self._done}
        pending = {
            number: unwritten[number].best.crops
            for number in sorted(self._builder.changed)
            if number in unwritten and number not in written
        }
        chunk = Chunk(np.array(self._frames, FRAME), np.concatenate(self._boxes))
        with self._stages.store.busy(len(self._frames)):
            progress = Progress(chunk, self._position, pending, tracklets, self._dropped)
            self.tracklets += self._writer.commit(progress)
        for number in written:
            del self._done[number]
        self._builder.changed.clear()
        self._frames, self._boxes, self._dropped = [], [np.empty(0, DETECTION)], []
