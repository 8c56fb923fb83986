"""Clips of tracklets, with boxes drawn: around the best image, or from entering until leaving."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.footage.annotation import Drawn, annotate
from reid_dhm.gallery.records import Tracklet, TrackletFilter, Video
from reid_dhm.gallery.store.reader import GalleryReader

WIDTH = 640  # pixels of a clip
LONGEST = 120.0  # seconds of a clip from entering until leaving
_AROUND = 8.0  # seconds of a clip around the best image
_FPS = 12.5  # highest frame rate of a clip


def write_clip_around(
    video: Video, drawn: Sequence[Drawn], boxes: NDArray[np.void], best: float, path: Path
) -> None:
    """Write the eight seconds around a moment of a tracklet.

    Args:
        video: of a gallery.
        drawn: what to draw.
        boxes: (N,) :data:`.DETECTION` of the tracklet, N at least 1.
        best: the moment, in seconds from the video's start.
        path: ``.webm`` or ``.mp4``.

    Raises:
        InputError, NotFoundError: as :func:`.annotate`.
    """
    # Seeking needs a frame whose time is known.
    near = boxes[np.abs(boxes["time"] - best) <= _AROUND / 2]
    lead = near["time"][0] - best + _AROUND / 2
    trail = best + _AROUND / 2 - near["time"][-1]
    annotate(
        video,
        drawn,
        path,
        int(near["frame"][0]),
        int(near["frame"][-1]) + round(trail * video.fps),
        float(near["time"][0]),
        float(lead),
        step=_step(video),
        width=WIDTH,
    )


def write_whole_clip(
    gallery: GalleryReader, tracklet: Tracklet, path: Path, everybody: bool = False
) -> None:
    """Write a tracklet from entering the view until leaving it, at most two minutes.

    Args:
        gallery: of the tracklet.
        tracklet: which.
        path: ``.webm`` or ``.mp4``.
        everybody: also draw the boxes of all others.

    Raises:
        InputError, NotFoundError: as :func:`.annotate`.
    """
    video, boxes = gallery.video(tracklet.id.video), gallery.boxes(tracklet.key)
    boxes = boxes[boxes["time"] <= boxes["time"][0] + LONGEST]
    begin, end = float(boxes["time"][0]), float(boxes["time"][-1])
    there = TrackletFilter(videos=[video.hash], after=begin, before=end)
    others = gallery.tracklets(there) if everybody else [tracklet]
    drawn = [
        Drawn(each.person or f"#{each.id.track}", gallery.boxes(each.key), each.key == tracklet.key)
        for each in others
    ]
    annotate(
        video,
        drawn,
        path,
        int(boxes["frame"][0]),
        int(boxes["frame"][-1]),
        begin,
        step=_step(video),
        width=WIDTH,
    )


def _step(video: Video) -> int:
    return max(1, round(video.fps / _FPS))
