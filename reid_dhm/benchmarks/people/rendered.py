"""Rendered footage of people who leave and come back before several cameras, with truth."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

from reid_dhm.benchmarks.footage.pairs import read_boxes
from reid_dhm.benchmarks.footage.rendered import camera_of
from reid_dhm.benchmarks.people.footage import KnownGallery
from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.embedder import Embedder
from reid_dhm.synthetic.clips import write_clips
from reid_dhm.synthetic.routes import PLACES, draw_routes

_TOUR_SECONDS = 200.0
_TOURS = 2
_START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


def rendered_gallery(
    folder: Path, gallery: GalleryStore, embedder: Embedder, num_people: int, seed: int
) -> KnownGallery:
    """Render people on two tours past four cameras, two of which see one place, and index them.

    Args:
        folder: receives the clips.
        gallery: empty.
        embedder: of the crops; people are found by ``motion``.
        num_people: number of people.
        seed: fixes the footage.
    """
    clips = write_clips(
        folder,
        num_people=num_people,
        num_cameras=sum(map(len, PLACES)),
        seed=seed,
        walks=draw_routes(num_people, _TOURS * _TOUR_SECONDS, _TOURS, seed),
    )
    for clip in clips:
        index_video(gallery, clip.path, camera_of(clip), embedder, "benchmark", start=_START)
    return KnownGallery(gallery, {camera_of(clip): read_boxes(clip.truth) for clip in clips})
