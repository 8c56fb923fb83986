"""The end of the demonstration: film made-up people before two cameras, and find one again."""

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
    """Film people, index both cameras' footage, and search the second for who passed the first.

    Args:
        folder: for the footage and the gallery; a gallery of an earlier run is replaced.
        checkpoint: what embeds the people.
        say: told what is being done and found.
        num_people: who pass by.

    Returns:
        ``frames``, ``tracklets``, the hit's ``tracklet``, ``similarity``, ``start`` and ``end``,
        and ``right``: whether it shows the person who was searched for.
    """
    say(f"Filming {num_people} people before two cameras into {folder}")
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
        asked = max(
            gallery.tracklets(TrackletFilter(cameras=["camera 1"])), key=lambda t: t.num_boxes
        )
        request = SearchRequest(TrackletFilter(cameras=["camera 2"]), [asked.id], top_k=1)
        (best,) = Searcher(gallery).run(request)
        pids = [
            clip.pid_of(boxes["frame"], boxes["box"])
            for clip, boxes in (
                (here, gallery.boxes(asked.key)),
                (there, gallery.boxes(best.tracklet.key)),
            )
        ]
        right, count = pids[0] == pids[1], gallery.count()
    found = best.tracklet
    say(
        f"Who passed camera 1 at {asked.start:.1f} s was before camera 2 at {found.start:.1f} s "
        f"(similarity {best.similarity:.2f}): {'right' if right else 'wrong'}"
    )
    return {
        "frames": frames,
        "tracklets": count,
        "tracklet": str(found.id),
        "similarity": best.similarity,
        "start": found.start,
        "end": found.end,
        "right": right,
    }
