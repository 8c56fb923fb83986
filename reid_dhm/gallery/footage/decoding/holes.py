"""Frames that a container lost: bytes between its packets that belong to nothing readable.

A demuxer that meets a destroyed header goes on at the next one it understands, without an error.
Timestamps alone do not show it, since recordings pause and have uneven rates.
"""

from __future__ import annotations

import io
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

_WINDOW = 16  # packets on either side of a hole; within them frames are reordered
_LEAST = 8  # bytes of a frame with its header
_HEAD = 1 << 26  # bytes before the first packet that are looked at

# Of Matroska (RFC 9559, section 5): elements that hold others, and those that may lie in between.
_CLUSTER = 0x1F43B675
_GROUP, _BLOCK = 0xA0, 0xA1
_OPEN = {_CLUSTER, 0x18538067}
_CLOSED = {
    *(0xE7, 0xA7, 0xAB, 0xBF, 0xEC, 0xA3, _GROUP),  # parts of a cluster, checksums and padding
    *(0x9B, 0xFB, 0xFA, 0xFD, 0xA4, 0x75A1, 0x75A2),  # what follows a block in its group
    *(0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770),  # cues, tags, attachments and chapters
    *(0x114D9B74, 0x1654AE6B, 0x1549A966),  # seek head, tracks and info
}
# Of AVI: lists hold chunks, whose names are those of a stream's or these.
_LISTS = (b"RIFF", b"LIST")
_CHUNKS = (b"JUNK", b"idx1", b"ix00", b"ix01", b"ix02")
# Of MPEG transport streams: the first byte of every packet, and its length with and without extras.
_SYNC, _LENGTHS = 0x47, (188, 192, 204)
_BLOCK_PACKETS = 1 << 16  # read at a time


class HoleFinder:
    """Counts the frames that are missing in a file, from the packets of all its streams.

    Args:
        path: the file.
        formats: names of its container, as FFmpeg calls them; Matroska, AVI and MPEG-TS are
            checked, others list their packets in an index.
    """

    def __init__(self, path: Path, formats: set[str]) -> None:
        tests = {"matroska": _matroska, "avi": _avi, "mpegts": _transport}
        self._format = next((name for name in tests if name in formats), "")
        self._is_damaged = tests.get(self._format, lambda file, begin, end: False)
        self._file = path.open("rb")
        self._size = path.stat().st_size
        self._times = array("q")
        self._holes: list[tuple[int, int]] = []  # frames before it, and its bytes
        self._begin = self._end = -1

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def add(self, packet: Any, is_video: bool) -> None:
        """Take the next packet, also of streams other than the video."""
        if packet.pos is None or not packet.size:
            return
        if self._begin < 0:
            self._end = self._first(packet.pos)
        if packet.pos > self._begin:
            self._check(packet.pos)
            self._begin, self._end = packet.pos, self._packet_end(packet)
        elif self._format == "matroska":  # one of several in a block
            self._end = -1
        time = packet.dts if packet.pts is None else packet.pts
        if is_video and time is not None and not packet.is_discard:
            self._times.append(time)

    def missing(self, claimed: int | None, end: float | None) -> int:
        """About how many frames are missing, once all packets were added.

        Args:
            claimed: number of frames as the header says.
            end: of the video as the header says, in units of its timestamps.
        """
        self._check(self._size)
        if not self._holes or len(self._times) < 2:
            return 0
        if self._format == "avi":  # its frames have no times
            lost = (claimed or 0) - len(self._times)
            most = sum(size for _, size in self._holes) // _LEAST
            return lost if 0 < lost <= most else len(self._holes)
        times = np.sort(np.array(self._times, np.int64))
        gaps = np.diff(times)
        step = float(np.median(gaps[gaps > 0])) if (gaps > 0).any() else 1.0
        inner = [place for place, _ in self._holes if 0 < place < len(times)]
        near = np.zeros(len(gaps), bool)
        for place in inner:
            near[max(0, place - _WINDOW) : place + _WINDOW] = True
        count = int(np.maximum(np.rint(gaps[near] / step) - 1, 0).sum())
        if self._format == "mpegts":  # its clock starts anywhere; damage may leave all frames
            return count
        count = max(count, len(inner))
        for place, size in self._holes:
            if place == 0:
                count += _within(times[0] / step, size)
            elif place == len(times):
                count += _within(0 if end is None else (end - times[-1]) / step - 1, size)
        return count

    @property
    def at_start(self) -> bool:
        """Whether bytes before the first packet cannot be read."""
        return any(place == 0 for place, _ in self._holes)

    def _check(self, place: int) -> None:
        """Note a hole if what lies before ``place``, behind the last packet, is damaged."""
        if 0 <= self._end < place and self._is_damaged(self._file, self._end, place):
            self._holes.append((len(self._times), place - self._end))

    def _first(self, place: int) -> int:
        """Where packets begin, if the first readable one is at ``place``; -1 if unknown."""
        marks = {"matroska": _CLUSTER.to_bytes(4, "big"), "avi": b"movi"}
        if self._format not in marks:
            return 0
        self._file.seek(0)
        found = self._file.read(min(place, _HEAD)).find(marks[self._format])
        return found + 4 if found >= 0 and self._format == "avi" else found

    def _packet_end(self, packet: Any) -> int:
        """Where a packet ends in the file; of a transport stream where it begins, as it is cut."""
        if self._format == "mpegts":
            return int(packet.pos)
        if self._format != "matroska":
            return int(packet.pos + packet.size)
        id, content, size = _element(self._file, packet.pos)  # of a block that is in a group
        if id == _BLOCK and size is not None:
            return content + size
        self._file.seek(packet.pos)
        track = 9 - (self._file.read(1) or b"\0")[0].bit_length()  # bytes of its number
        return int(packet.pos + track + 3 + packet.size)


