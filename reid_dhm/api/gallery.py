"""A gallery of people seen in video: indexing footage and searching it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import cached_property
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np

from reid_dhm.api.html import table
from reid_dhm.api.images import Channels, Image, as_images, to_rgb
from reid_dhm.api.people import PeopleMethods, as_id
from reid_dhm.data.images import read_image
from reid_dhm.devices import check_device_name
from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.protocol import Detector
from reid_dhm.gallery.index.factory import check_kind
from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.ingest.ingest import IndexingSummary
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.ingest.reembed import reembed
from reid_dhm.gallery.people.comparison.known_pairs import APART
from reid_dhm.gallery.people.comparison.model_comparison import ModelComparison, compare_models
from reid_dhm.gallery.records import Box, Tracklet, TrackletFilter, wall_clock
from reid_dhm.gallery.search.candidates import Candidate, Candidates
from reid_dhm.gallery.search.match_thresholds import open_thresholds
from reid_dhm.gallery.search.query_image import QueryCrop, crop_query, default_finder
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.settings import TrackSettings
from reid_dhm.inference.checkpoint_file import find_checkpoint, model_name
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.named import openers

__all__ = ["Candidate", "Candidates", "Gallery", "ModelComparison"]


class Gallery(PeopleMethods):
    """People seen in video; a context manager. For one thread: open another for every thread.

    Args:
        folder: where it lies; created if it does not exist.
        checkpoint: the model that embeds people, always the same one: as for
            ``Embedder``; None for the model of the package.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        index: ``Flat`` is exact; a FAISS factory string is faster in millions of tracklets.
        thresholds: a ``thresholds.json`` of the model, for match probabilities; by default those
            found in the gallery itself count (``Gallery.link``, ``Gallery.calibrate``).
        backbone, size, neck, input: for checkpoints without a card, as for ``Embedder``.

    Raises:
        InputError: an unknown device or kind of index, a folder that cannot hold a gallery, or a
            damaged one.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        checkpoint: str | PathLike[str] | None = None,
        *,
        device: str = "auto",
        index: str = "Flat",
        thresholds: str | PathLike[str] | None = None,
        backbone: str | None = None,
        size: tuple[int, int] | None = None,
        neck: str | None = None,
        input: str | None = None,
    ) -> None:
        check_device_name(device)
        check_kind(index)
        self.store = GalleryStore(Path(folder).expanduser(), create=True)
        self._checkpoint = None if checkpoint is None else Path(checkpoint)
        self._device = device
        self._index = index
        self._thresholds = None if thresholds is None else Path(thresholds).expanduser()
        self._details = (backbone, size, neck, input)

    def index(
        self,
        source: str | PathLike[str],
        camera: str,
        *,
        detector: str | Detector = "motion",
        confidence: float | None = None,
        start: str | datetime | None = None,
        fps: float | None = None,
        stride: int = 1,
        begin: float = 0.0,
        end: float | None = None,
        tracker: str = "auto",
        track_confidence: float | None = None,
        join: bool = True,
        patience: float = 300.0,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> IndexingSummary:
        """Find the people in a video and store who was where and when.

        An interrupted run is continued; indexing the same video twice adds nothing.

        Args:
            source: a video, a folder or glob of frames, a stream's address or a webcam's number.
            camera: name of the camera; created if it is new.
            detector: a name of ``reid-dhm models``, an ``.onnx`` or ``.xml`` file, ``FAMILY:FILE``,
                ``torchvision:NAME[:WEIGHTS]``, ``mot:FILE`` or ``motion``; or an
                object with ``detect(frame)``, ``settings`` and ``stateful``.
            confidence: lowest score of a box; the detector's own by default.
            start: wall-clock time of the first frame, ISO 8601; UTC without an offset.
            fps: frame rate of an image sequence, or to override a wrong header.
            stride: process every so many frames.
            begin, end: seconds from the start of the source.
            tracker: ``bytetrack`` or ``sort``; ``none``, every person in every frame is a tracklet;
                ``auto``, ``none`` where frames are a second apart or more, else ``bytetrack``.
            track_confidence: lowest score of a box that begins a track, 0 to 1; the detector's
                own by default.
            join: join the pieces of a track whose person was hidden for a moment.
            patience: seconds to try to reconnect to a live stream.
            on_progress: called with the frames done and in all (0 if unknown).

        Returns:
            Counts of frames, detections and tracklets, and the content hashes of the videos.

        Raises:
            InputError: an unusable source, detector or setting, or a video that was indexed with
                other settings.
            ModelMismatchError: the gallery was made with another model.
        """
        return index_video(
            *(self.store, source, camera, self._embedder, model_name(self._checkpoint)),
            detector=detector,
            confidence=confidence,
            options=IndexingOptions(
                stride, begin, end, TrackSettings(tracker, track_confidence, join=join)
            ),
            start=start,
            fps=fps,
            patience=patience,
            report=on_progress,
        )

    def reembed(
        self,
        checkpoint: str | PathLike[str] | None = None,
        *,
        backbone: str | None = None,
        size: tuple[int, int] | None = None,
        neck: str | None = None,
        input: str | None = None,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> int:
        """Embed everybody with another model, from the stored images; it is the gallery's then.

        Others who read the gallery see the old embeddings until all new ones are there. An
        interrupted run is continued by the next one.

        Args:
            checkpoint: the new model, as for ``Embedder``; None for the model of the package.
            backbone, size, neck, input: for checkpoints without a card, as for ``Embedder``.
            on_progress: called with the tracklets done and all of them.

        Returns:
            Number of tracklets embedded; 0 if the embeddings were this model's already.

        Raises:
            InputError: an unusable checkpoint, or a gallery without embeddings.
        """
        details = (backbone, size, neck, input)
        path = None if checkpoint is None else Path(checkpoint)
        found = find_checkpoint(path or DEFAULT_CHECKPOINT, *details)
        embedder = Embedder(found, device=self._device, precision="float32")
        count = reembed(self.store, embedder, model_name(path), on_progress)
        self._checkpoint, self._details, self._thresholds = path, details, None
        self.__dict__.update(_embedder=embedder)
        self.__dict__.pop("_searcher", None)
        return count

    def compare_models(
        self,
        names: Sequence[str | PathLike[str]] = (),
        *,
        apart: float = APART,
        tracklets: int = 2000,
        on_progress: Callable[[int, int], None] | None = None,
    ) -> ModelComparison:
        """Rank models by how well they separate the people of this gallery, without labels.

        Two people in one frame are two people, and images of one tracklet that were taken far
        apart in time show one.

        Args:
            names: checkpoints, names of ``reid-dhm models``, or ``default`` (the package's model);
                by default that one and every model of ``reid-dhm models`` on this machine.
            apart: least seconds between two images of one tracklet.
            tracklets: most tracklets to look at.
            on_progress: called with the models done and all of them.

        Raises:
            InputError: an unusable model, or a gallery with too few people seen at once.
        """
        models = openers([str(name) for name in names], self._device)
        return compare_models(
            self.store, models, seconds=apart, limit=tracklets, report=on_progress
        )

    def search(
        self,
        query: Image | Sequence[Image],
        *,
        box: Box | None = None,
        channels: Channels | None = None,
        detector: str | None = None,
        cameras: Sequence[str] = (),
        videos: Sequence[str] = (),
        person: str | None = None,
        after: float | str | datetime | None = None,
        before: float | str | datetime | None = None,
        top_k: int = 10,
        min_similarity: float | None = None,
        confirmed: Sequence[Candidate | str] = (),
        rejected: Sequence[Candidate | str] = (),
    ) -> Candidates:
        """Find everywhere and every time that a person was seen.

        Args:
            query: one image of the person, or several: files, PIL images, (H, W, 3) uint8 arrays.
            box: x1, y1, x2, y2 in pixels of a single query image. Without one, an image as narrow
                as a person is taken whole; in others the person is looked for.
            channels: ``rgb`` or ``bgr``, the colour order of arrays; required for them.
            detector: finds the person without a box; by default the first one on this machine.
            cameras, videos, person: only in these, by name, by content hash, by name or number.
            after, before: only tracklets that overlap this span: seconds from the start of each
                video, or wall-clock times.
            top_k: most candidates to return.
            min_similarity: leave out less similar tracklets.
            confirmed, rejected: candidates of an earlier search that show the person, and that show
                somebody else; they are left out.

        Raises:
            InputError: an unusable query, an unknown camera or video, or an empty gallery; an image
                that shows several people (the error's ``boxes`` are theirs).
            ModelMismatchError: the gallery was made with another model.
        """
        lists = {
            "cameras": cameras,
            "videos": videos,
            "confirmed": confirmed,
            "rejected": rejected,
        }
        for name, values in lists.items():
            _check_list(name, values)
        images = list(as_images(query))
        if box is not None and len(images) != 1:
            raise InputError(f"box is given for {len(images)} images: pass one image with it")
        where = TrackletFilter(
            (), tuple(videos), tuple(cameras), person, _moment(after), _moment(before)
        )
        embedder = self._embedder
        self.store.check_model(embedder.fingerprint, embedder.dim)
        finder = None if detector is None else build_detector(detector)
        crops = [_crop(part, box, finder) for part in to_rgb(images, channels)]
        request = SearchRequest(
            where,
            tracklets=[as_id(match) for match in confirmed],
            rejected=[as_id(match) for match in rejected],
            top_k=top_k,
            min_similarity=min_similarity,
        )
        vectors = embedder([crop.pixels for crop in crops])
        matches = self._searcher.run(request, vectors, details=True)
        names = [str(part) for part in images if isinstance(part, str | PathLike)]
        audit.record(self.store, "search", {"pictures": names, "hits": len(matches)})
        return matches

    def tracklets(self, cameras: Sequence[str] = (), person: str | None = None) -> list[Tracklet]:
        """Everybody who was seen, in the order of indexing."""
        _check_list("cameras", cameras)
        return list(self.store.tracklets(TrackletFilter(cameras=cameras, person=person)))

    def close(self) -> None:
        """Close the gallery."""
        self.store.close()

    def __enter__(self) -> Gallery:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Gallery({str(self.store.folder)!r}, {self.store.count()} tracklets)"

    def _repr_html_(self) -> str:
        rows: dict[str, list[Any]] = {}
        for video in self.store.videos():
            rows.setdefault(video.camera, []).append(video)
        return table(
            (str(self.store.folder), "videos", "tracklets"),
            [
                (name, str(len(videos)), str(self.store.count(TrackletFilter(cameras=[name]))))
                for name, videos in rows.items()
            ],
        )

    @cached_property
    def _embedder(self) -> Embedder:
        # As the command line embeds: 16 bits would move what queries are compared with.
        found = find_checkpoint(self._checkpoint or DEFAULT_CHECKPOINT, *self._details)
        return Embedder(found, device=self._device, precision="float32")

    @cached_property
    def _searcher(self) -> Searcher:
        known = open_thresholds(self.store.fingerprint or "", self._thresholds)
        return Searcher(self.store, self._index, known, self._embedder.fingerprint)


def _crop(image: str | Path | np.ndarray, box: Box | None, finder: Detector | None) -> QueryCrop:
    """The person in an image, found by a detector of this machine if need be."""
    if isinstance(image, str | Path):
        name, pixels = str(image), read_image(image)
    else:
        name, pixels = "the image", image
    if box is None and finder is None:
        finder = default_finder(pixels)
    return crop_query(pixels, box, finder, name)


def _moment(value: float | str | datetime | None) -> float | datetime | None:
    return wall_clock(value) if isinstance(value, str) else value


def _check_list(name: str, values: Sequence[Candidate | str]) -> None:
    if isinstance(values, str | Candidate):
        one = repr(values) if isinstance(values, str) else "candidate"
        raise InputError(f"{name} is a single value: give a list, {name}=[{one:.60}]")
