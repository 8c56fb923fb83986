"""A small gallery of people in plain colours, and a service over it without a network."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import supervision as sv
from fastapi.testclient import TestClient

from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo, TrackletId
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter
from reid_dhm.models.card import ModelCard
from reid_dhm.service.app import create_app
from reid_dhm.service.auth import Role, Tokens
from reid_dhm.service.middleware.limits import Limits
from reid_dhm.service.models import OpenModel
from reid_dhm.service.server import build_server, listen
from reid_dhm.service.state import Service

TOKEN = "a-token-that-nobody-guesses"
WIDTH, HEIGHT, FPS, FRAMES = 320, 240, 10.0, 40
START = datetime(2026, 3, 1, 8, 30, tzinfo=timezone(timedelta(hours=1)))

# Shirt and trousers, RGB.
PEOPLE = {
    "anna": ((220, 40, 40), (40, 40, 200)),
    "bert": ((40, 180, 60), (230, 220, 60)),
    "cleo": ((240, 240, 240), (20, 20, 20)),
    "dora": ((150, 60, 190), (120, 120, 120)),
}


class ColourEmbedder:
    """The mean colours of the upper and the lower half, less grey: six numbers."""

    dim = 6
    fingerprint = "colours" * 9

    def __init__(self) -> None:
        self.card = ModelCard("resnet18", num_classes=2, size=(64, 32))
        self.batches: list[int] = []

    def __call__(self, images: Sequence[np.ndarray]) -> np.ndarray:
        self.batches.append(len(images))
        rows = [
            np.concatenate([half.reshape(-1, 3).mean(0) for half in np.array_split(p, 2)]) - 127.4
            for p in images
        ]
        rows = np.array(rows, np.float32).reshape(-1, 6)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


class Walk(NamedTuple):
    """Somebody crossing a video from left to right."""

    person: str
    first: int
    last: int
    top: int

    def box(self, frame: int) -> tuple[int, int, int, int]:
        x = 10 + (frame - self.first) * 7
        return x, self.top, x + 32, self.top + 80

    def frames(self) -> range:
        return range(self.first, self.last + 1)


def person_image(name: str, height: int = 80, width: int = 32) -> np.ndarray:
    """(height, width, 3) uint8 RGB of somebody."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = PEOPLE[name]
    return image


def jpeg(image: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", image[:, :, ::-1])[1].tobytes()


def _write_video(path: Path, walks: Sequence[Walk]) -> list[np.ndarray]:
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), FPS, (WIDTH, HEIGHT))
    frames = []
    for number in range(FRAMES):
        frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        frame[:, number * 8 : number * 8 + 2] = 130  # tells one frame from the next
        for walk in walks:
            if number in walk.frames():
                x1, y1, x2, y2 = walk.box(number)
                frame[y1:y2, x1:x2] = person_image(walk.person)
        frames.append(frame)
        writer.write(frame[:, :, ::-1])
    writer.release()
    return frames


def add_video(
    gallery: GalleryStore,
    path: Path,
    camera: str,
    walks: Sequence[Walk],
    start: datetime | None,
    embed,
) -> list[TrackletId]:
    """Index a video of people whose ways are known."""
    frames = _write_video(path, walks)
    hash = content_hash([path])
    writer = VideoWriter.open(
        gallery, camera, NewVideo(hash, str(path), FPS, WIDTH, HEIGHT, start, settings={})
    )
    tracklets = []
    for track, walk in enumerate(walks, 1):
        boxes = np.array([(n, n / FPS, walk.box(n), 0.9) for n in walk.frames()], DETECTION)
        crops = []
        for number in (walk.first + 5, walk.last - 2):
            x1, y1, x2, y2 = walk.box(number)
            image = frames[number][y1:y2, x1:x2]
            box = tuple(map(float, walk.box(number)))
            row = embed([image])[0].astype(np.float16)
            crops.append(Crop(number, number / FPS, box, 0.8, jpeg(image), row))
        tracklets.append(NewTracklet(track, boxes, crops, crops[0].embedding))
    empty = Chunk(np.empty(0, [("frame", "<i4"), ("time", "<f8")]), np.empty(0, DETECTION))
    writer.commit(Progress(empty, FRAMES, {}, tracklets))
    writer.finish()
    return [TrackletId(hash, tracklet.track) for tracklet in tracklets]