def _within(frames: float, size: int) -> int:
    """A number of frames as their times say, if a hole of ``size`` bytes can hold as many."""
    return int(min(max(1, round(frames)), max(1, size // _LEAST)))


def _element(file: BinaryIO, place: int) -> tuple[int, int, int | None]:
    """Id, begin of the content and size of an element of Matroska; size None if unknown."""
    file.seek(place)
    head = file.read(12)
    id_length = 9 - head[0].bit_length() if head else 9
    if id_length > 4 or len(head) <= id_length or not head[id_length]:
        return 0, place, None
    length = 9 - head[id_length].bit_length()
    begin = id_length + length
    size = int.from_bytes(head[id_length:begin], "big") - (1 << 7 * length)
    unknown = size == (1 << 7 * length) - 1
    return int.from_bytes(head[:id_length], "big"), place + begin, None if unknown else size


def _matroska(file: BinaryIO, begin: int, end: int) -> bool:
    # Packets begin behind the header of their block.
    while begin < end:
        id, content, size = _element(file, begin)
        if id in _OPEN:
            begin = content
        elif (id in _CLOSED or id == _BLOCK) and size is not None:
            is_around = id == _GROUP and end < content + size
            begin = content if content == end or is_around else content + size
        else:
            return True
    # Random bytes can look like an element, but hardly like one that ends at the next packet.
    return begin > end and file.seek(0, io.SEEK_END) > end


def _avi(file: BinaryIO, begin: int, end: int) -> bool:
    begin += begin % 2  # chunks are padded
    while begin < end - 8:
        file.seek(begin)
        head = file.read(8)
        id, size = head[:4], int.from_bytes(head[4:], "little")
        if id in _LISTS:
            begin += 12
        elif id in _CHUNKS or (id[:2].isdigit() and id[2:].isalpha()):
            begin += 8 + size + size % 2
        else:
            return True
    return False


def _transport(file: BinaryIO, begin: int, end: int) -> bool:
    # The next packet shows whether one is missing before it.
    end += _LENGTHS[0]
    return not any(_is_continuous(file, begin, end, length) for length in _LENGTHS)


def _is_continuous(file: BinaryIO, begin: int, end: int, length: int) -> bool:
    """Whether every packet of this length is there: the first one's stream has no gap.

    A first packet that is not the file's begins a frame; then only frames begin in its stream.
    """
    file.seek(begin)
    stream, counter = None, -1
    for place in range(begin, end - length + 1, _BLOCK_PACKETS * length):
        data = np.frombuffer(file.read(min(_BLOCK_PACKETS * length, end - place)), np.uint8)
        packets = data[: len(data) // length * length].reshape(-1, length)
        if (packets[:, 0] != _SYNC).any():
            return False
        ids = (packets[:, 1] & 31).astype(np.int64) * 256 + packets[:, 2]
        stream = ids[0] if stream is None and len(ids) else stream
        own = packets[(ids == stream) & (packets[:, 3] & 16 > 0)]
        counters = own[:, 3] & 15
        if counter >= 0:
            counters = np.insert(counters, 0, counter)
        if ((np.diff(counters) & 15) > 1).any():
            return False
        counter = int(counters[-1]) if len(counters) else counter
        if begin > 0 and not all(map(_is_frame, own[own[:, 1] & 64 > 0])):
            return False
    return stream is not None


def _is_frame(packet: NDArray[np.uint8]) -> bool:
    """Whether a packet of a transport stream that begins a unit begins one of a frame."""
    begin = 4 + (1 + int(packet[4]) if packet[3] & 32 else 0)
    return bool(packet[begin : begin + 3].tolist() == [0, 0, 1])
