"""Galleries whose embeddings are given, without a video."""

from collections.abc import Callable, Iterator, Sequence
from datetime import datetime

import numpy as np
import pytest

from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo
from reid_dhm.gallery.store import Gallery
from reid_dhm.gallery.writing import VideoWriter

MODEL = "c0ffee" * 10

Keep = Callable[..., None]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def empty(tmp_path) -> Iterator[Gallery]:
    """A new gallery of no model yet."""
    with Gallery(tmp_path / "gallery", create=True) as gallery:
        yield gallery


@pytest.fixture(scope="session")
def keep() -> Keep:
    """Puts a finished video into a gallery, one tracklet a row of (N, D) embeddings."""

    def keep(
        gallery: Gallery,
        embeddings: np.ndarray,
        camera: str = "gate",
        starts: Sequence[float] | None = None,
        start_time: datetime | None = None,
    ) -> None:
        gallery.claim_model(MODEL, embeddings.shape[1], "made up")
        number = max((int(video.hash, 16) + 1 for video in gallery.videos()), default=0)
        video = NewVideo(f"{number:016x}", f"{camera}-{number}.avi", 10.0, 64, 48, start_time)
        writer = VideoWriter.open(gallery, camera, video)
        tracklets = []
        for row, mean in enumerate(unit_rows(embeddings)):
            boxes = np.zeros(2, DETECTION)
            boxes["time"] = (row if starts is None else starts[row]) + np.arange(2)
            boxes["frame"] = boxes["time"] * 10
            boxes["box"] = (10, 10, 20, 40)
            crop = Crop(int(boxes["frame"][0]), float(boxes["time"][0]), (10, 10, 20, 40), 1.0,
                        b"picture", mean)  # fmt: skip
            tracklets.append(NewTracklet(row + 1, boxes, [crop], mean))
        writer.add(tracklets)
        writer.finish()

    return keep
