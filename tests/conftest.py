"""What tests of several packages share."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import pytest

from reid_dhm.retrieval.embeddings import EmbeddingSet

if TYPE_CHECKING:
    from reid_dhm.gallery.records import NewTracklet

# Tests share a cache of models and graphs of their own, and neither read nor fill the user's.
_HOME = tempfile.TemporaryDirectory(prefix="reid-dhm-tests-")
os.environ["REID_DHM_HOME"] = _HOME.name


@pytest.fixture(scope="module")
def browser():
    """Chromium, driven by Playwright; tests that need it are skipped where either is missing."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        pytest.skip("there is no Chromium on this machine")
    flags = [
        "--no-sandbox",
        "--disable-gpu",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-dev-shm-usage",
        "--no-first-run",
    ]
    with playwright.sync_playwright() as started:
        # Chromium's profile must not land in a home folder that cannot be written to.
        opened = started.chromium.launch(executable_path=chromium, args=flags, env=dict(os.environ))
        yield opened
        opened.close()


def _random_sets(
    rng: np.random.Generator,
    num_query: int,
    num_gallery: int,
    dim: int,
    people: int,
    cameras: int,
    values: Sequence[float] | None = None,
) -> tuple[EmbeddingSet, EmbeddingSet]:
    """Queries of people 1 …, a gallery with distractors too; entries drawn from ``values``."""

    def some(number: int, first_pid: int) -> EmbeddingSet:
        shape = (number, dim)
        embeddings = rng.standard_normal(shape) if values is None else rng.choice(values, shape)
        return EmbeddingSet(
            embeddings.astype(np.float32),
            rng.integers(first_pid, people + 1, number),
            rng.integers(0, cameras, number),
        )

    return some(num_query, 1), some(num_gallery, 0)


@pytest.fixture(scope="session")
def random_sets() -> Callable[..., tuple[EmbeddingSet, EmbeddingSet]]:
    return _random_sets


_PEOPLE, _DIM = 6, 32
_RNG = np.random.default_rng(0)
_FACES = np.linalg.qr(_RNG.standard_normal((_DIM, _PEOPLE)))[0].T


def _tracklet(track: int, person: int, start: float, seconds: float) -> NewTracklet:
    """A tracklet of a person, ten boxes a second, at a place of the person's own."""
    # Imported here, as tests of training also run where the gallery's libraries are missing.
    from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet

    boxes = np.zeros(int(10 * seconds), DETECTION)
    boxes["time"] = start + np.arange(len(boxes)) / 10
    boxes["frame"] = np.round(boxes["time"] * 10)
    boxes["box"] = np.array([40 * person, 5, 40 * person + 20, 65])
    boxes["score"] = 0.9
    jpeg = cv2.imencode(".jpg", np.full((60, 20, 3), 20 * person, np.uint8))[1].tobytes()
    rows = _FACES[person] + 0.04 * np.random.default_rng(track).standard_normal((3, _DIM))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)
    mean = rows.astype(np.float64).mean(0)
    crops = [
        Crop(int(b["frame"]), float(b["time"]), tuple(b["box"].tolist()), 0.5, jpeg, row)
        for b, row in zip(boxes[:: max(1, len(boxes) // 3)][:3], rows, strict=True)
    ]
    unit = (mean / np.linalg.norm(mean)).astype(np.float16)
    return NewTracklet(track, boxes, crops, unit)


@pytest.fixture
def people_folder(tmp_path) -> Path:
    """All six at the gate for ten seconds from 8 o'clock; 0 to 3 again at the door, an hour later.

    Tracks 1 to 6 of the gate are people 0 to 5, and track 7 is person 0, back after two minutes.
    """
    from reid_dhm.gallery.records import NewVideo, wall_clock
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.writing import VideoWriter

    path = tmp_path / "gallery"
    with GalleryStore(path, create=True) as gallery:
        gallery.claim_model("a" * 64, _DIM, "model")
        for camera, hash, clock, seen in (
            (
                "gate",
                f"{1:016x}",
                "08:00:00",
                [(person, 0.0) for person in range(6)] + [(0, 120.0)],
            ),
            ("door", f"{2:016x}", "09:00:00", [(person, 30.0) for person in range(4)]),
        ):
            begin = wall_clock(f"2026-03-01T{clock}+01:00")
            video = NewVideo(hash, f"/footage/{camera}.avi", 10.0, 320, 80, begin)
            writer = VideoWriter.open(gallery, camera, video)
            writer.add([_tracklet(n, *who, 10.0) for n, who in enumerate(seen, 1)])
            writer.finish()
    return path
