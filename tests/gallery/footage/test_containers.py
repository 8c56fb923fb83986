"""Claims of containers and codecs: what is believed, and what is said."""

import http.server
import os
import threading
from functools import partial
from itertools import pairwise
from pathlib import Path

import av
import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.sources import open_source


def times_of(path: Path | str) -> list[float]:
    return [frame.time for frame in open_source(str(path)).frames(Span())]


@pytest.mark.parametrize("name", ["pause.mkv", "pause.mp4"])
def test_a_pause_in_a_recording_is_kept(write_video, tmp_path, caplog, name):
    path = write_video(tmp_path / name, times=lambda n: n / 25 + (60 if n >= 50 else 0))
    times = times_of(path)
    assert (times[50], times[-1]) == pytest.approx((62.00, 63.96), abs=0.002)
    assert open_source(str(path)).info.fps == pytest.approx(25, abs=0.1)
    assert caplog.text == ""


def test_the_rate_of_a_browsers_recording_comes_from_its_frames(write_video, tmp_path, caplog):
    """WebM without a rate in its header, for which decoders claim 1000 frames per second."""
    rng = np.random.default_rng(0)
    gaps = rng.choice([0.031, 0.033, 0.034, 0.036, 0.029, 0.066], 100)
    times = np.cumsum([0, *gaps])
    for options in ({"live": "1"}, {}):
        path = write_video(
            *(tmp_path / "rec.webm", 100, "libvpx", times.__getitem__),
            container_options=options,
            options={"deadline": "realtime", "cpu-used": "8"},
        )
        content = bytearray(path.read_bytes())
        place = content.find(bytes.fromhex("23e383"))  # the default duration becomes padding
        content[place : place + 2] = bytes([0xEC, 0x80 | ((content[place + 3] & 0x7F) + 2)])
        path.write_bytes(content)
        source = open_source(str(path))
        assert source.info.fps == pytest.approx(99 / times[99], rel=0.02)
        found = [frame.time for frame in source.frames(Span())]
        np.testing.assert_allclose(found, times[:100], atol=0.002)
    assert caplog.text == ""


def test_a_trimmed_clip_is_whole(write_video, tmp_path, caplog):
    """A copy from the middle of a group of pictures, the first of which are not to be shown."""
    source, path = write_video(tmp_path / "a.mp4", options={"bf": "0"}), tmp_path / "trimmed.mp4"
    with av.open(str(source)) as whole, av.open(str(path), "w") as part:
        stream = whole.streams.video[0]
        copy = part.add_stream_from_template(stream)
        begin = round(1.3 / stream.time_base)
        for packet in whole.demux(stream):
            if packet.dts is None or packet.pts < round(1.2 / stream.time_base):
                continue
            packet.pts, packet.dts = packet.pts - begin, packet.dts - begin
            packet.stream = copy
            part.mux(packet)
    with av.open(str(path)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    assert len(times_of(path)) == decoded
    assert decoded >= 60
    assert caplog.text == ""


def test_late_timestamps_are_counted_from_the_first(write_video, tmp_path, caplog):
    path = write_video(tmp_path / "late.mkv", times=lambda n: 1e6 + n / 25, options={"bf": "3"})
    assert times_of(path) == pytest.approx([n / 25 for n in range(100)], abs=0.002)
    assert caplog.text == ""


def write_sound(path: Path, cover: bool) -> Path:
    with av.open(str(path), "w") as container:
        codec = "libmp3lame" if path.suffix == ".mp3" else "aac"
        sound = container.add_stream(codec, rate=44100)
        image = None
        if cover:
            image = container.add_stream("mjpeg", rate=1)
            image.width, image.height, image.pix_fmt = 64, 64, "yuvj420p"
            image.disposition = av.stream.Disposition.attached_pic
        if image is not None:
            frame = av.VideoFrame.from_ndarray(np.zeros((64, 64, 3), np.uint8), format="rgb24")
            container.mux(image.encode(frame.reformat(format="yuvj420p")))
            container.mux(image.encode())
        for number in range(40):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1152), np.float32), "fltp", "mono")
            frame.sample_rate, frame.pts = 44100, number * 1152
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    return path


@pytest.mark.parametrize(
    ("name", "cover", "holds"), [("song.mp3", True, "sound and a cover"), ("a.m4a", False, "sound")]
)
def test_sound_is_not_called_a_damaged_video(tmp_path, name, cover, holds):
    path = write_sound(tmp_path / name, cover)
    with pytest.raises(InputError, match=f"{name} holds no video, only {holds}"):
        open_source(str(path))


