"""A folder or glob of image files as a source of frames."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from pathlib import Path

from reid_dhm.data.images import read_image
from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import Frame, SourceInfo, Span
from reid_dhm.gallery.footage.hashing import content_hash

logger = logging.getLogger(__name__)


class ImageSequence:
    """Image files in natural order of their names (2 before 10), at a steady rate.

    Raises:
        InputError: no images, or no frame rate.
    """

    def __init__(self, name: str, paths: list[Path], fps: float | None) -> None:
        if not paths:
            raise InputError(f"{name} holds no images: give the folder or pattern of the frames")
        if fps is None:
            raise InputError(f"{name} holds images, which have no times: give fps")
        self._paths = sorted((path.resolve() for path in paths), key=_natural)
        self._stopped = False
        height, width = read_image(self._paths[0]).shape[:2]
        name = str(Path(name).expanduser().absolute())
        self.info = SourceInfo(
            content_hash(self._paths), name, fps, width, height, len(self._paths), live=False
        )

    def stop(self) -> None:
        """Let :meth:`frames` end soon."""
        self._stopped = True

    def frames(self, span: Span) -> Iterator[Frame]:
        """See :class:`.Source`; warns of images that cannot be read and leaves them out."""
        self._stopped = False
        for number, path in enumerate(self._paths):
            time = number / self.info.fps
            if time >= span.end or self._stopped:
                return
            if span.wants(number, time):
                try:
                    image = read_image(path)
                except InputError as error:
                    logger.warning("left out: %s", error)
                    continue
                yield Frame(number, time, image[:, :, ::-1].copy())


def _natural(path: Path) -> list[tuple[int, int, str]]:
    """A sorting key that puts 2 before 10."""
    parts = re.split(r"(\d+)", str(path))
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts]