class Site(NamedTuple):
    """A gallery and who is in it: ids by camera and person."""

    folder: Path
    ids: dict[tuple[str, str], str]


def build_site(folder: Path, embedder) -> Site:
    """Anna and Bert at the gate with wall-clock time, Anna, Cleo and Dora in the yard without."""
    ways = {
        "gate": [Walk("anna", 0, 25, 20), Walk("bert", 10, 39, 120)],
        "yard": [Walk("cleo", 0, 20, 20), Walk("anna", 12, 39, 120), Walk("dora", 20, 39, 20)],
    }
    ids = {}
    with GalleryStore(folder / "site", create=True) as gallery:
        gallery.claim_model(embedder.fingerprint, embedder.dim, "of a test")
        for camera, walks in ways.items():
            start, path = START if camera == "gate" else None, folder / f"{camera}.avi"
            added = add_video(gallery, path, camera, walks, start, embedder)
            for walk, id in zip(walks, added, strict=True):
                ids[camera, walk.person] = str(id)
    return Site(folder / "site", ids)


@pytest.fixture
def site(tmp_path) -> Site:
    """A gallery whose embeddings are colours."""
    return build_site(tmp_path, ColourEmbedder())


class ColourDetector:
    """Finds whatever is not grey."""

    stateful = False

    def __init__(self) -> None:
        self.settings = {"detector": "colours"}

    def detect(self, frame: Frame) -> sv.Detections:
        image = frame.image.astype(int)
        coloured = np.ptp(image, axis=2) > 40
        if not coloured.any():
            return sv.Detections.empty()
        rows, columns = np.flatnonzero(coloured.any(1)), np.flatnonzero(coloured.any(0))
        box = [columns[0], rows[0], columns[-1] + 1, rows[-1] + 1]
        return sv.Detections(np.array([box], np.float32), confidence=np.ones(1, np.float32))


@pytest.fixture
def detector() -> ColourDetector:
    return ColourDetector()


@pytest.fixture
def embedder() -> ColourEmbedder:
    return ColourEmbedder()


Connect = Callable[..., TestClient]


@pytest.fixture
def connect(site, embedder) -> Iterator[Connect]:
    """Opens a service over the site and a client of it."""
    clients = []

    def connect(
        tokens: dict[str, str] | None = None,
        host: str = "127.0.0.1",
        names: Sequence[str] = (),
        limits: Limits = Limits(),  # noqa: B008 (frozen)
        waiting: int = 64,
        thresholds: Thresholds | None = None,
        detector: Detector | None = None,
        reopen: OpenModel | None = None,
        base_url: str = "http://127.0.0.1:8000",
        roles: dict[str, Role] | None = None,
    ) -> TestClient:
        secrets = Tokens(tokens or {}, roles)
        service = Service.open(
            *(site.folder, embedder, secrets, thresholds, detector),
            waiting=waiting,
            reopen=reopen,
        )
        client = TestClient(create_app(service, host, names, limits), base_url=base_url)
        clients.append(client.__enter__())
        return client

    yield connect
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture
def client(connect) -> TestClient:
    """Of a service that asks for no token."""
    return connect()


class Serve:
    """Runs services over the site on free ports of the loopback address, each in a thread."""

    def __init__(self, folder: Path, embedder) -> None:
        self._folder, self._embedder = folder, embedder
        self._servers, self._threads, self._sockets = [], [], []

    def __call__(
        self,
        tokens: dict[str, str] | None = None,
        embed=None,
        detector=None,
        certificate=None,
        roles: dict[str, Role] | None = None,
        **options,
    ) -> str:
        """Run one and give its address."""
        service = Service.open(
            self._folder, embed or self._embedder, Tokens(tokens or {}, roles), detector=detector
        )
        bound, ready = listen("127.0.0.1", 0), threading.Event()
        limits = options.get("limits", Limits())
        server = build_server(create_app(service, **options), certificate, ready.set, limits)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]})
        thread.start()
        self._servers.append(server)
        self._threads.append(thread)
        self._sockets.append(bound)
        assert ready.wait(60)
        return f"http://127.0.0.1:{bound.getsockname()[1]}"

    def stop(self) -> None:
        for server in self._servers:
            server.should_exit = True

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()
        for bound in self._sockets:
            bound.close()


