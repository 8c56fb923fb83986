"""Tracking and search on made-up footage, where it is known who is where: how well they do.

``python -m reid_dhm.benchmarks.footage`` prints the figures. Footage is filmed by
:mod:`reid_dhm.synthetic.clips`; tracking is judged by the ``trackers`` library's metrics,
search by the same exact counting as any evaluation.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.ingest.ingest import Summary
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery
from reid_dhm.retrieval.results import RetrievalResult
from reid_dhm.synthetic.clips import Clip, write_clips


@dataclass(frozen=True, slots=True)
class Tracking:
    """How well the people before one camera were followed.

    Attributes:
        camera: its name.
        frames: of its video.
        tracklets: that came out.
        idf1: of identities over boxes (Ristani et al. 2016), 0 … 1.
        mota: tracking accuracy (Bernardin and Stiefelhagen 2008), 1 at best.
        switches: how often a track changed to another person.
        recall: share of true boxes that were found.
    """

    camera: str
    frames: int
    tracklets: int
    idf1: float
    mota: float
    switches: int
    recall: float


def camera_of(clip: Clip) -> str:
    """What a clip's camera is called in a gallery."""
    return f"camera {clip.camid}"


def index_clips(
    gallery: GalleryStore, clips: Sequence[Clip], embedder: Embedder, detector: str = "motion"
) -> list[Summary]:
    """Index every clip under its camera's name."""
    return [
        index_video(gallery, clip.path, camera_of(clip), embedder, "benchmark", detector=detector)
        for clip in clips
    ]


def known_embeddings(gallery: GalleryStore, clips: Sequence[Clip]) -> EmbeddingSet:
    """Tracklets' mean embeddings with the pid that the truth gives them, 0 for nobody's."""
    rows, pids, camids = [], [], []
    for clip in clips:
        for page in gallery.pages(TrackletFilter(cameras=[camera_of(clip)])):
            rows.append(page.embeddings.astype(np.float32))
            for key in page.keys.tolist():
                boxes = gallery.boxes(key)
                pids.append(clip.pid_of(boxes["frame"], boxes["box"]))
            camids += [clip.camid] * len(page.keys)
    return EmbeddingSet(np.concatenate(rows), np.array(pids), np.array(camids))


def judge_search(gallery: GalleryStore, clips: Sequence[Clip]) -> RetrievalResult:
    """Search with every tracklet that shows somebody, for the person before other cameras.

    As in any evaluation: the person's tracklets of the same camera are left out, other people's and
    those that show nobody stay.
    """
    known = known_embeddings(gallery, clips)
    somebody = known.pids > 0
    queries = EmbeddingSet(known.embeddings[somebody], known.pids[somebody], known.camids[somebody])
    return rank_gallery(queries, known)


def judge_tracking(gallery: GalleryStore, clip: Clip) -> Tracking:
    """Compare the tracklets of a clip with its truth."""
    from trackers.eval import evaluate_mot_sequence

    where = TrackletFilter(cameras=[camera_of(clip)])
    lines: list[tuple[int, str]] = []
    tracklets = gallery.tracklets(where, limit=1_000_000)
    for tracklet in tracklets:
        for row in gallery.boxes(tracklet.key):
            x1, y1, x2, y2 = row["box"].tolist()
            corner = f"{x1 + 1:g},{y1 + 1:g},{x2 - x1:g},{y2 - y1:g}"
            frame = int(row["frame"]) + 1
            lines.append((frame, f"{frame},{tracklet.id.track},{corner},1,-1,-1,-1\n"))
    with tempfile.TemporaryDirectory() as scratch:
        found = Path(scratch, "found.txt")
        found.write_text("".join(line for _, line in sorted(lines)))
        result = evaluate_mot_sequence(clip.truth, found, metrics=["CLEAR", "Identity"])
    boxes, identities = result.CLEAR, result.Identity
    assert boxes is not None
    assert identities is not None
    (frames,) = {video.num_frames for video in gallery.videos() if video.camera == camera_of(clip)}
    return Tracking(
        camera_of(clip),
        frames,
        len(tracklets),
        float(identities.IDF1),
        float(boxes.MOTA),
        int(boxes.IDSW),
        float(boxes.CLR_Re),
    )


def main() -> None:
    """Film, index, judge, print."""
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
                print(json.dumps(asdict(judge_tracking(gallery, clip))))
            result = judge_search(gallery, clips)
    print(
        f"search across cameras: {int(result.valid.sum())} queries, rank-1 {result.cmc[1]:.1%}, "
        f"rank-5 {result.cmc[5]:.1%}, mAP {result.mAP:.1%}"
    )


if __name__ == "__main__":
    main()
