"""The time of a video's frame, from the times that the gallery holds."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import chain
from typing import Any

from reid_dhm.gallery.footage.seeking import FrameTime
from reid_dhm.gallery.records import Video
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.queries import checked

_ENDS = """(SELECT first_frame AS frame, start AS time FROM tracklets WHERE video = ?1
    UNION ALL SELECT last_frame, "end" FROM tracklets WHERE video = ?1)"""
_NEAREST = (
    f"SELECT frame, time FROM {_ENDS} WHERE frame <= ?2 ORDER BY frame DESC LIMIT 1",
    f"SELECT frame, time FROM {_ENDS} WHERE frame > ?2 ORDER BY frame LIMIT 1",
)
_THERE = "SELECT key FROM tracklets WHERE video = ? AND ? BETWEEN first_frame AND last_frame"


def frame_time(gallery: GalleryStore, video: Video, number: int) -> FrameTime:
    """The time of a frame, or of an earlier one if only counting can reach it.

    The gallery holds the times of frames with people. Where these are evenly spaced, the times of
    frames between are interpolated.
    """
    with gallery.reading() as db:
        ends = [_end(row) for sql in _NEAREST for row in db.execute(sql, (video.id, number))]
        there = [key for (key,) in db.execute(_THERE, (video.id, number))]
    boxes = [gallery.boxes(key)[["frame", "time"]].tolist() for key in there]
    known = sorted({(0, 0.0), *ends, *chain.from_iterable(boxes)})
    place = bisect_right(known, number, key=_frame)
    (frame, time), after = known[place - 1], known[place:]
    if frame == number:
        return FrameTime(frame, time)
    told = after[0][1] - time if after else time
    steps = after[0][0] - frame if after else frame
    if abs(told - steps / video.fps) < 0.5 / video.fps:
        return FrameTime(number, time + (number - frame) / video.fps, exact=False)
    return FrameTime(frame, time)


@checked(int, float)
def _end(row: Sequence[Any]) -> tuple[int, float]:
    return row[0], row[1]


def _frame(known: tuple[int, float]) -> int:
    return known[0]