@pytest.fixture
def serve(site, embedder) -> Iterator[Serve]:
    """Runs services over the site."""
    serve = Serve(site.folder, embedder)
    yield serve
    serve.stop()
    serve.join()


@pytest.fixture
def image_of() -> Callable[..., bytes]:
    """JPEGs of people."""

    def image_of(name: str, height: int = 80, width: int = 32) -> bytes:
        return jpeg(person_image(name, height, width))

    return image_of


@pytest.fixture
def person_beside() -> Callable[..., bytes]:
    """JPEGs of two people side by side, each 32 pixels wide."""

    def person_beside(left: str, right: str) -> bytes:
        return jpeg(np.hstack([person_image(left), person_image(right)]))

    return person_beside


@pytest.fixture
def real_embedder():
    """The network of the package, as the command line uses it."""
    from reid_dhm.inference.default import DEFAULT_CHECKPOINT
    from reid_dhm.inference.embedder import Embedder

    return Embedder(DEFAULT_CHECKPOINT, precision="float32")


@pytest.fixture
def real_site(tmp_path, real_embedder) -> Site:
    """A gallery of the package's network."""
    return build_site(tmp_path, real_embedder)


@pytest.fixture
def serve_real(real_site, real_embedder) -> Iterator[tuple[str, Site]]:
    """A running service with the network of the package, and its site."""
    serve = Serve(real_site.folder, real_embedder)
    yield serve(), real_site
    serve.stop()
    serve.join()


@pytest.fixture
def scene_of() -> Callable[..., bytes]:
    """JPEGs of a grey place, 320 wide and 240 tall, with somebody at a corner or nobody."""

    def scene_of(name: str | None, corner: tuple[int, int]) -> bytes:
        scene = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        if name is not None:
            x, y = corner
            scene[y : y + 80, x : x + 32] = person_image(name)
        return jpeg(scene)

    return scene_of


# Width, height and colour scheme of who visits the page.
VISITORS = {"desk": (1280, 900, "light"), "phone": (390, 844, "dark")}


class Visit:
    """A page under watch: every complaint of the browser is kept."""

    def __init__(self, page, serve: Callable[..., str]) -> None:
        self.page = page
        self.faults: list[str] = []
        self.addresses: list[str] = []
        self._serve = serve
        page.set_default_timeout(30_000)
        page.on("console", self._on_console)
        page.on("pageerror", lambda error: self.faults.append(str(error)))
        page.on("requestfailed", self._on_failure)
        page.on("request", lambda request: self.addresses.append(request.url))

    def _on_console(self, message) -> None:
        if message.type in ("error", "warning"):
            self.faults.append(message.text)

    def _on_failure(self, request) -> None:
        if request.failure != "net::ERR_ABORTED":  # stepping on aborts what is on its way
            self.faults.append(f"{request.url} {request.failure}")

    def open(self, **options):
        self.page.goto(self._serve(**options))
        return self.page

    def upload(self, tmp_path: Path, *images: bytes) -> None:
        files = []
        for number, image in enumerate(images):
            files.append(tmp_path / f"{number}.jpg")
            files[-1].write_bytes(image)
        self.page.locator("#files").set_input_files(files)


@pytest.fixture(params=VISITORS.values(), ids=VISITORS.keys())
def visit(request, browser, serve) -> Iterator[Visit]:
    """A visitor of each kind; the test fails on any complaint of the browser."""
    width, height, scheme = request.param
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, has_touch=width < 500
    )
    watched = Visit(context.new_page(), serve)
    yield watched
    fits = "document.documentElement.scrollWidth <= innerWidth"
    assert watched.page.evaluate(fits), "the page is wider than its window"
    context.close()
    assert watched.faults == []
