from dataclasses import replace

import av
import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.footage import check_reachable, frames_of
from reid_dhm.gallery.records import Video


@pytest.fixture
def video(film) -> Video:
    return Video("0" * 16, str(film.path), 10.0, 160, 120)


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
    return replace(video, source=str(path))


class TestFramesOf:
    def test_gives_all_frames_in_order(self, film, video):
        found = [(number, film.number(image)) for number, image in frames_of(video)]
        assert found == [(n, n) for n in range(40)]

    @pytest.mark.parametrize("source", ["video", "sparse_keys"])
    @pytest.mark.parametrize("first", [0, 1, 7, 22, 39])
    @pytest.mark.parametrize("told", ["right", "wrong", "nothing"])
    def test_gives_the_same_frames_from_anywhere(self, film, source, first, told, request):
        there = request.getfixturevalue(source)
        moment = {"right": first / 10, "wrong": first / 10 + 0.7, "nothing": None}[told]
        found = [
            (number, film.number(image))
            for number, image in frames_of(there, first, min(first + 5, 39), moment)
        ]
        assert found == [(n, n) for n in range(first, min(first + 6, 40))]

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

    def test_refuses_pictures_that_are_others_now(self, tmp_path, video):
        for number in range(3):
            picture = np.full((120, 160, 3), number, np.uint8)
            cv2.imwrite(str(tmp_path / f"{number}.png"), picture)
        pictures = replace(video, source=str(tmp_path))
        with pytest.raises(InputError, match="holds other pictures than were indexed"):
            next(frames_of(pictures))


class TestCheckReachable:
    @pytest.mark.parametrize("name", ["gone.avi", "gone/*.png"])
    def test_refuses_what_is_no_longer_there(self, tmp_path, video, name):
        with pytest.raises(InputError, match="no longer where it was indexed: put it back"):
            check_reachable(replace(video, source=str(tmp_path / name)))

    def test_refuses_streams(self, video):
        stream = replace(video, source="rtsp://10.0.0.1/gate", resumable=False)
        with pytest.raises(InputError, match="was a live stream"):
            check_reachable(stream)
