"""A person's way as lines of text: a lane for every camera on one axis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from reid_dhm.gallery.people.answers.presence import Presence
from reid_dhm.gallery.people.answers.route import Route

_WIDTH = 60  # characters of the axis
_LONGEST = 16  # characters of a camera's name


def draw_timeline(route: Route) -> Iterator[str]:
    """Lanes of ``=`` where a camera saw the person, for every clock; ends are below the axis."""
    seen = route.presence
    for clock in np.unique(seen.clocks).tolist():
        own = seen.taken(seen.clocks == clock)
        begin, end = float(own.starts.min()), float(own.ends.max())
        scale = (_WIDTH - 1) / max(end - begin, 1e-9)
        cameras = list(dict.fromkeys(own.cameras.tolist()))
        width = min(_LONGEST, max(len(own.names[camera]) for camera in cameras))
        for camera in cameras:
            lane = [" "] * _WIDTH
            for start, stop in zip(
                own.starts[own.cameras == camera].tolist(),
                own.ends[own.cameras == camera].tolist(),
                strict=True,
            ):
                first, last = (round((moment - begin) * scale) for moment in (start, stop))
                lane[first : last + 1] = "=" * (last + 1 - first)
            yield f"  {own.names[camera][:width]:{width}} |{''.join(lane)}|"
        left, right = (_label(own, clock, moment) for moment in (begin, end))
        yield f"  {'':{width}}  {left}{right:>{_WIDTH - len(left)}}"


def _label(own: Presence, clock: int, seconds: float) -> str:
    moment = own.time(seconds) if clock == 0 else None
    return f"{seconds:.1f} s" if moment is None else f"{moment:%Y-%m-%d %H:%M:%S}"
