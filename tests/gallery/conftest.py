"""Galleries with given embeddings, short synthetic footage, and galleries indexed from it."""

import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.ingest import IndexingSummary, ingest
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.records import DETECTION, FRAME, Crop, NewTracklet, NewVideo
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter
from reid_dhm.gallery.track.crops import cut, decode_jpeg, encode_jpeg
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.synthetic.clips import Clip, write_clips

MODEL = "c0ffee" * 10
_IMAGE = encode_jpeg(np.full((40, 16, 3), 128, np.uint8))

Keep = Callable[..., None]
Embed = Callable[[Sequence[np.ndarray]], np.ndarray]


def unit_rows(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.fixture
def empty(tmp_path) -> Iterator[GalleryStore]:
    """A new gallery of no model yet."""
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        yield gallery


@pytest.fixture(scope="session")
def keep() -> Keep:
    """Puts a finished video into a gallery, one tracklet a row of (N, D) embeddings."""

    def keep(
        gallery: GalleryStore,
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
                        _IMAGE, mean)  # fmt: skip
            tracklets.append(NewTracklet(row + 1, boxes, [crop], mean))
        writer.add(tracklets)
        writer.finish()

    return keep


@dataclass(frozen=True)
class Film:
    """160x120 at 10 frames a second; black and white squares on top say which frame it is.

    Attributes:
        path: the file.
        boxes: of each person, by colour; ``red`` is there from frame 5 to 30, ``blue`` from 10 to
            35, each 20 pixels wide and 60 high, and of one colour.
    """

    path: Path
    boxes: dict[str, np.ndarray]

    @staticmethod
    def number(image: np.ndarray) -> int:
        """Which frame it is."""
        bits = [image[4:12, 16 * bit + 4 : 16 * bit + 12].mean() > 128 for bit in range(6)]
        return sum(int(set_) << bit for bit, set_ in enumerate(bits))


NUM_FRAMES = 40
COLOURS = {"red": (30, 30, 220), "blue": (220, 60, 30)}  # BGR


def _walk(first: int, last: int, start: float, speed: float) -> np.ndarray:
    boxes = np.zeros(last - first + 1, DETECTION)
    boxes["frame"] = np.arange(first, last + 1)
    boxes["time"] = boxes["frame"] / 10
    left = start + speed * np.arange(len(boxes))
    boxes["box"] = np.stack([left, 0 * left + 40, left + 20, 0 * left + 100], axis=1)
    boxes["score"] = 0.9
    return boxes


@pytest.fixture(scope="session")
def film(tmp_path_factory) -> Film:
    """Two people crossing the view."""
    boxes = {"red": _walk(5, 30, 20, 4), "blue": _walk(10, 35, 130, -4)}
    path = tmp_path_factory.mktemp("film") / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for number in range(NUM_FRAMES):
        image = np.full((120, 160, 3), 90, np.uint8)
        for bit in range(6):
            image[:16, 16 * bit : 16 * bit + 16] = 255 * (number >> bit & 1)
        for name, walk in boxes.items():
            for x1, y1, x2, y2 in walk["box"][walk["frame"] == number].astype(int):
                image[y1:y2, x1:x2] = COLOURS[name]
        writer.write(image)
    writer.release()
    return Film(path, boxes)


def mean_colour(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 3) unit rows: the mean RGB of each image, less grey."""
    rows = np.array([image.mean((0, 1)) - 100 for image in images])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


@pytest.fixture(scope="session")
def keep_film(film) -> Keep:
    """Puts the film into a gallery as one would have indexed it: red is track 1, blue track 2."""

    def keep_film(
        gallery: GalleryStore,
        embed: Embed = mean_colour,
        model: str = MODEL,
        start_time: datetime | None = None,
        path: Path = film.path,
        step: int = 1,
    ) -> None:
        capture = cv2.VideoCapture(str(film.path))
        images = [capture.read()[1] for _ in range(NUM_FRAMES)]
        tracklets = []
        for track, boxes in enumerate(film.boxes.values(), 1):
            seen = boxes[::step]
            some = seen[[len(seen) // 2, 1]]
            jpegs = [encode_jpeg(cut(images[b["frame"]], b["box"])) for b in some]
            rows = unit_rows(embed([decode_jpeg(jpeg) for jpeg in jpegs]))
            crops = [
                Crop(int(b["frame"]), float(b["time"]), tuple(b["box"].tolist()), 0.9, jpeg, row)
                for b, jpeg, row in zip(some, jpegs, rows, strict=True)
            ]
            mean = unit_rows(rows.astype(np.float64).mean(0)[None])[0]
            tracklets.append(NewTracklet(track, seen, crops, mean))
        gallery.claim_model(model, len(tracklets[0].mean), "colours")
        video = NewVideo(content_hash([path]), str(path), 10.0, 160, 120, start_time)
        writer = VideoWriter.open(gallery, "gate", video)
        looked = np.zeros(NUM_FRAMES, FRAME)
        looked["frame"] = np.arange(NUM_FRAMES)
        everything = np.concatenate(list(film.boxes.values()))
        writer.commit(Progress(Chunk(looked, everything), NUM_FRAMES, {}, tracklets))
        writer.finish()

    return keep_film


STRIPES = 6
DIM = 3 * STRIPES

Index = Callable[..., IndexingSummary]


def stripes(images: Sequence[np.ndarray]) -> np.ndarray:
    """(N, 18) unit rows: the mean colour of six stripes of each image, from top to bottom."""
    rows = [
        [stripe.mean(axis=(0, 1)) - 128 for stripe in np.array_split(image, STRIPES)]
        for image in images
    ]
    flat = np.array(rows, np.float32).reshape(len(images), DIM)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


class Halves:
    """Another model: the mean colours of the upper and the lower half."""

    fingerprint, dim = "bead" * 16, 6

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        rows = stripes(images).reshape(len(images), 2, 3, 3).mean(axis=2).reshape(-1, self.dim)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="session")
def embed() -> Embed:
    """:func:`stripes`."""
    return stripes


@pytest.fixture(scope="session")
def halves() -> Halves:
    return Halves()


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
    ) -> IndexingSummary:
        dim = getattr(embed, "dim", DIM)
        gallery.claim_model(getattr(embed, "fingerprint", MODEL), dim, "stripes")
        return ingest(
            gallery,
            camera,
            source or open_source(str(video)),
            build_detector(detector),
            embed,
            IndexingOptions(chunk=chunk, tracks=tracks or TrackSettings(), **options),
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
