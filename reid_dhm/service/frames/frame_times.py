"""When a frame of a video is, by what the gallery knows of it and of the frames around it."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain
from typing import NamedTuple

from reid_dhm.gallery.records import Video
from reid_dhm.gallery.store.gallery import GalleryStore

_ENDS = """(SELECT first_frame AS frame, start AS time FROM tracklets WHERE video = ?1
    UNION ALL SELECT last_frame, "end" FROM tracklets WHERE video = ?1)"""
_NEAREST = (
    f"SELECT frame, time FROM {_ENDS} WHERE frame <= ?2 ORDER BY frame DESC LIMIT 1",
    f"SELECT frame, time FROM {_ENDS} WHERE frame > ?2 ORDER BY frame LIMIT 1",
)
_THERE = "SELECT key FROM tracklets WHERE video = ? AND ? BETWEEN first_frame AND last_frame"


class Moment(NamedTuple):
    """A frame whose time tells it from all others, to reach it or a later one by.

    Attributes:
        frame: its number, from 0.
        time: seconds from the video's first frame.
        known: whether the gallery has this time, rather than that frames around it are evenly
            spaced.
    """

    frame: int
    time: float
    known: bool = True


START = Moment(0, 0.0)


def moment_of(gallery: GalleryStore, video: Video, number: int) -> Moment:
    """The moment of a frame, or, where only counting can tell it, of one before.

    The gallery has the times of frames in which somebody was seen. Where they show that frames are
    evenly spaced, those between are as well.
    """
    with gallery.reading() as db:
        ends = [row for sql in _NEAREST for row in db.execute(sql, (video.id, number))]
        there = [key for (key,) in db.execute(_THERE, (video.id, number))]
    boxes = [gallery.boxes(key)[["frame", "time"]].tolist() for key in there]
    known = sorted({(0, 0.0), *ends, *chain.from_iterable(boxes)})
    place = bisect_right(known, number, key=_frame)
    (frame, time), after = known[place - 1], known[place:]
    if frame == number:
        return Moment(frame, time)
    told = after[0][1] - time if after else time
    steps = after[0][0] - frame if after else frame
    if abs(told - steps / video.fps) < 0.5 / video.fps:
        return Moment(number, time + (number - frame) / video.fps, known=False)
    return Moment(frame, time)


def _frame(known: tuple[int, float]) -> int:
    return known[0]
