"""What is left of damaged and cut videos, and what is said about it."""

import errno
import shutil

import av
import numpy as np
import pytest

from reid_dhm.errors import InputError, StorageError
from reid_dhm.gallery.footage.decoding import decoder as decoding
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.index_video import index_video

MKV = {"format": "matroska", "container_options": {"live": "1"}}  # without a number of frames


@pytest.mark.parametrize(
    ("name", "options", "packet", "frames", "lost"),
    [
        ("a.mp4", {"options": {"bf": "0"}}, 33, 99, 1),
        ("a.mkv", {"options": {"bf": "0"}, **MKV}, 33, 99, 1),
        ("a.mp4", {"options": {"bf": "0"}}, 0, 90, 10),  # nothing before the next keyframe
        ("a.mp4", {"options": {"bf": "3"}}, 33, 99, 1),
        ("a.mp4", {"options": {"bf": "3"}}, 98, 99, 1),
    ],
)
def test_a_damaged_packet_costs_no_frames_but_its_own(
    write_video, damage, tmp_path, caplog, capfd, name, options, packet, frames, lost
):
    path = damage(write_video(tmp_path / name, **options), packet, 9 if name == "a.mkv" else 0)
    found = list(open_source(str(path)).frames(Span()))
    assert len(found) == frames
    assert [frame.number for frame in found] == list(range(frames))
    assert f"damaged frames left out: {lost}" in caplog.text
    assert "cut off" not in caplog.text
    assert capfd.readouterr().err == ""  # the decoder's own messages


def test_frames_that_the_decoder_drops_without_an_error_are_told(write_video, tmp_path, caplog):
    whole, noisy = write_video(tmp_path / "a.mkv", options={"bf": "0"}), tmp_path / "noisy.mkv"
    draw = np.random.default_rng(0)
    with av.open(str(whole)) as source, av.open(str(noisy), "w") as target:
        stream = target.add_stream_from_template(source.streams.video[0])
        packets = [packet for packet in source.demux(video=0) if packet.size]
        for number, packet in enumerate(packets):
            data = draw.bytes(packet.size) if number == 30 else bytes(packet)
            copy = av.Packet(data)
            copy.pts, copy.dts, copy.time_base = packet.pts, packet.dts, packet.time_base
            copy.is_keyframe, copy.stream = packet.is_keyframe, stream
            target.mux(copy)
    frames = list(open_source(str(noisy)).frames(Span()))
    assert len(frames) < 100
    assert f"damaged frames left out: {100 - len(frames)}" in caplog.text


def test_frames_behind_the_damage_keep_their_times(write_video, damage, tmp_path):
    path = damage(write_video(tmp_path / "a.mp4", options={"bf": "0"}), 33)
    times = [frame.time for frame in open_source(str(path)).frames(Span())]
    assert times == pytest.approx([n / 25 for n in range(100) if n != 33], abs=0.002)


def test_a_video_of_damaged_frames_alone_is_refused(write_video, damage, tmp_path):
    path = write_video(tmp_path / "a.mp4", count=3, options={"g": "1"})
    for packet in range(3):
        path = damage(path, packet)
    with pytest.raises(InputError, match="cannot be decoded: all of its frames are damaged"):
        open_source(str(path))


@pytest.mark.parametrize(
    ("name", "options", "told"),
    [
        ("a.mp4", {"container_options": {"movflags": "faststart"}}, "of 100 frames"),
        ("a.mkv", {}, "of 4.0 seconds"),
    ],
)
def test_a_cut_video_says_so(write_video, tmp_path, caplog, name, options, told):
    path = write_video(tmp_path / name, **options)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    found = list(open_source(str(path)).frames(Span()))
    assert 20 < len(found) < 80
    assert told in caplog.text
    assert "it is cut off or damaged" in caplog.text


def test_a_disk_that_fails_is_not_the_end_of_the_video(write_video, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4")
    real = decoding.VideoDecoder._demux

    class Failing:
        def __init__(self, container) -> None:
            self._container = container

        def __getattr__(self, name):
            return getattr(self._container, name)

        def demux(self, *streams):
            for number, packet in enumerate(self._container.demux(*streams)):
                if number == 50:
                    raise OSError(errno.EIO, "Input/output error", str(path))
                yield packet

    def demux(self):
        self._container = Failing(self._container)
        return real(self)

    source = open_source(str(path))
    monkeypatch.setattr(decoding.VideoDecoder, "_demux", demux)
    frames = source.frames(Span())
    with pytest.raises(StorageError, match=r"a\.mp4 cannot be read further \(input/output error\)"):
        list(frames)


def test_a_file_that_may_not_be_read_is_not_called_damaged(write_video, tmp_path, monkeypatch):
    path = write_video(tmp_path / "a.mp4", count=2)

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    monkeypatch.setattr(decoding.av, "open", refuse)
    with pytest.raises(InputError, match=r"a\.mp4 cannot be read: permission denied"):
        open_source(str(path))


def test_a_file_that_grows_while_it_is_read_is_told(write_video, tmp_path, caplog):
    path = write_video(tmp_path / "a.mkv", count=20)
    source = open_source(str(path))
    frames = source.frames(Span())
    next(frames)
    with path.open("ab") as file:
        file.write(b"more")
    list(frames)
    assert "is still being written: index it again when it is complete" in caplog.text


class FakeEmbedder:
    """Brightness instead of a network."""

    fingerprint, dim = "ab" * 32, 1

    def __call__(self, images):
        return np.ones((len(images), 1), np.float32)


def test_the_longer_version_of_an_indexed_file_is_recognised(write_video, tmp_path):
    path, whole = tmp_path / "a.mkv", tmp_path / "whole.mkv"
    write_video(path, count=40)
    write_video(whole, count=80)
    boxes = "\n".join(f"{n},-1,{20 + n},20,40,80,1" for n in range(1, 81))
    (tmp_path / "det.txt").write_text(boxes)
    detector = f"mot:{tmp_path / 'det.txt'}"
    first = index_video(tmp_path / "g", path, "gate", FakeEmbedder(), "m", detector=detector)
    assert first.tracklets >= 1
    shutil.copy(whole, path)
    message = f"is a longer version of video {first.videos[0]}, which was indexed before"
    with pytest.raises(InputError, match=message):
        index_video(tmp_path / "g", path, "gate", FakeEmbedder(), "m", detector=detector)
    shutil.copy(noise(tmp_path / "noise.mkv"), path)  # another recording under the same name
    assert (
        index_video(*(tmp_path / "g", path, "gate", FakeEmbedder(), "m"), detector=detector).videos
        != first.videos
    )


def noise(path):
    """A video of other images."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        rng = np.random.default_rng(5)
        for _ in range(40):
            image = rng.integers(0, 255, (120, 160, 3)).astype(np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return path
