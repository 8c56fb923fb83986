from dataclasses import replace
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage import seeking
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.seeking import check_available, frames_of
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.records import Video


@pytest.fixture
def video(film) -> Video:
    return Video(content_hash([film.path]), str(film.path), 10.0, 160, 120)


@pytest.fixture
def sparse_keys(film, tmp_path, video) -> Video:
    """The film with predicted frames both ways, of which only a few can be jumped to."""
    path = tmp_path / "film.mp4"
    capture = cv2.VideoCapture(str(film.path))
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"bf": "2", "g": "15"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.bit_rate = 4_000_000
        while (image := capture.read()[1]) is not None:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="bgr24")))
        container.mux(stream.encode())
    return replace(video, source=str(path), hash=content_hash([path]))


@pytest.fixture
def uneven(film, tmp_path, video) -> Video:
    """The film with frames of uneven length, as many recorders and phones make them."""
    path = tmp_path / "uneven.mkv"
    capture = cv2.VideoCapture(str(film.path))
    rng = np.random.default_rng(3)
    moment = 0
    with av.open(str(path), "w") as container:
        stream = container.add_stream("mpeg4", rate=10, options={"g": "12"})
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        stream.bit_rate = 4_000_000
        stream.codec_context.time_base = Fraction(1, 1000)
        while (image := capture.read()[1]) is not None:
            frame = av.VideoFrame.from_ndarray(image, format="bgr24")
            frame.pts, frame.time_base = moment, Fraction(1, 1000)
            container.mux(stream.encode(frame))
            moment += int(rng.choice([20, 40, 100, 300, 700]))
        container.mux(stream.encode())
    info = open_source(str(path)).info
    return replace(video, source=str(path), hash=info.hash, fps=info.fps)


def times(video: Video) -> dict[int, float]:
    """When each frame is, as indexing finds it."""
    return {f.number: f.time for f in open_source(video.source).frames(Span())}


class TestFramesOf:
    def test_gives_all_frames_in_order(self, film, video):
        found = [(number, film.number(image)) for number, image in frames_of(video)]
        assert found == [(n, n) for n in range(40)]

    @pytest.mark.parametrize("source", ["video", "sparse_keys"])
    @pytest.mark.parametrize("first", [0, 1, 7, 22, 39])
    @pytest.mark.parametrize("told", ["right", "wrong", "nothing"])
    def test_gives_the_same_frames_from_anywhere(self, film, source, first, told, request):
        there = request.getfixturevalue(source)
        moment = {"right": first / 10, "wrong": first / 10 + 0.73, "nothing": None}[told]
        found = [
            (number, film.number(image))
            for number, image in frames_of(there, first, min(first + 5, 39), moment)
        ]
        assert found == [(n, n) for n in range(first, min(first + 6, 40))]

    def test_frames_of_uneven_length_are_found_without_decoding_those_before(
        self, film, uneven, monkeypatch
    ):
        when = times(uneven)
        restarts = []
        restart = seeking.VideoReader._restart
        monkeypatch.setattr(
            seeking.VideoReader, "_restart", lambda self: restarts.append(None) or restart(self)
        )
        for first in range(40):
            found = [
                (number, film.number(image))
                for number, image in frames_of(uneven, first, first + 1, when[first])
            ]
            assert found == [(n, n) for n in range(first, min(first + 2, 40))]
        assert len(restarts) <= 42  # a second one for a frame means that frames were counted

    @pytest.mark.parametrize("source", ["video", "sparse_keys", "uneven"])
    def test_footage_may_begin_earlier(self, film, source, request):
        there = request.getfixturevalue(source)
        when = times(there)
        for first in (1, 20, 39):
            found = [
                (number, film.number(image))
                for number, image in frames_of(there, first, first, when[first], lead=0.5)
            ]
            begin = found[0][0]
            assert found == [(n, n) for n in range(begin, first + 1)]
            assert begin == 0 or begin == min(n for n in when if when[n] > when[first] - 0.501)

    def test_refuses_another_video_of_the_same_size(self, film, video, tmp_path):
        path = tmp_path / "film.avi"
        path.write_bytes(film.path.read_bytes())
        there = replace(video, source=str(path))
        assert next(frames_of(there))[0] == 0
        content = bytearray(path.read_bytes())
        content[-100] ^= 1
        path.write_bytes(content)
        with pytest.raises(InputError, match="is another video than the one that was indexed"):
            next(frames_of(there))

    def test_a_rate_that_was_given_is_no_reason_to_miss_a_frame(self, film, video):
        slower = replace(video, fps=5.0)
        number, image = next(frames_of(slower, 20, moment=4.0))
        assert number == film.number(image) == 20

    def test_ends_where_the_footage_ends(self, video):
        assert [number for number, _ in frames_of(video, 38, 50, 3.8)] == [38, 39]
        assert not list(frames_of(video, 60, 70, 6.0))

    def test_refuses_footage_of_another_size(self, video):
        with pytest.raises(InputError, match="160x120 pixels instead of 320x120"):
            next(frames_of(replace(video, width=320)))

    def test_refuses_images_that_are_others_now(self, tmp_path, video):
        for number in range(3):
            image = np.full((120, 160, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / f"{number}.png"), image)
        images = replace(video, source=str(tmp_path))
        with pytest.raises(InputError, match="holds other images than were indexed"):
            next(frames_of(images))


class TestCheckAvailable:
    @pytest.mark.parametrize("name", ["gone.avi", "gone/*.png"])
    def test_refuses_what_is_no_longer_there(self, tmp_path, video, name):
        with pytest.raises(InputError, match="no longer where it was indexed: put it back"):
            check_available(replace(video, source=str(tmp_path / name)))

    def test_refuses_streams(self, video):
        stream = replace(video, source="rtsp://10.0.0.1/gate", resumable=False)
        with pytest.raises(InputError, match="was a live stream"):
            check_available(stream)
