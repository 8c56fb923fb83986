"""Thumbnails of a report's images, one per image file, and activation maps to lay over them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.data.images import read_image, resize_image
from reid_dhm.errors import InputError

HEIGHT = 128
WIDTH = 192  # wider images get a height below HEIGHT
_QUALITY = 80
_JOB = 64

ActivationMaps = Callable[[Sequence[str]], Sequence[NDArray[np.float32]]]
"""Image paths → one (h, w) float32 map in 0 to 1 for each, of any size."""


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A file in the report's folder, and its size in pixels."""

    href: str
    width: int
    height: int


@dataclass
class Thumbnails:
    """The thumbnails of a report.

    Attributes:
        of: thumbnail of each readable image path.
        faults: error message of each unreadable one.
        maps: activation map file of each path.
    """

    of: dict[str, Thumbnail] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)
    maps: dict[str, str] = field(default_factory=dict)


def write_thumbnails(
    folder: Path, names: Mapping[str, str], on_done: Callable[[int], None]
) -> Thumbnails:
    """Write ``thumbs/NAME.jpg`` for every image path; unreadable images are collected as faults.

    Images are re-encoded without their metadata.

    Args:
        folder: of the report.
        names: path → name of its thumbnail, without suffix.
        on_done: called with the number of images done since its last call.
    """
    (folder / "thumbs").mkdir()
    made = Thumbnails()
    paths = list(names)
    jobs = [paths[start : start + _JOB] for start in range(0, len(paths), _JOB)]

    def work(job: Sequence[str]) -> list[Thumbnail | str]:
        return [_write(folder, path, f"thumbs/{names[path]}.jpg") for path in job]

    with ThreadPoolExecutor() as pool:
        for job, written in zip(jobs, pool.map(work, jobs), strict=True):
            for path, thumbnail in zip(job, written, strict=True):
                if isinstance(thumbnail, Thumbnail):
                    made.of[path] = thumbnail
                else:
                    made.faults.append(thumbnail)
            on_done(len(job))
    return made


def write_activation(
    folder: Path,
    thumbnails: Thumbnails,
    paths: Iterable[str],
    activation: ActivationMaps,
) -> None:
    """Write ``activation/NAME.png`` for every path that has a thumbnail.

    A map keeps its low resolution; browsers enlarge it smoothly.
    """
    readable = [path for path in dict.fromkeys(paths) if path in thumbnails.of]
    (folder / "activation").mkdir()
    for path, strength in zip(readable, activation(readable), strict=True):
        href = f"activation/{Path(thumbnails.of[path].href).stem}.png"
        (folder / href).write_bytes(_encode(".png", _heat(strength)))
        thumbnails.maps[path] = href


def _write(folder: Path, path: str, href: str) -> Thumbnail | str:
    try:
        image = read_image(path)
    except InputError as fault:
        return str(fault)
    height, width = image.shape[:2]
    scale = min(1.0, HEIGHT / height, WIDTH / width)
    size = max(1, round(height * scale)), max(1, round(width * scale))
    small = cv2.cvtColor(resize_image(image, size), cv2.COLOR_RGB2BGR)
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY, cv2.IMWRITE_JPEG_OPTIMIZE, 1]
    (folder / href).write_bytes(_encode(".jpg", small, quality))
    return Thumbnail(href, size[1], size[0])


def _heat(strength: NDArray[np.float32]) -> NDArray[np.uint8]:
    """(h, w, 4) uint8 BGRA; stronger activation is warmer and less transparent."""
    level = np.round(np.clip(strength, 0, 1) * 255).astype(np.uint8)
    return np.dstack(
        [cv2.applyColorMap(level, cv2.COLORMAP_TURBO), (level * 0.65).astype(np.uint8)]
    )


def _encode(suffix: str, image: np.ndarray, options: Sequence[int] = ()) -> bytes:
    encoded, data = cv2.imencode(suffix, image, list(options))
    if not encoded:
        raise RuntimeError(f"OpenCV could not encode a {suffix} image")
    return data.tobytes()
