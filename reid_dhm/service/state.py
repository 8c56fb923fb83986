"""What all requests share: connections, the index, the embedding queue, open videos."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from reid_dhm.data.images import resize_image
from reid_dhm.errors import LockedError, StorageError
from reid_dhm.gallery.address import shared_address
from reid_dhm.gallery.index.opening import GalleryIndex, index_of
from reid_dhm.gallery.opening import in_folder
from reid_dhm.gallery.search.query_image import QueryCrop, check_stateless, crop_query
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.reader import GalleryReader
from reid_dhm.service.auth import Role, Sessions, SignedSessions, Tokens
from reid_dhm.service.connections import Connections
from reid_dhm.service.errors import Busy, Problem
from reid_dhm.service.frames.frames import Frames
from reid_dhm.service.health import Health
from reid_dhm.service.middleware.metrics import Metrics
from reid_dhm.service.models import ImageEmbedder, OpenModel, ServedModel, ServedModels

if TYPE_CHECKING:
    from reid_dhm.evaluation.thresholds import Thresholds
    from reid_dhm.gallery.detect.protocol import Detector
    from reid_dhm.gallery.records import Box


logger = logging.getLogger(__name__)

_RETRY_SECONDS = 10.0
_WRITE_SECONDS = 10.0  # that a request waits for the writes of others


@dataclass
class Service:
    """A running service.

    Attributes:
        connections: to the gallery.
        index: over its embeddings.
        models: that embed queries.
        tokens: that open the service.
        detector: finds people in images; None without.
        sessions: of people who signed in.
        frames: of the gallery's videos.
        metrics: for Prometheus.
        health: of the gallery.
    """

    connections: Connections
    index: GalleryIndex
    models: ServedModels
    tokens: Tokens
    detector: Detector | None = None
    sessions: Sessions | SignedSessions = field(default_factory=Sessions)
    frames: Frames = field(default_factory=Frames)
    metrics: Metrics = field(default_factory=Metrics)
    health: Health = field(init=False)
    _writing: threading.Lock = field(default_factory=threading.Lock)
    _locked_at: float = 0.0
    _linking: threading.Lock = field(default_factory=threading.Lock)
    _detecting: threading.Lock = field(default_factory=threading.Lock)
    _overwriting: threading.Lock = field(default_factory=threading.Lock)
    _closed: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.health = Health(self.connections.folder)

    @classmethod
    def open(
        cls,
        folder: Path,
        embedder: ImageEmbedder,
        tokens: Tokens,
        thresholds: Thresholds | None = None,
        detector: Detector | None = None,
        index: str = "Flat",
        waiting: int = 64,
        reopen: OpenModel | None = None,
    ) -> Service:
        """Open a gallery for a service.

        Args:
            folder: the gallery.
            embedder: of the gallery's model.
            tokens: that open the service.
            thresholds: of the gallery's model.
            detector: finds the person in images without a box.
            index: kind of index.
            waiting: images that may wait in the embedding queue.
            reopen: opens the model that the gallery moves to while the service runs.

        Raises:
            NotFoundError: there is no gallery.
            ModelMismatchError: another model's gallery.
            UnsupportedError: a detector that needs a whole video.
            InputError: an unknown kind of index.
        """
        # The whole path, so that replacing it in messages changes no other word.
        shared = shared_address(folder) is not None
        connections = Connections(folder if shared else folder.resolve())
        metrics = Metrics()
        with connections.lend() as gallery:
            gallery.check_model(embedder.fingerprint, embedder.dim)
            live = index_of(gallery, index)
        if detector is not None:
            check_stateless(detector)
        with connections.lend() as gallery:
            if gallery.count():
                live.opened(gallery)  # so that the first search need not wait for it

        models = ServedModels(embedder, thresholds, waiting, metrics, reopen)
        sessions = SignedSessions(tokens) if shared else Sessions()
        return cls(connections, live, models, tokens, detector, sessions, metrics=metrics)

    def close(self) -> None:
        """Finish the embedding queue and close everything."""
        self._closed.set()
        self.models.close()
        self.frames.forget()
        self.connections.close()

    @property
    def name(self) -> str:
        """Name of the gallery's folder."""
        return self.connections.folder.name

    @contextmanager
    def gallery(self) -> Iterator[GalleryReader]:
        """A connection for the calling thread."""
        with self.connections.lend() as gallery:
            yield gallery

    @contextmanager
    def folder(self) -> Iterator[GalleryStore]:
        """As :meth:`gallery`, for what only a gallery in a folder can do.

        Raises:
            UnsupportedError: a shared gallery.
        """
        with self.gallery() as gallery:
            yield in_folder(gallery)

    @contextmanager
    def searcher(self, model: ServedModel | None = None) -> Iterator[Searcher]:
        """A searcher for the calling thread; all share the index.

        Args:
            model: that embedded the query; None for a search by tracklets.
        """
        with self.connections.lend() as gallery:
            if model is None:
                yield Searcher(gallery, self.index, self.models.thresholds(gallery))
            else:
                yield Searcher(gallery, self.index, model.thresholds, model.fingerprint)

    def model(self) -> ServedModel:
        """The model of the gallery's embeddings as they are now."""
        with self.connections.lend() as gallery:
            return self.models.of(gallery)

    def crop(self, image: NDArray[np.uint8], box: Box | None, name: str) -> QueryCrop:
        """The person in an image, no larger than the network's input.

        So small, it may wait in the queue; the embedder resizes in the same way.

        Raises:
            InputError: as :func:`.crop_query`.
        """
        with self._detecting:
            crop = crop_query(image, box, self.detector, name)
        height, width = size = self.models.held.input_size
        if crop.pixels.shape[0] <= height and crop.pixels.shape[1] <= width:
            return crop
        return replace(crop, pixels=resize_image(crop.pixels, size))

    @contextmanager
    def writing(self) -> Iterator[GalleryReader]:
        """A connection to write with: threads queue here, not at SQLite, which polls.

        When another process keeps the gallery locked, all that queue fail together instead of
        waiting one after the other.

        Raises:
            LockedError: another process keeps the gallery locked.
        """
        queued = time.monotonic()
        if not self._writing.acquire(timeout=_WRITE_SECONDS):
            raise LockedError("too many requests write to the gallery: try again in a moment")
        try:
            if self._locked_at > queued:
                raise LockedError("the gallery is locked by another process")
            with self.connections.lend() as gallery:
                yield gallery
        except LockedError:
            self._locked_at = time.monotonic()
            raise
        finally:
            self._writing.release()

    @contextmanager
    def writing_in_folder(self) -> Iterator[GalleryStore]:
        """As :meth:`writing`, for what only a gallery in a folder can do.

        Raises:
            UnsupportedError: a shared gallery.
        """
        with self.writing() as gallery:
            yield in_folder(gallery)

    @contextmanager
    def linking(self) -> Iterator[None]:
        """The right to find people anew, which one request has at a time.

        Raises:
            Busy: another request has it.
        """
        if not self._linking.acquire(blocking=False):
            raise Busy("the people of the gallery are being found already: try again in a moment")
        try:
            yield
        finally:
            self._linking.release()

    def overwrite(self) -> bool:
        """Remove deleted data from the write-ahead log as well; False if that has to wait.

        A process that reads the gallery keeps the log; then it is tried again until it succeeds or
        the service ends.
        """
        if self._overwrite_now():
            return True
        threading.Thread(target=self._overwrite_later, name="overwriting", daemon=True).start()
        return False

    def _overwrite_now(self) -> bool:
        try:
            with self.writing() as gallery:
                return not isinstance(gallery, GalleryStore) or gallery.empty_log()
        except (LockedError, StorageError) as error:  # the deletion itself is done
            logger.warning("%s", error)
            return False

    def _overwrite_later(self) -> None:
        if not self._overwriting.acquire(blocking=False):
            return  # another thread does it for this deletion too
        try:
            while not self._closed.wait(_RETRY_SECONDS):
                if self._overwrite_now():
                    return
        finally:
            self._overwriting.release()

    def record(self, action: str, detail: Mapping[str, Any], actor: str) -> None:
        """Write an action into the audit log."""
        with self.writing() as gallery:
            audit.record(gallery, action, detail, actor)


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _actor(request: Request) -> str:
    actor: str = request.state.actor
    return actor


def requires(least: Role) -> Any:
    """A dependency that refuses requests of a lower role.

    Args:
        least: the lowest role that may pass.
    """

    def check(request: Request) -> None:
        role: Role = request.state.role
        if role < least:
            raise Problem(
                403, f"a token of a {role.word} does not allow this: it takes one of {least.word}s"
            )

    return Depends(check)


def _abandoned(request: Request) -> Callable[[], bool]:
    is_set: Callable[[], bool] = request.state.disconnected.is_set
    return is_set


ServiceDep = Annotated[Service, Depends(_service)]
ActorDep = Annotated[str, Depends(_actor)]
"""The name for the audit log: the owner of the token, or the client's address."""
AbandonedDep = Annotated[Callable[[], bool], Depends(_abandoned)]
"""Whether the client of a request with a body has hung up."""
