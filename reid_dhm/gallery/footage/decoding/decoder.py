"""Decoding of video files and of video on the network by FFmpeg, through PyAV.

Pixels equal those of OpenCV; PyAV also tells damage from the end of a file, gives exact timestamps
and knows more codecs.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import av
import av.logging
import numpy as np
from av.video.reformatter import VideoReformatter

from reid_dhm.errors import InputError, NotFoundError, StorageError, UnsupportedError
from reid_dhm.gallery.footage.addresses import escape_hint, is_address, without_credentials
from reid_dhm.gallery.footage.clock import plausible_rate
from reid_dhm.gallery.footage.decoding.damage import DamageCounter
from reid_dhm.gallery.footage.frames import Image

_SAMPLE = 100  # packets that are read to learn the frame rate
_TIMEOUT = 30.0  # seconds without data from the network
_MAX_ERRORS = 100  # in a row while reading; afterwards the rest of the file is damaged
_LATE = (1.0, 0.25)  # seconds by which a video may end early, without and with a number of frames
_PLAYLISTS = {"hls", "dash", "rtsp", "sdp", "mpjpeg"}  # their size is not that of the video


class _DamagedError(Exception):
    """A frame could not be decoded."""


class VideoDecoder:
    """Frames of one video, from the first one or from a keyframe.

    Args:
        place: path or address.
        threads: ``AUTO`` decodes several frames at once and is fastest; ``SLICE`` loses no frame
            beside a damaged one.
        whole: the file will be read from its first frame to its last, and frames that are
            missing in it are to be counted.

    Attributes:
        name: the path, or the address without credentials.

    Raises:
        InputError: no video, or one that cannot be read.
        UnsupportedError: no decoder for its codec.
    """

    def __init__(self, place: str, threads: str = "AUTO", whole: bool = False) -> None:
        self.name = without_credentials(place) if is_address(place) else place
        self._place, self._whole = place, whole and not is_address(place)
        self._convert = VideoReformatter()
        self._open(threads)

    def _open(self, threads: str) -> None:
        self._container = _open(self._place, self.name)
        try:
            self._stream = _video_stream(self._container, self.name)
        except BaseException:
            self._container.close()
            raise
        self._stream.thread_type = self._threads = threads
        # AVI holds the order of decoding only; FFmpeg guesses the times of display, often wrongly.
        formats = set(self._container.format.name.split(","))
        self._decoding_times = "avi" in formats
        self._read, self._last = 0, math.nan
        path = Path(self._place) if self._whole else None
        self._damage = DamageCounter(self._stream, path, formats)

    def close(self) -> None:
        """Close the file or connection."""
        self._container.close()
        self._damage.close()

    @property
    def claimed_rate(self) -> float:
        """Frames per second as the header says; 0 if it does not."""
        return float(self._stream.guessed_rate or 0)

    @property
    def claimed_frames(self) -> int | None:
        """Number of frames as the header says."""
        return self._stream.frames or None

    @property
    def claimed_seconds(self) -> float | None:
        """Duration of the video as the header says."""
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        return self._container.duration / av.time_base if self._container.duration else None

    @property
    def recorded(self) -> bool:
        """Whether the video has an end: a length, a duration or a number of frames is known."""
        names = set(self._container.format.name.split(","))
        sized = self._container.size > 0 and not names & _PLAYLISTS
        return sized or bool(self.claimed_frames) or (self.claimed_seconds or 0) > 0

    def sample(self) -> tuple[float, str]:
        """Read the first packets, before any frame: the frame rate, and a hash of what is read.

        Returns:
            Frames per second, plausible; and 16 hexadecimal digits that tell videos apart.
        """
        digest = hashlib.blake2b(digest_size=8)
        claims = self._container.size, self.claimed_frames, self._container.duration
        digest.update(repr(claims).encode())
        times = []
        for packet in islice(self._demux(), _SAMPLE):
            digest.update(bytes(packet))
            if packet.pts is not None and not packet.is_discard:
                times.append(float(packet.pts * packet.time_base))
        return plausible_rate(self.claimed_rate, times), digest.hexdigest()

    def seek(self, seconds: float) -> None:
        """Continue at the last keyframe at or before a timestamp, if the container has an index."""
        base = self._stream.time_base
        self._container.seek(int(seconds / base) if base else 0, stream=self._stream)

    def frames(self) -> Iterator[tuple[av.VideoFrame, float]]:
        """Frames from here to the end with their timestamps in seconds, NaN where unknown.

        Raises:
            StorageError: the disk or the network failed.
        """
        given = 0
        try:
            for item in self._decode():
                given += 1
                yield item
        except _DamagedError:
            # Frames that were decoded beside the damaged one are lost: decode one at a time.
            self.close()
            self._open("SLICE")
            yield from islice(self._decode(), given, None)

    def _decode(self) -> Iterator[tuple[av.VideoFrame, float]]:
        for packet in self._demux():
            try:
                frames = packet.decode()
            except av.error.EOFError:
                return
            except av.error.DecoderNotFoundError as error:
                raise _no_decoder(self._container, self.name) from error
            except av.error.FFmpegError as error:
                if self._threads == "AUTO":
                    raise _DamagedError from error
                self._damage.error()
                continue
            for frame in frames:
                self._damage.frame(frame)
                stamp = frame.dts if self._decoding_times or frame.pts is None else frame.pts
                base = frame.time_base or self._stream.time_base
                time = math.nan if stamp is None else float(stamp) * float(base)
                self._last = self._last if math.isnan(time) else time
                yield frame, time

    def image(self, frame: av.VideoFrame) -> Image:
        """(H, W, 3) uint8 BGR pixels of a frame, upright."""
        # Bicubic, as OpenCV converts.
        bgr = self._convert.reformat(frame, format="bgr24", interpolation="BICUBIC")
        image = np.asarray(bgr.to_ndarray(), np.uint8)
        turns = round(frame.rotation / 90) % 4
        return np.ascontiguousarray(np.rot90(image, turns)) if turns else image

    def damage(self) -> str | None:
        """How many frames are lost or damaged, once all were read; None if all is well."""
        return self._damage.told(self.claimed_frames, self.claimed_seconds)

    def missing_end(self) -> str | None:
        """How much of the video is there, once all was read, if its header claims more."""
        claimed, seconds = self.claimed_frames, self.claimed_seconds
        start = float((self._stream.start_time or 0) * (self._stream.time_base or 0))
        slack = math.inf if seconds is None else max(_LATE[bool(claimed)], seconds / 100)
        late = seconds is None or max(self._last, self._last - start) + slack < seconds
        if claimed:  # some containers count places without a frame
            short = self._read < claimed - max(1, claimed // 100)
            return f"{self._damage.decoded} of {claimed} frames" if short and late else None
        if seconds is None or not late or len(self._container.streams) > 1:  # sound may be longer
            return None
        return f"{self._last - start:.1f} of {seconds:.1f} seconds"

    def _demux(self) -> Iterator[Any]:
        """Packets of the video; at last an empty one, which fetches the last frames."""
        errors = 0
        while errors < _MAX_ERRORS:
            try:
                streams = () if self._damage.follows_all else (self._stream,)
                for packet in self._container.demux(*streams):
                    errors = 0
                    self._damage.packet(packet)
                    if packet.stream_index == self._stream.index:
                        self._read += packet.dts is not None or packet.size > 0
                        yield packet
            except av.error.InvalidDataError:
                errors += 1
                self._damage.error()
            except (av.error.FFmpegError, OSError) as error:
                raise StorageError(
                    f"{self.name} cannot be read further ({_reason(error)}): run this again to "
                    "continue"
                ) from error
            else:
                return


def _open(place: str, name: str) -> Any:
    timeout = _TIMEOUT if is_address(place) else None
    options = {"rtsp_transport": "tcp"} if place.lower().startswith("rtsp") else {}
    try:
        return av.open(place, timeout=timeout, options=options, metadata_errors="replace")
    except PermissionError as error:
        raise InputError(f"{name} cannot be read: permission denied") from error
    except FileNotFoundError as error:
        raise NotFoundError(f"{name} does not exist") from error
    except (av.error.FFmpegError, OSError, ValueError) as error:
        if is_address(place):
            raise InputError(
                f"{name} cannot be opened ({_reason(error)}): check the address and that it is "
                f"running{escape_hint(place)}"
            ) from error
        raise InputError(f"{name} cannot be decoded: it is not a video, or damaged") from error


def _video_stream(container: Any, name: str) -> Any:
    """The first stream of images that is not the cover of a sound file."""
    cover = av.stream.Disposition.attached_pic
    streams = [s for s in container.streams.video if not s.disposition & cover]
    if not streams:
        raise InputError(f"{name} holds no video, only {_kinds(container)}")
    stream = next((s for s in streams if s.codec_context is not None), None)
    if stream is None:
        raise _no_decoder(container, name)
    return stream


def _kinds(container: Any) -> str:
    kinds = {"audio": "sound", "video": "a cover image", "subtitle": "subtitles"}
    found = {kinds.get(stream.type, "data"): None for stream in container.streams}
    return " and ".join(found) or "nothing"


def _no_decoder(container: Any, name: str) -> UnsupportedError:
    level = av.logging.get_level()
    av.logging.set_level(av.logging.INFO)  # FFmpeg writes the description into its log
    try:
        found = re.search(r"Video: (?:none \()?([\w.-]+)", container.dumps_format())
    finally:
        av.logging.set_level(level)
    codec = found[1] if found else "unknown"
    return UnsupportedError(
        f"{name} uses the codec {codec}, which is not supported here: convert it, for example with "
        "ffmpeg -i IN -c:v libx264 OUT.mp4"
    )


def _reason(error: Exception) -> str:
    """What went wrong, without the address that FFmpeg repeats."""
    reason = getattr(error, "strerror", None) or type(error).__name__
    return str(reason).lower()
