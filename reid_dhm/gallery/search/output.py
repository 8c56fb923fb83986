"""Files that a search writes: the candidates' images, and the best candidate's whole video."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from reid_dhm.files import atomic_path
from reid_dhm.gallery.records import TrackletFilter, Video
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store.reader import GalleryReader


def write_crops(
    gallery: GalleryReader, candidates: Sequence[Candidate], folder: Path
) -> list[Path | None]:
    """Write the best crop of every candidate as ``RANK_TRACKLET.jpg``.

    Returns:
        The files; None for a tracklet that was deleted since the search.

    Raises:
        StorageError: a file cannot be written; none is left incomplete.
    """
    paths: list[Path | None] = []
    for rank, candidate in enumerate(candidates, 1):
        jpeg = gallery.thumbnail(candidate.tracklet.key)
        path = None if jpeg is None else folder / f"{rank:03d}_{candidate.tracklet.id}.jpg"
        if path is not None and jpeg is not None:
            with atomic_path(path) as temporary:
                temporary.write_bytes(jpeg)
        paths.append(path)
    return paths


def annotate_video(
    searcher: Searcher,
    query: NDArray[np.floating],
    candidates: Sequence[Candidate],
    video: Video,
    path: Path,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a whole video with everybody's box, name and similarity; candidates are highlighted.

    Args:
        searcher: of the gallery.
        query: (n, D) embeddings that were searched for.
        candidates: what the search returned.
        video: of the gallery.
        path: ``.webm`` or ``.mp4``.
        progress: called with the number of frames done and in all.

    Returns:
        The number of frames written.

    Raises:
        InputError: the footage cannot be read, or the suffix is another.
    """
    from reid_dhm.gallery.footage.annotation import Drawn, annotate

    gallery, here = searcher.gallery, TrackletFilter(videos=[video.hash])
    found = {candidate.tracklet.id for candidate in candidates}
    everybody = searcher.search(query, max(1, gallery.count(here)), here)
    drawn = [
        Drawn(
            f"{seen.tracklet.person or f'#{seen.tracklet.id.track}'} {seen.similarity:.2f}",
            gallery.boxes(seen.tracklet.key),
            seen.tracklet.id in found,
        )
        for seen in everybody
    ]
    return annotate(video, drawn, path, progress=progress)
