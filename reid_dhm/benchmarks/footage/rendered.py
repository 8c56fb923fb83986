"""Measures tracking and search on synthetic video with ground truth.

``python -m reid_dhm.benchmarks.footage.rendered`` prints the figures. The video comes from
:mod:`reid_dhm.synthetic.clips`, the tracking metrics from
:mod:`reid_dhm.benchmarks.footage.tracking`, the search metrics from :mod:`reid_dhm.retrieval`.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from reid_dhm.benchmarks.footage.tracking import TrackFigures, measure
from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.ingest.ingest import IndexingSummary
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.export import export_mot
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.synthetic.clips import Clip, write_clips


def camera_of(clip: Clip) -> str:
    """Name of a clip's camera in the gallery."""
    return f"camera {clip.camid}"


def index_clips(
    gallery: GalleryStore, clips: Sequence[Clip], embedder: Embedder, detector: str = "motion"
) -> list[IndexingSummary]:
    """Index every clip under its camera's name."""
    return [
        index_video(gallery, clip.path, camera_of(clip), embedder, "benchmark", detector=detector)
        for clip in clips
    ]


def known_embeddings(gallery: GalleryStore, clips: Sequence[Clip]) -> EmbeddingSet:
    """Mean embeddings of tracklets with their true pids; 0 where a tracklet shows no person."""
    rows, pids, camids = [], [], []
    for clip in clips:
        for page in gallery.pages(TrackletFilter(cameras=[camera_of(clip)])):
            rows.append(page.embeddings.astype(np.float32))
            for key in page.keys.tolist():
                boxes = gallery.boxes(key)
                pids.append(clip.pid_of(boxes["frame"], boxes["box"]))
            camids += [clip.camid] * len(page.keys)
    return EmbeddingSet(np.concatenate(rows), np.array(pids), np.array(camids))


def measure_search(gallery: GalleryStore, clips: Sequence[Clip]) -> RetrievalResult:
    """Search with every tracklet of a person for that person in other cameras.

    As in any evaluation, tracklets of the same person and camera are left out; those of other
    people, and of no person, stay.
    """
    known = known_embeddings(gallery, clips)
    people = known.pids > 0
    queries = EmbeddingSet(known.embeddings[people], known.pids[people], known.camids[people])
    return rank_gallery(queries, known)


def measure_tracking(gallery: GalleryStore, clip: Clip) -> TrackFigures:
    """Compare the tracklets of a clip with its ground truth."""
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, "found.txt")
        export_mot(gallery, found, TrackletFilter(cameras=[camera_of(clip)]))
        return measure(found, clip.truth)


def main() -> None:
    """Render the clips, index them, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=int, default=40)
    parser.add_argument("--pause", type=float, default=3.0, help="seconds between two people")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--detector", default="motion")
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        clips = write_clips(
            folder, num_people=options.people, pause=options.pause, seed=options.seed
        )
        with GalleryStore(folder / "gallery", create=True) as gallery:
            index_clips(
                gallery, clips, Embedder(options.checkpoint, precision="float32"), options.detector
            )
            for clip in clips:
                figures = asdict(measure_tracking(gallery, clip))
                print(json.dumps({"camera": camera_of(clip), **figures}))
            result = measure_search(gallery, clips)
    print(
        f"search across cameras: {int(result.valid.sum())} queries, rank-1 {result.cmc[1]:.1%}, "
        f"rank-5 {result.cmc[5]:.1%}, mAP {result.mAP:.1%}"
    )


if __name__ == "__main__":
    main()
