"""Frames that vanish from a container are told, and what only looks like it is not."""

import io
import re

import av
import numpy as np
import pytest

from reid_dhm.gallery.footage.decoding import holes
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.sources import open_source

QUIET = {"libx265": {"x265-params": "log-level=none:keyint=10"}, "libvpx-vp9": {"cpu-used": "8"}}


@pytest.fixture(scope="module")
def video(write_video, tmp_path_factory):
    """A video of 100 frames by codec, suffix and number of B-frames, written once."""
    made = {}

    def video(codec, suffix, reordered=0):
        key = codec, suffix, reordered
        if key not in made:
            options = {**QUIET.get(codec, {}), **({"bf": str(reordered)} if reordered else {})}
            path = tmp_path_factory.mktemp("whole") / f"a.{suffix}"
            made[key] = write_video(path, codec=codec, options=options, ticks=25)
        return made[key]

    return video


def read(path, caplog):
    """How many frames are read, and how many are told to be missing."""
    caplog.clear()
    count = sum(1 for _ in open_source(str(path)).frames(Span()))
    told = re.search(r"left out: (?:about )?(\d+)", caplog.text)
    return count, int(told[1]) if told else 0


def without_header(path, number, to):
    """A copy in which the header of a packet, and the end of the one before, are destroyed."""
    with av.open(str(path)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][number]
    content = bytearray(path.read_bytes())
    content[place - 8 : place + 16] = bytes(24)
    to.write_bytes(content)
    return to


@pytest.mark.parametrize("packet", [0, 10, 33, 60, 98])
@pytest.mark.parametrize(
    ("codec", "suffix", "reordered"),
    [
        ("mpeg4", "mkv", 0),
        ("libx264", "mkv", 3),
        ("libx265", "mkv", 0),
        ("mjpeg", "mkv", 0),
        ("libvpx-vp9", "webm", 0),
        ("mpeg4", "avi", 0),
        ("mjpeg", "avi", 0),
    ],
)
def test_frames_behind_a_destroyed_header_are_counted(
    video, tmp_path, caplog, codec, suffix, reordered, packet
):
    whole = video(codec, suffix, reordered)
    path = without_header(whole, packet, tmp_path / whole.name)
    count, told = read(path, caplog)
    assert count < 100
    assert count + told == pytest.approx(100, abs=1)
    assert "left out: about" in caplog.text


@pytest.mark.parametrize("codec", ["libx264", "mpeg2video"])
def test_frames_that_a_transport_stream_lost_are_counted(video, tmp_path, caplog, codec):
    whole = video(codec, "ts")
    content = whole.read_bytes()
    with av.open(str(whole)) as container:
        place = [packet.pos for packet in container.demux(video=0) if packet.size][33]
    path = tmp_path / "a.ts"
    for missing in (
        content[:place] + content[place + 188 :],  # a packet that was not received
        content[:place] + bytes(188) + content[place + 188 :],
        content[: place + 4] + bytes(184) + content[place + 188 :],
    ):
        path.write_bytes(missing)
        count, told = read(path, caplog)
        assert (count, told) == (99, 1)


def test_frames_in_whose_place_nothing_or_another_comes_are_counted(video, tmp_path, caplog):
    """The decoder of MPEG-4 neither returns a frame nor an error for some damage."""
    whole = video("mpeg4", "mp4")
    with av.open(str(whole)) as container:
        packets = [(p.pos, p.size) for p in container.demux(video=0) if p.size]
    content = bytearray(whole.read_bytes())
    place, size = packets[10]
    content[place + 12 : place + size] = bytes(size - 12)
    path = tmp_path / "a.mp4"
    path.write_bytes(content)
    assert read(path, caplog) == (99, 1)


