"""Index one source into a gallery in one call: open it, claim the model, ingest, record it."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import datetime
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Source
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.ingest import IndexingSummary, Report, ingest
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.records import check_name, wall_clock
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore

if TYPE_CHECKING:
    from reid_dhm.inference.embedder import Embedder


def index_video(
    gallery: GalleryStore | Path,
    source: str | PathLike[str] | Source,
    camera: str,
    embedder: Embedder,
    model: str,
    *,
    detector: str | Detector = "motion",
    confidence: float | None = None,
    options: IndexingOptions | None = None,
    start: str | datetime | None = None,
    fps: float | None = None,
    patience: float = 300.0,
    report: Report | None = None,
) -> IndexingSummary:
    """Find the people in a video and store who was where and when.

    All arguments are checked before the gallery is created or changed. An interrupted run is
    continued; indexing the same video twice adds nothing.

    Args:
        gallery: an open gallery, or a folder; the folder is created if it does not exist.
        source: a video, a folder or glob of images, the address of a stream or the number of a
            webcam; or an opened source.
        camera: name of the camera; created if it is new.
        embedder: embeds the crops; its model becomes the gallery's if the gallery is new.
        model: what users call that model, such as the path of its checkpoint.
        detector: as for :func:`.build_detector`, or a detector.
        confidence: lowest score of a box; the detector's own by default.
        options: stride, span and tracking.
        start: wall-clock time of the first frame, ISO 8601; UTC without an offset.
        fps: frames per second of an image sequence, or to override a wrong header.
        patience: seconds to try to reconnect to a live stream.
        report: called with the frames done and the total (0 if unknown).

    Returns:
        Counts of frames, detections and tracklets, and the content hashes of the videos.

    Raises:
        InputError: an unusable source, detector or setting, or a video that was indexed with other
            settings.
        ModelMismatchError: the gallery was made with another model.
    """
    check_name("camera", camera)
    moment = wall_clock(start) if isinstance(start, str) else start
    finder = build_detector(detector, confidence) if isinstance(detector, str) else detector
    frames = source
    if isinstance(frames, str | PathLike):
        frames = open_source(str(frames), fps, patience)
    opened = (
        GalleryStore(gallery, create=True) if isinstance(gallery, Path) else nullcontext(gallery)
    )
    with opened as store:
        store.claim_model(embedder.fingerprint, embedder.dim, model)
        summary = ingest(store, camera, frames, finder, embedder, options, moment, report)
        if not summary.known:
            audit.record(store, "index", {"camera": camera, "videos": summary.videos})
    return summary
