"""Opens what a user calls a source: a video, images, a recording at an address, a live stream."""

from __future__ import annotations

import os
from glob import glob, has_magic
from pathlib import Path

from reid_dhm.data.listing import IMAGE_SUFFIXES, scan_folder, warn_left_out
from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.addresses import is_address, local_path, without_credentials
from reid_dhm.gallery.footage.frames import MAX_FPS, MIN_FPS, Source


def open_source(text: str, fps: float | None = None, patience: float = 300.0) -> Source:
    """Open what a user calls a source.

    Args:
        text: a video file, a folder or glob of images, the address of a recording or stream, or
            the number of a webcam. What has a length or a number of frames is a recording.
        fps: frame rate of an image sequence, or to override the times of a video.
        patience: seconds to wait for a stream that is gone before giving up.

    Raises:
        InputError: nothing that can be decoded, images without ``fps``, or a name that is not
            UTF-8.
        NotFoundError: no such file.
    """
    check_source(text, fps)
    if not patience >= 0:
        raise InputError(f"patience is {patience}: give seconds, 0 or more")

    # Imported late: options are checked before PyAV and OpenCV are loaded.
    from reid_dhm.gallery.footage.image_sequence import ImageSequence
    from reid_dhm.gallery.footage.streams import NetworkStream, Stream, Webcam
    from reid_dhm.gallery.footage.video_file import VideoFile

    path = _path(text)
    if path is None and not is_address(text):
        return Stream(f"webcam {text}", lambda: Webcam(int(text)), fps, patience)
    if path is None:
        first = NetworkStream(text)
        if first.recorded:
            first.close()
            return VideoFile(text, fps)
        name = without_credentials(text)
        return Stream(name, lambda: NetworkStream(text), fps, patience, first)
    if path.is_dir():
        content = scan_folder(path)
        warn_left_out(path, content.folders + content.others)
        return ImageSequence(str(path), content.images, fps)
    if path.is_file():
        return VideoFile(path, fps)
    found = [Path(name) for name in glob(str(path))]  # noqa: PTH207 (absolute patterns)
    images = [p for p in found if p.suffix.lower() in IMAGE_SUFFIXES]
    warn_left_out(path.parent, sorted(set(found).difference(images)))
    return ImageSequence(str(path), images, fps)


_DIGITS = 4  # of the number of a webcam


def check_source(text: str, fps: float | None = None) -> None:
    """Refuse a source that does not exist or an impossible frame rate, without opening anything.

    Raises:
        InputError: a frame rate out of range, or a name that is not UTF-8.
        NotFoundError: no such file.
    """
    if fps is not None and not MIN_FPS <= fps <= MAX_FPS:
        raise InputError(f"fps is {fps}: give frames per second, from {MIN_FPS:g} to {MAX_FPS:g}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"the name {os.fsencode(text)!r} is not valid UTF-8: rename the file"
        ) from None
    path = _path(text)
    if path is None and text.isdecimal() and len(text) > _DIGITS:
        raise InputError(f"there is no webcam {text[:20]}: give a small number, from 0")
    if path is None or path.exists() or has_magic(str(path)):
        return
    raise NotFoundError(
        f"{without_credentials(text) if '@' in text else text} does not exist: give a video, a "
        "folder or pattern of images, the address of a stream or the number of a webcam"
    )


def _path(text: str) -> Path | None:
    """The path that a source names; None for the number of a webcam and for the network."""
    if text.isdecimal() and text.isascii() and not Path(text).exists():
        return None
    return local_path(text) if is_address(text) else Path(text).expanduser()