@pytest.mark.parametrize(("codec", "suffix"), [("mpeg4", "mkv"), ("libx264", "mp4")])
def test_frames_that_are_decoded_in_part_are_told(video, tmp_path, caplog, codec, suffix):
    whole = video(codec, suffix)
    with av.open(str(whole)) as container:
        place, size = [(p.pos, p.size) for p in container.demux(video=0) if p.size][10]
    content = bytearray(whole.read_bytes())
    content[place + size // 2 : place + size // 2 + 8] = np.random.default_rng(0).bytes(8)
    path = tmp_path / whole.name
    path.write_bytes(content)
    assert read(path, caplog)[0] == 100
    assert "frames decoded in part: 1" in caplog.text


@pytest.mark.parametrize("cut", [40, 61, 97])
@pytest.mark.parametrize(("codec", "reordered"), [("libx264", 0), ("mpeg2video", 2)])
def test_a_broadcast_that_begins_anywhere_is_whole(video, tmp_path, caplog, codec, reordered, cut):
    path = tmp_path / "a.ts"
    path.write_bytes(video(codec, "ts", reordered).read_bytes()[188 * cut :])
    assert read(path, caplog)[0] > 30
    assert caplog.text == ""


STEPS = np.cumsum(np.random.default_rng(0).choice([1, 1, 1, 2, 5], 100)).tolist()


@pytest.mark.parametrize("suffix", ["mkv", "ts"])
@pytest.mark.parametrize(
    "times", [lambda n: STEPS[n] / 25, lambda n: n / 25 + (n >= 50) * 9.0], ids=["drops", "pause"]
)
def test_gaps_in_the_times_alone_are_no_damage(write_video, tmp_path, caplog, suffix, times):
    path = write_video(tmp_path / f"a.{suffix}", times=times)
    assert read(path, caplog) == (100, 0)
    assert caplog.text == ""


@pytest.mark.parametrize(
    ("suffix", "codec"),
    [("mkv", "aac"), ("mkv", "libopus"), ("avi", "libmp3lame"), ("ts", "aac"), ("mp4", "aac")],
)
def test_sound_between_the_frames_is_no_damage(tmp_path, caplog, suffix, codec):
    path = tmp_path / f"a.{suffix}"
    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4" if suffix == "avi" else "libx264", rate=25)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        sound = container.add_stream(codec, rate=48000)
        random = np.random.default_rng(0)
        for number in range(60):
            image = random.integers(0, 256, (48, 64, 3), np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, "rgb24")))
            noise = random.normal(0, 0.1, (1, 1920)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(noise, "fltp", "mono")
            frame.sample_rate, frame.pts = 48000, 1920 * number
            container.mux(sound.encode(frame))
        container.mux(video.encode())
        container.mux(sound.encode())
    assert read(path, caplog) == (60, 0)
    assert caplog.text == ""


def test_padding_between_clusters_is_no_damage(video, tmp_path, caplog):
    content = video("mjpeg", "mkv").read_bytes()
    clusters = [found.start() for found in re.finditer(rb"\x1f\x43\xb6\x75", content)]
    assert len(clusters) > 2
    void = bytes([0xEC, 0x41, 0x00]) + bytes(256)
    path = tmp_path / "a.mkv"
    path.write_bytes(content[: clusters[1]] + void + content[clusters[1] :])
    assert read(path, caplog) == (100, 0)
    assert caplog.text == ""


class Recorded(io.BytesIO):
    most = 0

    def read(self, size=-1):
        data = super().read(size)
        self.most = max(self.most, len(data))
        return data


@pytest.mark.parametrize("length", [188, 192, 204])
@pytest.mark.parametrize("missing", [None, 63, 64, 65, 700])
def test_a_transport_stream_is_checked_in_parts(monkeypatch, length, missing):
    monkeypatch.setattr(holes, "_BLOCK_PACKETS", 64)
    packets = [
        bytes([0x47, 1, 0, 0x10 | number % 16]).ljust(length, b"\0") for number in range(1000)
    ]
    if missing is not None:
        del packets[missing]
    file = Recorded(b"".join(packets))
    assert holes._transport(file, 0, len(packets) * length - 188) is (missing is not None)
    assert file.most <= 64 * 204


def test_random_bytes_that_look_like_an_element_do_not_hide_a_hole():
    file = io.BytesIO(b"\xec\x88".ljust(40, b"\0"))  # Void of eight bytes
    assert not holes._matroska(file, 0, 10)
    assert holes._matroska(file, 0, 7)  # a packet begins inside it
    assert not holes._matroska(io.BytesIO(b"\xec\x88\0\0"), 0, 4)  # the file is cut off there
