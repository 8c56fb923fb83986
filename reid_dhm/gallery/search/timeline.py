"""Places candidates on a time axis: lanes of bars for each camera, and ticks, in percent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from reid_dhm.gallery.search.candidates import Candidate

_MINUTE, _HOUR, _DAY = 60.0, 3600.0, 86400.0
_STEPS = (
    *(0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 15.0, 30.0),
    *(_MINUTE * n for n in (1, 2, 5, 10, 15, 30)),
    *(_HOUR * n for n in (1, 2, 3, 6, 12)),
    *(_DAY * n for n in (1, 2, 7, 14, 28, 91, 365)),
)
_MAX_TICKS = 8
_MIN_WIDTH = 6.0  # percent of the axis, so that a bar's number can be read on a phone

_Span = tuple[int, float, float]  # rank, begin, end


@dataclass(frozen=True, slots=True)
class Bar:
    """A candidate: its rank from 1, where it begins and how long it is, in percent of the axis."""

    rank: int
    left: float
    width: float


@dataclass(frozen=True, slots=True)
class Tick:
    """A labelled time, in percent of the axis; ``day`` at the first tick and where a day begins."""

    left: float
    label: str
    day: str = ""


@dataclass(frozen=True, slots=True)
class Timeline:
    """Lanes that share an axis.

    Attributes:
        title: what the axis counts.
        lanes: by name, in order of names; each with as many rows of bars as overlap.
        ticks: from left to right.
    """

    title: str
    lanes: dict[str, list[list[Bar]]]
    ticks: list[Tick]


def timelines(candidates: Sequence[Candidate]) -> list[Timeline]:
    """One axis of wall-clock times, and one of seconds for videos without a start time."""
    clock_spans: dict[str, list[_Span]] = {}
    video_spans: dict[str, list[_Span]] = {}
    origin: datetime | None = None
    for rank, candidate in enumerate(candidates, 1):
        found = candidate.tracklet
        if found.start_time is not None and found.end_time is not None:
            origin = origin or found.start_time
            span = found.start_time.timestamp(), found.end_time.timestamp()
            clock_spans.setdefault(found.camera, []).append((rank, *span))
        elif math.isfinite(found.start) and math.isfinite(found.end):
            lane = f"{found.camera}, video {found.id.video[:6]}"
            video_spans.setdefault(lane, []).append((rank, found.start, found.end))
    made = []
    if origin is not None:
        zone = origin.strftime("%z")
        made.append(_timeline(f"Time of day, UTC{zone[:3]}:{zone[3:]}", clock_spans, origin))
    if video_spans:
        made.append(_timeline("Time from the start of each video", video_spans, None))
    return made


def _timeline(title: str, spans: dict[str, list[_Span]], origin: datetime | None) -> Timeline:
    low = min(begin for lane in spans.values() for _, begin, _ in lane)
    high = max(end for lane in spans.values() for _, _, end in lane)
    # Ticks fall on round local times, which are round seconds only where the offset is.
    offset = origin.utcoffset() if origin is not None else None
    shift = offset.total_seconds() if offset else 0.0
    intervals = _MAX_TICKS - 2
    years = math.ceil((high - low) / _STEPS[-1] / intervals)
    step = next((s for s in _STEPS if (high - low) / s <= intervals), years * _STEPS[-1])
    first = math.floor((low + shift) / step) * step - shift
    count = max(1, math.ceil((high - first) / step))
    width = count * step

    def place(moment: float) -> float:
        return 100 * (moment - first) / width

    lanes = {
        name: _rows([Bar(rank, place(b), place(e) - place(b)) for rank, b, e in lane])
        for name, lane in sorted(spans.items())
    }
    moments = [first + n * step for n in range(count + 1)]
    return Timeline(
        title, lanes, [Tick(place(m), *_label(m, step, origin, first)) for m in moments]
    )


def _rows(bars: list[Bar]) -> list[list[Bar]]:
    """Bars from left to right, each in the first row where it overlaps no other."""
    rows: list[list[Bar]] = []
    for bar in sorted(bars, key=lambda bar: bar.left):
        for row in rows:
            if row[-1].left + max(row[-1].width, _MIN_WIDTH) <= min(bar.left, 100 - _MIN_WIDTH):
                row.append(bar)
                break
        else:
            rows.append([bar])
    return rows


def _label(moment: float, step: float, origin: datetime | None, first: float) -> tuple[str, str]:
    """The time of a tick, and its day where that is shown."""
    if origin is None:
        if step < 1:
            return f"{moment:.1f} s", ""
        hours, rest = divmod(round(moment), 3600)
        minutes, seconds = divmod(rest, 60)
        text = f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"
        return text, ""
    try:
        local = origin + timedelta(seconds=moment - origin.timestamp())
    except OverflowError:  # beyond either end of the calendar
        return "", ""
    if step >= _DAY:
        return f"{local:%Y-%m-%d}", ""
    clock = f"{local:%H:%M}" if step >= _MINUTE else f"{local:%H:%M:%S}"
    new_day = moment == first or local.hour == local.minute == local.second == 0
    return clock, f"{local:%Y-%m-%d}" if new_day else ""
