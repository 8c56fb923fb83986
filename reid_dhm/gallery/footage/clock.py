"""Times of frames from the timestamps of a container, where these are plausible."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import TypeVar

from reid_dhm.gallery.footage.frames import DEFAULT_FPS, MAX_FPS

T = TypeVar("T")

_STEP = 10.0  # seconds; frames further apart are a pause in the recording, or a wrong timestamp
_LONGEST_PAUSE = 7 * 86400.0
_TOLERANCE = 1.5  # factor by which a header's rate may differ from the frames' times


def frame_times(frames: Iterable[tuple[T, float]], step: float) -> Iterator[tuple[T, float]]:
    """Frames with their times in seconds from the first one, always increasing.

    A timestamp is used while it grows by ten seconds at most. A larger leap is a pause if the next
    frame follows it, and a clock that starts again continues behind the last frame. Any other
    timestamp is wrong, and its frame follows ``step`` after the one before.

    Args:
        frames: each with its timestamp in seconds, NaN where there is none.
        step: duration of a frame, in seconds.
    """
    now, offset = -step, math.nan
    for (frame, timestamp), (_, following) in _with_next(frames):
        if math.isnan(offset):
            offset = timestamp - (now + step)
        time = timestamp - offset
        confirmed = 0 < following - timestamp <= _STEP
        if now < time <= now + _STEP or (confirmed and now < time <= now + _LONGEST_PAUSE):
            now = time
        else:
            now += step
            if confirmed and (time > now or following - offset <= now):  # the clock was set
                offset = timestamp - now
        yield frame, now


def plausible_rate(claimed: float, timestamps: Sequence[float]) -> float:
    """Frames per second as claimed, unless the timestamps of the first frames contradict it.

    Args:
        claimed: by the header; may be 0, NaN or absurd.
        timestamps: of some frames, in seconds, in any order.
    """
    gaps = [b - a for a, b in pairwise(sorted(timestamps)) if 0 < b - a <= _STEP]
    measured = len(gaps) / sum(gaps) if len(gaps) > 1 else math.nan
    claim_is_sane = math.isfinite(claimed) and 0 < claimed <= MAX_FPS
    if math.isnan(measured) or measured > MAX_FPS:
        return claimed if claim_is_sane else DEFAULT_FPS
    if claim_is_sane and measured / _TOLERANCE <= claimed <= measured * _TOLERANCE:
        return claimed
    return measured


def _with_next(
    frames: Iterable[tuple[T, float]],
) -> Iterator[tuple[tuple[T, float], tuple[T | None, float]]]:
    """Every item with the one behind it; NaN stands for the time after the last."""
    iterator = iter(frames)
    last = next(iterator, None)
    if last is None:
        return
    for item in iterator:
        yield last, item
        last = item
    yield last, (None, math.nan)
