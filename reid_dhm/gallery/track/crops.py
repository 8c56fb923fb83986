"""Chooses the images that stand for a person: a few good ones, spread evenly over time.

Quality is the product of five numbers in 0 … 1:

- size: the box's height over 128 pixels (what re-identification models see), 1 above that;
- whole: 1, or 0.4 where the box touches the frame's edge and the body may be cut;
- alone: 1 minus the largest share of the box that another person's box covers;
- sharp: v / (v + 400), where v is the variance of the Laplacian of the grey image at 64×32;
- score: the detector's.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.data.images import decode_image
from reid_dhm.gallery.records import Box, Crop

_FULL_HEIGHT = 128
_EDGE = 2.0  # pixels
_CUT = 0.4
_SHARPNESS_SIZE = (32, 64)  # width, height
_HALF_SHARP = 400.0
_SMALLEST = (16, 8)  # height, width in pixels; smaller crops are useless
_TALLEST = 512  # pixels, of a stored image
_JPEG_QUALITY = 95
_ROUNDING = 1e-6  # seconds; times are sums of fractions


def geometric_quality(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], size: tuple[int, int]
) -> NDArray[np.float64]:
    """Quality of each box in a frame, without its sharpness; 0 for boxes that are too small.

    Args:
        boxes: (N, 4) of the people in the frame.
        scores: (N,) of the detector.
        size: height and width of the frame.
    """
    x1, y1, x2, y2 = boxes.astype(np.float64).T
    tall, wide = y2 - y1, x2 - x1
    whole = (x1 > _EDGE) & (y1 > _EDGE) & (x2 < size[1] - _EDGE) & (y2 < size[0] - _EDGE)
    across = np.minimum(x2[:, None], x2) - np.maximum(x1[:, None], x1)
    down = np.minimum(y2[:, None], y2) - np.maximum(y1[:, None], y1)
    shared = np.maximum(across, 0) * np.maximum(down, 0) / np.maximum(wide * tall, 1)[:, None]
    np.fill_diagonal(shared, 0)
    alone = 1 - np.minimum(shared.max(axis=1, initial=0), 1)
    quality = np.minimum(tall / _FULL_HEIGHT, 1) * np.where(whole, 1, _CUT) * alone * scores
    return np.where((tall >= _SMALLEST[0]) & (wide >= _SMALLEST[1]), quality, 0)


def sharpness(image: NDArray[np.uint8]) -> float:
    """Sharpness of a (H, W, 3) image, 0 to 1."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    small = cv2.resize(grey, _SHARPNESS_SIZE, interpolation=cv2.INTER_AREA)
    variance = float(cv2.Laplacian(small, cv2.CV_64F).var())
    return variance / (variance + _HALF_SHARP)


class BestCrops:
    """A few crops of one track, spread evenly over its time.

    A crop is kept if the last kept one is ``apart`` seconds back. One too many, and the inner one
    goes whose neighbours are closest in time, times its quality: the first and the last stay. A
    mean over crops that are spread evenly finds a person again more often than one over the
    sharpest, which show the person at one place and from one side
    (docs/results/gallery_vtest.md). The result depends on the order of crops only.

    Args:
        count: how many to keep.
        apart: in seconds.
        crops: crops kept before a restart, or of all pieces of a track.
    """

    def __init__(self, count: int, apart: float, crops: list[Crop] | None = None) -> None:
        self._count, self._apart = count, apart
        self._crops = sorted(crops or (), key=lambda crop: crop.time)
        self._trim()

    @property
    def crops(self) -> list[Crop]:
        """Best first, equals by time."""
        return sorted(self._crops, key=lambda crop: (-crop.quality, crop.time))

    def offer(
        self, frame: int, time: float, box: Box, limit: float, image: NDArray[np.uint8]
    ) -> bool:
        """Consider a crop; returns whether it was kept.

        Args:
            frame, time, box: where it is, later than every other.
            limit: its quality without its sharpness.
            image: the whole frame, BGR.
        """
        if limit <= 0 or (self._crops and time - self._crops[-1].time < self._apart - _ROUNDING):
            return False
        pixels = cut(image, box)
        quality = limit * sharpness(pixels)
        if quality <= 0:
            return False
        self._crops.append(Crop(frame, time, box, quality, encode_jpeg(pixels)))
        self._trim()
        return True

    def _trim(self) -> None:
        while len(self._crops) > self._count:
            del self._crops[self._dispensable()]

    def _dispensable(self) -> int:
        """Which of the crops is missed least: of two the worse, else an inner one."""
        if len(self._crops) == 2:
            return int(self._crops[1].quality <= self._crops[0].quality)
        times = [crop.time for crop in self._crops]
        spans = [
            (after - before) * crop.quality
            for before, crop, after in zip(times, self._crops[1:], times[2:], strict=False)
        ]
        return 1 + spans.index(min(spans))


def cut(image: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The pixels of a box, (h, w, 3)."""
    height, width = image.shape[:2]
    x1, y1 = max(0, int(box[0])), max(0, int(box[1]))
    x2, y2 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    return image[y1:y2, x1:x2]


def encode_jpeg(image: NDArray[np.uint8]) -> bytes:
    """A BGR image as JPEG, reduced if it is taller than 512 pixels."""
    height, width = image.shape[:2]
    if height > _TALLEST:
        size = max(1, round(width * _TALLEST / height)), _TALLEST
        image = np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return bytes(data)


def decode_jpeg(jpeg: bytes) -> NDArray[np.uint8]:
    """(H, W, 3) uint8 RGB pixels of a stored image.

    Raises:
        InputError: it is not an image, or too large for one that was kept.
    """
    return decode_image(jpeg, "an image of the gallery")
