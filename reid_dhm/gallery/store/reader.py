"""What searching, reporting and serving ask of a gallery, whichever engine keeps it.

:class:`~reid_dhm.gallery.store.gallery.GalleryStore` keeps a gallery in SQLite,
:class:`~reid_dhm.gallery.shared.gallery.SharedGallery` in tables on shared storage. Each answers
the queries that end in ``...``; what follows from these stands here once.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import ModelMismatchError, NotFoundError
from reid_dhm.gallery.address import SharedAddress
from reid_dhm.gallery.records import (
    Box,
    Camera,
    Crop,
    EmbeddingPage,
    Tracklet,
    TrackletFilter,
    TrackletId,
    Video,
)

MAX_ROWS = 2**63 - 1

G = TypeVar("G", bound="GalleryReader")


class GalleryReader(Protocol):
    """An open gallery; a context manager, for one thread at a time.

    Every method raises :class:`.LockedError` or :class:`.StorageError` where the storage fails.
    """

    @property
    @abstractmethod
    def folder(self) -> Path | SharedAddress:
        """Where it lies, for messages."""

    @property
    def name(self) -> str:
        """The last part of where it lies."""
        place = self.folder
        return place.name if isinstance(place, SharedAddress) else place.resolve().name

    @property
    @abstractmethod
    def path(self) -> Path | SharedAddress:
        """The file that is damaged where a row is."""

    @abstractmethod
    def close(self) -> None:
        """Close it."""

    @abstractmethod
    def snapshot(self) -> AbstractContextManager[object]:
        """Several queries within see one state of the gallery."""

    @abstractmethod
    def model(self) -> tuple[str | None, str | None, int | None]:
        """Fingerprint, name for people and dimension of the model; None in a new gallery."""

    @abstractmethod
    def cameras(self) -> list[Camera]:
        """All cameras, by name."""

    @abstractmethod
    def videos(self) -> list[Video]:
        """All videos, in the order of their ids."""

    @abstractmethod
    def video(self, hash: str) -> Video:
        """The video of a content hash.

        Raises:
            NotFoundError: there is none.
        """

    @abstractmethod
    def count(self, where: TrackletFilter | None = None) -> int:
        """Number of tracklets that match; all of them by default."""

    @abstractmethod
    def counts(self) -> dict[int, int]:
        """Number of tracklets per video ``id``; videos without any are left out."""

    @abstractmethod
    def tracklets(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = 1000
    ) -> list[Tracklet]:
        """The next matching tracklets, by key.

        Args:
            where: conditions; all tracklets by default.
            after: the last key of the page before.
            limit: most tracklets to return.
        """

    @abstractmethod
    def tracklets_by_key(self, keys: Iterable[int]) -> list[Tracklet]:
        """The tracklets with these keys, in this order; keys that do not exist are left out."""

    @abstractmethod
    def tracklets_in_frame(self, video: str, frame: int) -> list[Tracklet]:
        """Tracklets of a video that begin at a frame or before and end there or later, by key."""

    @abstractmethod
    def boxes(self, key: int) -> NDArray[np.void]:
        """(N,) :data:`.DETECTION` of a tracklet, empty if it was deleted."""

    @abstractmethod
    def crops(self, key: int) -> list[Crop]:
        """The images of a tracklet with their embeddings, best first."""

    @abstractmethod
    def thumbnail(self, key: int) -> bytes | None:
        """The best image of a tracklet, as JPEG; None if it was deleted."""

    @abstractmethod
    def embeddings(
        self, where: TrackletFilter | None = None, after: int = 0, limit: int = 65536
    ) -> EmbeddingPage:
        """The embeddings of the next matching tracklets, by key; no rows after the last.

        Args:
            where: conditions; all tracklets by default.
            after: the last key of the page before.
            limit: most rows to return.
        """

    @abstractmethod
    def keys(self, where: TrackletFilter | None = None) -> NDArray[np.int64]:
        """(N,) keys of the matching tracklets, ascending."""

    @abstractmethod
    def frame_ends(self, video: Video, frame: int) -> list[tuple[int, float]]:
        """Frame and time where tracklets begin or end: the nearest up to a frame and after it."""

    @abstractmethod
    def thresholds_row(self) -> Sequence[Any]:
        """Fingerprint and dimension of the model, and the gallery's thresholds as JSON or None."""

    @abstractmethod
    def add_audit_row(self, time: str, actor: str, action: str, detail: str) -> None:
        """Add an entry to the audit log; see :func:`.audit.record`."""

    @abstractmethod
    def audit_rows(
        self, limit: int, after: str | None = None, before: str | None = None
    ) -> list[Sequence[Any]]:
        """Number, time, actor, action and detail of the newest entries, newest first.

        Args:
            limit: most entries to return.
            after, before: only entries of this span, both ends included, ISO 8601 in UTC.
        """

    @abstractmethod
    def person_rows(
        self, who: str | int | None = None, first: int = 0, last: int = MAX_ROWS
    ) -> list[Sequence[Any]]:
        """Number, name, tracklets, confirmed tracklets and whether hidden, by number.

        Args:
            who: the person of a name or else of a number; None for all
            first, last: with numbers from here to there.
        """

    # What follows from these

    def __enter__(self: G) -> G:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def fingerprint(self) -> str | None:
        """Of the model that made the embeddings; None in a new gallery."""
        return self.model()[0]

    @property
    def dim(self) -> int | None:
        """Length D of an embedding; None in a new gallery."""
        return self.model()[2]

    def check_model(self, fingerprint: str, dim: int) -> None:
        """Refuse a model whose embeddings cannot be compared with the gallery's.

        Raises:
            ModelMismatchError: another model's.
        """
        owner, model, own_dim = self.model()
        if owner is not None and (owner, own_dim) != (fingerprint, dim):
            raise ModelMismatchError(
                f"{self.folder} holds embeddings of another model ({model}, fingerprint "
                f"{owner[:12]}, {own_dim} dimensions; this one's is {fingerprint[:12]}, {dim}): "
                "use that model, or index into another folder"
            )

    def check_filter(self, where: TrackletFilter | None) -> None:
        """Refuse a filter that names what is not there.

        Raises:
            NotFoundError: a camera or video that is not there.
        """
        for name in where.cameras if where else ():
            self.camera(name)
        for hash in where.videos if where else ():
            self.video(hash)

    def camera(self, name: str) -> Camera:
        """The camera of a name.

        Raises:
            NotFoundError: there is none; the message lists those there are.
        """
        cameras = {camera.name: camera for camera in self.cameras()}
        if name in cameras:
            return cameras[name]
        known = ", ".join(cameras) or "none"
        raise NotFoundError(f"{self.folder} has no camera {name!r}: it has {known}")

    def tracklet(self, id: TrackletId | str) -> Tracklet:
        """The tracklet of an id.

        Raises:
            NotFoundError: there is none.
        """
        wanted = TrackletId.parse(id) if isinstance(id, str) else id
        for found in self.tracklets(TrackletFilter(tracklets=[wanted])):
            return found
        raise NotFoundError(
            f"{self.folder} has no tracklet {wanted}: reid-dhm gallery list tracklets shows them"
        )

    def seen_in_frame(self, video: str, frame: int) -> list[tuple[Tracklet, Box]]:
        """The people in a frame of a video, each with the box in that frame."""
        seen = []
        for tracklet in self.tracklets_in_frame(video, frame):
            boxes = self.boxes(tracklet.key)
            here = boxes["box"][boxes["frame"] == frame].tolist()
            seen += [(tracklet, (x1, y1, x2, y2)) for x1, y1, x2, y2 in here]
        return seen

    def pages(
        self, where: TrackletFilter | None = None, limit: int = 65536, after: int = 0
    ) -> Iterator[EmbeddingPage]:
        """All embeddings above a key, page after page; new tracklets come at the end."""
        while len((page := self.embeddings(where, after, limit)).keys):
            yield page
            after = int(page.keys[-1])

    def _no_video(self, hash: str) -> NotFoundError:
        return NotFoundError(
            f"{self.folder} has no video {hash[:60]!r}: reid-dhm gallery list shows its videos"
        )
