"""Draws tracklets on frames, and writes annotated videos.

Every browser plays VP9 in WebM; its realtime mode is fast to encode.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
import cv2
import numpy as np
import supervision as sv
from numpy.typing import NDArray

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.files import atomic_path
from reid_dhm.gallery.footage.frames import Image
from reid_dhm.gallery.footage.seeking import frames_of
from reid_dhm.gallery.records import Box, Video

# Suffix: encoder and its options.
_ENCODERS = {
    ".webm": ("libvpx-vp9", {"deadline": "realtime", "cpu-used": "8", "crf": "33", "b": "0"}),
    ".mp4": ("libx264", {"preset": "veryfast", "crf": "26", "movflags": "faststart"}),
}
_GAP = 1.0  # seconds; longer gaps between two boxes are not interpolated
_FOUND, _OTHER = sv.Color(214, 60, 20), sv.Color(90, 98, 107)


@dataclass(frozen=True, eq=False)
class Drawn:
    """A tracklet to draw.

    Attributes:
        label: written above its box.
        boxes: (N,) :data:`.DETECTION`.
        found: whether it is a search result, which is highlighted.
    """

    label: str
    boxes: NDArray[np.void]
    found: bool = True


def check_video_name(path: Path) -> None:
    """Refuse a video file that cannot be written, by its suffix, before long work.

    Raises:
        InputError: another suffix.
        UnsupportedError: PyAV lacks the encoder.
    """
    if path.suffix.lower() not in _ENCODERS:
        raise InputError(f"{path}: use the suffix .webm, which browsers play, or .mp4")
    encoder, _ = _ENCODERS[path.suffix.lower()]
    if encoder not in av.codecs_available:
        raise UnsupportedError(f"{path}: this PyAV has no {encoder}: use another suffix")


def annotate(
    video: Video,
    drawn: Iterable[Drawn],
    path: Path,
    first: int = 0,
    last: int | None = None,
    moment: float | None = None,
    lead: float = 0.0,
    *,
    step: int = 1,
    width: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> int:
    """Write a video, or a part of it, with boxes and labels, atomically.

    Boxes are interpolated between processed frames.

    Args:
        video: of a gallery.
        drawn: its tracklets.
        path: ``.webm`` or ``.mp4``.
        first, last, moment, lead: which frames, as for :func:`.frames_of`.
        step: write every so many frames, at the same speed.
        width: largest width of the images, in pixels.
        progress: called with the frames done and the total.

    Returns:
        The number of frames written.

    Raises:
        InputError: the source cannot be read, or has none of these frames.
        StorageError: ``path`` cannot be written.
    """
    check_video_name(path)
    tracks = [(tracklet, _Track(tracklet.boxes, video.fps)) for tracklet in drawn]
    total = (video.position if last is None else last + 1) - first
    count = 0
    with atomic_path(path) as temporary:
        with _writer(temporary, video, step, width) as write:
            for number, image in frames_of(video, first, last, moment, lead):
                if (number - first) % step == 0:
                    write(_draw(image, tracks, number))
                    count += 1
                if progress is not None:
                    progress(number + 1 - first, max(number + 1 - first, total))
        if not count:
            raise _no_frame(video, first)
    return count


def still(
    video: Video, drawn: Iterable[Drawn], number: int, moment: float, width: int | None = None
) -> Image:
    """A frame with boxes and labels, (H, W, 3) uint8 BGR.

    Args:
        video, drawn, width: as for :func:`annotate`.
        number, moment: of the frame.

    Raises:
        InputError: the source cannot be read, or has no such frame.
    """
    tracks = [(tracklet, _Track(tracklet.boxes, video.fps)) for tracklet in drawn]
    for _, image in frames_of(video, number, number, moment):
        return _resized(_draw(image, tracks, number), _size(video, width))
    raise _no_frame(video, number)


def _no_frame(video: Video, number: int) -> InputError:
    return InputError(f"{video.source} has no frame {number}")


class _Track:
    """The box of a tracklet in any frame between its first and last."""

    def __init__(self, boxes: NDArray[np.void], fps: float) -> None:
        self._frames = boxes["frame"].astype(np.int64)
        self._boxes = boxes["box"]
        self._gap = max(1.0, _GAP * fps)

    def at(self, number: int) -> Box | None:
        after = int(np.searchsorted(self._frames, number))
        if after == len(self._frames) or (after == 0 and self._frames[0] != number):
            return None
        before = after - (self._frames[after] != number)
        begin, end = self._frames[before], self._frames[after]
        if end - begin > self._gap:
            return None
        share = (number - begin) / max(1, end - begin)
        x1, y1, x2, y2 = (1 - share) * self._boxes[before] + share * self._boxes[after]
        return float(x1), float(y1), float(x2), float(y2)


def _draw(image: Image, tracks: Sequence[tuple[Drawn, _Track]], number: int) -> Image:
    """A frame with its people; search results are highlighted and drawn last."""
    here = [(drawn, box) for drawn, track in tracks if (box := track.at(number)) is not None]
    here.sort(key=lambda shown: shown[0].found)
    scene = image.copy()
    for found in (False, True):
        some = [(drawn.label, box) for drawn, box in here if drawn.found == found]
        if some:
            boxes = sv.Detections(np.array([box for _, box in some]))
            colour, lookup = (_FOUND if found else _OTHER), sv.ColorLookup.INDEX
            thickness = 2 if found else 1
            scene = sv.BoxAnnotator(colour, thickness, lookup).annotate(scene, boxes)
            labels = sv.LabelAnnotator(colour, lookup, text_scale=0.4, text_padding=3)
            scene = labels.annotate(scene, boxes, [label for label, _ in some])
    return np.asarray(scene, np.uint8)


@contextmanager
def _writer(
    path: Path, video: Video, step: int, width: int | None
) -> Iterator[Callable[[Image], None]]:
    """A function that writes the next frame of a video."""
    encoder, options = _ENCODERS[path.suffix.lower()]
    size = _size(video, width)
    rate = Fraction(video.fps / step).limit_denominator(1001)
    with av.open(str(path), "w", format=path.suffix[1:].lower()) as container:
        stream = container.add_stream(encoder, rate=rate, options=options)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"

        def write(image: Image) -> None:
            frame = av.VideoFrame.from_ndarray(_resized(image, size), format="bgr24")
            container.mux(stream.encode(frame))

        yield write
        container.mux(stream.encode())


def _size(video: Video, width: int | None) -> tuple[int, int]:
    """Width and height to write, both even, as encoders require."""
    scale = min(1.0, (width or video.width) / video.width)
    return max(2, int(video.width * scale) // 2 * 2), max(2, int(video.height * scale) // 2 * 2)


def _resized(image: Image, size: tuple[int, int]) -> Image:
    if image.shape[1::-1] == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