def test_a_codec_without_a_decoder_is_named_with_the_remedy(tmp_path):
    path = tmp_path / "a.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    writer.write(np.zeros((48, 64, 3), np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes().replace(b"MJPG", b"QZQZ"))
    with pytest.raises(
        UnsupportedError,
        match=r"uses the codec QZQZ, which is not supported here: convert",
    ):
        open_source(str(path))


@pytest.mark.parametrize("codec", ["libsvtav1", "libaom-av1"])
def test_av1_which_opencv_does_not_decode_is_read(write_video, tmp_path, codec):
    path = write_video(tmp_path / "a.mp4", count=12, codec=codec)
    assert times_of(path) == pytest.approx([n / 25 for n in range(12)], abs=0.002)


def test_pixels_are_those_of_opencv_also_when_the_video_is_turned(write_video, tmp_path):
    for turned in (0, 90, 180, 270):
        path = write_video(tmp_path / f"{turned}.mp4", count=3, turned=turned)
        capture = cv2.VideoCapture(str(path))
        source = open_source(str(path))
        for frame in source.frames(Span()):
            np.testing.assert_array_equal(frame.image, capture.read()[1])
        assert (source.info.height, source.info.width) == frame.image.shape[:2]


def test_a_video_without_timestamps_has_steady_times(write_video, tmp_path):
    path = write_video(tmp_path / "raw.h264")
    times = times_of(path)
    assert len(times) == 100
    gaps = {round(b - a, 6) for a, b in pairwise(times)}
    assert gaps == {round(1 / open_source(str(path)).info.fps, 6)}


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
def test_reordered_frames_in_avi_have_steady_times(write_video, tmp_path, caplog, codec):
    path = write_video(tmp_path / "a.avi", codec=codec, options={"bf": "2"})
    assert times_of(path) == pytest.approx([n / 25 for n in range(100)], abs=1e-6)
    assert caplog.text == ""  # though its header counts 4000 places for frames


def test_names_that_are_not_utf8_are_refused(tmp_path):
    name = os.fsdecode(os.fsencode(tmp_path) + b"/\xff\xfe.mp4")
    with pytest.raises(InputError, match=r"xff.*is not valid UTF-8: rename the file"):
        open_source(name)


@pytest.fixture
def served(tmp_path):
    """The address of a folder on a server."""

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(
        ("127.0.0.1", 0), partial(Quiet, directory=str(tmp_path))
    )
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_a_recording_on_a_server_is_read_as_one(write_video, tmp_path, served):
    path = write_video(tmp_path / "v.mp4", container_options={"movflags": "faststart"})
    source = open_source(f"{served}/v.mp4", patience=2)
    info = source.info
    assert (info.live, info.num_frames, info.name) == (False, 100, f"{served}/v.mp4")
    found = [frame.time for frame in source.frames(Span())]
    assert found == pytest.approx([n / 25 for n in range(100)], abs=0.002)
    assert open_source(f"{served}/v.mp4").info.hash == info.hash
    write_video(path, count=99)
    assert open_source(f"{served}/v.mp4").info.hash != info.hash


def test_a_recorded_playlist_is_read_to_its_end(write_video, tmp_path, served):
    write_video(
        tmp_path / "v.m3u8",
        format="hls",
        container_options={
            "hls_time": "1",
            "hls_playlist_type": "vod",
            "hls_segment_filename": str(tmp_path / "part%d.ts"),
        },
    )
    source = open_source(f"{served}/v.m3u8", patience=2)
    assert not source.info.live
    assert len(list(source.frames(Span()))) == 100


def test_a_file_may_be_given_as_an_address(write_video, tmp_path):
    path = write_video(tmp_path / "a b.mp4", count=5)
    source = open_source(path.as_uri())
    assert (source.info.name, source.info.live) == (str(path), False)
    assert source.info.hash == content_hash([path])
    assert len(list(source.frames(Span()))) == 5


def test_a_server_that_is_not_there_is_named_without_credentials():
    with pytest.raises(InputError, match=r"http://127\.0\.0\.1:9/v\.mp4 cannot be opened") as error:
        open_source("http://user:secret@127.0.0.1:9/v.mp4?token=secret", patience=1)
    assert "secret" not in str(error.value)
