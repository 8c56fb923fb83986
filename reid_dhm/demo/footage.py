"""Second part of the demonstration: find a person of one camera's video in another's."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.embedder import Embedder
from reid_dhm.synthetic.clips import write_clips


def run_footage_demo(
    folder: Path, checkpoint: Path | str, say: Callable[[str], None], num_people: int = 5
) -> dict[str, Any]:
    """Write two synthetic videos, index them, and search the second for a person of the first.

    Args:
        folder: for the videos and the gallery; a gallery of an earlier run is replaced.
        checkpoint: of the embedding model.
        say: called with each line to print.
        num_people: people in the videos.

    Returns:
        ``frames``, ``tracklets``, the best candidate's ``tracklet``, ``similarity``, ``start`` and
        ``end``, ``right``: whether it shows the person searched for, and ``query``: the tracklet
        searched with.
    """
    say(f"Writing videos of {num_people} people in two cameras to {folder}")
    clips = write_clips(folder, num_people=num_people, pause=4.0)
    place = folder / "gallery"
    shutil.rmtree(place, ignore_errors=True)
    embedder = Embedder(checkpoint, precision="float32")
    with GalleryStore(place, create=True) as gallery:
        frames = 0
        for clip in clips:
            camera = f"camera {clip.camid}"
            summary = index_video(gallery, clip.path, camera, embedder, str(checkpoint))
            frames += summary.frames
        here, there = clips
        query = max(
            gallery.tracklets(TrackletFilter(cameras=["camera 1"])), key=lambda t: t.num_boxes
        )
        request = SearchRequest(TrackletFilter(cameras=["camera 2"]), [query.id], top_k=1)
        (best,) = Searcher(gallery).run(request)
        pids = [
            clip.pid_of(boxes["frame"], boxes["box"])
            for clip, boxes in (
                (here, gallery.boxes(query.key)),
                (there, gallery.boxes(best.tracklet.key)),
            )
        ]
        right, count = pids[0] == pids[1], gallery.count()
    found = best.tracklet
    say(
        f"The person in camera 1 at {query.start:.1f} s is in camera 2 at {found.start:.1f} s "
        f"(similarity {best.similarity:.2f}): {'right' if right else 'wrong'}"
    )
    return {
        "frames": frames,
        "tracklets": count,
        "query": str(query.id),
        "tracklet": str(found.id),
        "similarity": best.similarity,
        "start": found.start,
        "end": found.end,
        "right": right,
    }
