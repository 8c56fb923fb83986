"""What a search leaves behind: hits for machines, their images, and the video of the best one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reid_dhm.gallery.footage.annotation import Drawn, annotate
from reid_dhm.gallery.records import Tracklet, TrackletFilter, Video
from reid_dhm.gallery.search.search import Hit, Searcher
from reid_dhm.gallery.store.gallery import GalleryStore


def as_json(hit: Hit, crop: Path | None = None) -> dict[str, Any]:
    """A hit as ``--json`` of the command has it; times are seconds, and ISO 8601."""
    found = hit.tracklet
    return {
        "tracklet": str(found.id),
        "camera": found.camera,
        "video": found.id.video,
        "source": found.source,
        "start": found.start,
        "end": found.end,
        "start_time": found.start_time.isoformat() if found.start_time else None,
        "end_time": found.end_time.isoformat() if found.end_time else None,
        "person": found.person,
        "frame": found.frame,
        "box": list(found.box),
        "similarity": hit.similarity,
        "probability": hit.probability,
        "crop": None if crop is None else str(crop),
    }


def when(tracklet: Tracklet) -> str:
    """From when to when, for people: wall-clock time, or seconds from the video's start."""
    begin, end = tracklet.start_time, tracklet.end_time
    if begin is None or end is None:
        return f"{tracklet.start:.1f} to {tracklet.end:.1f} s"
    until = end.strftime("%H:%M:%S" if begin.date() == end.date() else "%Y-%m-%d %H:%M:%S")
    offset = begin.strftime("%z")
    return f"{begin:%Y-%m-%d %H:%M:%S} to {until} {offset[:3]}:{offset[3:]}"


def write_crops(gallery: GalleryStore, hits: Sequence[Hit], folder: Path) -> list[Path | None]:
    """Write the best image of every hit as ``RANK_TRACKLET.jpg``; None for what is gone."""
    folder.mkdir(parents=True, exist_ok=True)
    paths: list[Path | None] = []
    for rank, hit in enumerate(hits, 1):
        jpeg = gallery.thumbnail(hit.tracklet.key)
        path = None if jpeg is None else folder / f"{rank:03d}_{hit.tracklet.id}.jpg"
        if path is not None and jpeg is not None:
            path.write_bytes(jpeg)
        paths.append(path)
    return paths


def annotate_video(
    searcher: Searcher,
    query: NDArray[np.floating],
    hits: Sequence[Hit],
    video: Video,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a whole video with everybody's box, name and similarity; hits stand out.

    Args:
        searcher: of the gallery.
        query: (n, D) that was searched for.
        hits: what was found.
        video: of the gallery.
        path: ``.webm`` or ``.mp4``.
        progress: told the frames done and all of them.

    Returns:
        How many frames were written.

    Raises:
        InputError: the footage cannot be read, or the file is named otherwise.
    """
    gallery, here = searcher.gallery, TrackletFilter(videos=[video.hash])
    found = {hit.tracklet.id for hit in hits}
    everybody = searcher.search(query, max(1, gallery.count(here)), here)
    drawn = [
        Drawn(
            f"{hit.tracklet.person or f'#{hit.tracklet.id.track}'} {hit.similarity:.2f}",
            gallery.boxes(hit.tracklet.key),
            hit.tracklet.id in found,
        )
        for hit in everybody
    ]
    return annotate(video, drawn, path, progress=progress)
