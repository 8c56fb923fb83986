"""Short made-up footage, and an embedder that tells people apart by their colours."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.ingest import Options, Summary, ingest
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.tracklets import Embed, TrackSettings
from reid_dhm.synthetic.clips import Clip, write_clips

MODEL = "c0ffee" * 10
STRIPES = 6
DIM = 3 * STRIPES

Index = Callable[..., Summary]


def stripes(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 18) unit rows: the mean colour of six stripes of each image, from top to bottom."""
    rows = [
        [stripe.mean(axis=(0, 1)) - 128 for stripe in np.array_split(image, STRIPES)]
        for image in images
    ]
    flat = np.array(rows, np.float32).reshape(len(images), DIM)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def embed() -> Embed:
    """:func:`stripes`."""
    return stripes


@pytest.fixture(scope="session")
def clips(tmp_path_factory) -> list[Clip]:
    """Two cameras, two people, about nine seconds each."""
    folder = tmp_path_factory.mktemp("clips")
    return write_clips(folder, num_people=2, pause=2.0, size=(120, 214), seed=3)


@pytest.fixture(scope="session")
def index() -> Index:
    """Indexes one clip's video into a gallery."""

    def index(
        gallery: GalleryStore,
        video: Path | str,
        camera: str = "gate",
        detector: str = "motion",
        chunk: int = 16,
        source=None,
        start=None,
        embed=stripes,
        tracks: TrackSettings | None = None,
        **options,
    ) -> Summary:
        gallery.claim_model(MODEL, DIM, "stripes")
        return ingest(
            gallery,
            camera,
            source or open_source(str(video)),
            build_detector(detector),
            embed,
            Options(chunk=chunk, tracks=tracks or TrackSettings(), **options),
            start,
        )

    return index


@pytest.fixture(scope="session")
def _indexed_once(tmp_path_factory, clips, index) -> Path:
    folder = tmp_path_factory.mktemp("indexed") / "gallery"
    with GalleryStore(folder, create=True) as gallery:
        for clip in clips:
            index(gallery, clip.path, f"camera {clip.camid}")
    return folder


@pytest.fixture
def indexed(tmp_path, _indexed_once):
    """A gallery of both clips, for the test to change."""
    shutil.copytree(_indexed_once, tmp_path / "indexed")
    with GalleryStore(tmp_path / "indexed") as gallery:
        yield gallery
