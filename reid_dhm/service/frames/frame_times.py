"""The time of a video's frame, from the times that the gallery holds."""

from __future__ import annotations

from bisect import bisect_right
from itertools import chain

from reid_dhm.gallery.footage.seeking import FrameTime
from reid_dhm.gallery.records import Video
from reid_dhm.gallery.store.reader import GalleryReader


def frame_time(gallery: GalleryReader, video: Video, number: int) -> FrameTime:
    """The time of a frame, or of an earlier one if only counting can reach it.

    The gallery holds the times of frames with people. Where these are evenly spaced, the times of
    frames between are interpolated.
    """
    with gallery.snapshot():
        ends = gallery.frame_ends(video, number)
        there = gallery.tracklets_in_frame(video.hash, number)
        boxes = [gallery.boxes(each.key)[["frame", "time"]].tolist() for each in there]
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


def _frame(known: tuple[int, float]) -> int:
    return known[0]
