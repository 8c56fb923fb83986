"""Recognises a file that was indexed while it was still being written."""

from __future__ import annotations

import numpy as np

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage.frames import Source, Span
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.crops import cut, decode_jpeg, encode_jpeg
from reid_dhm.text import shell_word

_SAME = 2.0  # grey levels; mean difference of two decodings of one crop


def check_not_grown(gallery: GalleryStore, camera: str, source: Source) -> None:
    """Refuse a longer version of a video of the gallery, which would show its people twice.

    A video of the same camera and source with another content is an earlier version if the crop of
    one of its people is found in the same frame.

    Raises:
        InputError: the gallery holds an earlier version.
    """
    info = source.info
    for video in gallery.videos():
        if (video.camera, video.source) != (camera, info.name) or video.hash == info.hash:
            continue
        if (video.width, video.height) != (info.width, info.height):
            continue
        first = gallery.tracklets(TrackletFilter(videos=[video.hash]), limit=1)
        crops = gallery.crops(first[0].key) if first else []
        if not crops:
            continue
        crop = min(crops, key=lambda crop: crop.frame)
        frame = next(iter(source.frames(Span(first=crop.frame))), None)
        if frame is None or frame.number != crop.frame:
            continue
        before, now = decode_jpeg(crop.jpeg), decode_jpeg(encode_jpeg(cut(frame.image, crop.box)))
        if before.shape == now.shape and np.abs(before.astype(int) - now).mean() < _SAME:
            raise InputError(
                f"{info.name} is a longer version of video {video.hash}, which was indexed before "
                f"the file was complete: delete that first (reid-dhm gallery delete --gallery "
                f"{shell_word(gallery.folder)} --video {video.hash}), then index this again"
            )
