from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.frames import Span
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.sources import check_source, open_source

FPS = 8.0
COUNT = 24


def image(number: int) -> np.ndarray:
    """A grey image whose brightness tells its number."""
    return np.full((48, 64, 3), 10 * number, np.uint8)


def number_of(image: np.ndarray) -> int:
    return round(float(image.mean()) / 10)


@pytest.fixture(scope="module")
def video(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("video") / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), FPS, (64, 48))
    for number in range(COUNT):
        writer.write(image(number))
    writer.release()
    return path


def test_frames_of_a_video_have_numbers_times_and_pixels(video):
    source = open_source(str(video))
    info = source.info
    assert (info.fps, info.width, info.height, info.num_frames) == (FPS, 64, 48, COUNT)
    assert (info.name, info.live) == (str(video), False)
    frames = list(source.frames(Span()))
    assert [frame.number for frame in frames] == list(range(COUNT))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / FPS, atol=1e-3)
    assert [number_of(frame.image) for frame in frames] == list(range(COUNT))
    assert frames[0].image.dtype == np.uint8


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        (Span(first=20), [20, 21, 22, 23]),
        (Span(stride=5), [0, 5, 10, 15, 20]),
        (Span(first=7, stride=5), [10, 15, 20]),
        (Span(begin=1.0, end=1.5), [8, 9, 10, 11]),
        (Span(begin=99.0), []),
    ],
)
def test_only_the_frames_wanted_come_and_they_are_the_same(video, span, expected):
    frames = list(open_source(str(video)).frames(span))
    assert [frame.number for frame in frames] == expected
    assert [number_of(frame.image) for frame in frames] == expected


def test_a_frame_rate_that_the_user_knows_better_sets_the_clock(video):
    frames = list(open_source(str(video), fps=2.0).frames(Span()))
    np.testing.assert_allclose([frame.time for frame in frames], np.arange(COUNT) / 2)


def test_a_file_that_is_cut_off_gives_what_it_holds_and_a_warning(video, tmp_path, caplog):
    cut = tmp_path / "cut.avi"
    content = video.read_bytes()
    cut.write_bytes(content[: len(content) * 3 // 4])  # in the middle of a frame
    frames = list(open_source(str(cut)).frames(Span()))
    assert 5 < len(frames) < COUNT
    assert [number_of(frame.image) for frame in frames] == list(range(len(frames)))
    assert f"ends after {len(frames)} of 24 frames: it is cut off or damaged" in caplog.text


def test_a_whole_file_warns_of_nothing(video, caplog):
    list(open_source(str(video)).frames(Span()))
    assert caplog.text == ""


@pytest.mark.parametrize("content", [b"", b"no video " * 1000])
def test_what_is_no_video_is_named(tmp_path, content):
    path = tmp_path / "note.mp4"
    path.write_bytes(content)
    with pytest.raises(
        InputError, match=r"note\.mp4 cannot be decoded: it is not a video, or damaged"
    ):
        open_source(str(path))


def test_a_source_that_is_not_there_is_named(tmp_path):
    with pytest.raises(NotFoundError, match=r"gone\.mp4 does not exist: give a video, a folder"):
        open_source(str(tmp_path / "gone.mp4"))


def write_images(folder: Path) -> None:
    folder.mkdir()
    for number in range(12):
        cv2.imwrite(str(folder / f"frame{number}.png"), image(number))


def test_images_come_in_natural_order_at_their_rate(tmp_path):
    write_images(tmp_path / "frames")
    (tmp_path / "frames" / "notes.txt").write_text("no image")
    for text in (tmp_path / "frames", tmp_path / "frames" / "*.png"):
        source = open_source(str(text), fps=4.0)
        assert source.info.num_frames == 12
        frames = list(source.frames(Span(first=1)))
        assert [number_of(frame.image) for frame in frames] == list(range(1, 12))
        assert [frame.time for frame in frames] == [number / 4 for number in range(1, 12)]


def test_the_pixels_of_images_are_bgr_as_those_of_videos(tmp_path):
    (tmp_path / "frames").mkdir()
    blue = np.zeros((8, 8, 3), np.uint8)
    blue[..., 0] = 255
    cv2.imwrite(str(tmp_path / "frames" / "1.png"), blue)
    (frame,) = open_source(str(tmp_path / "frames"), fps=1.0).frames(Span())
    np.testing.assert_array_equal(frame.image, blue)


def test_a_damaged_image_is_left_out_and_named(tmp_path, caplog):
    write_images(tmp_path / "frames")
    (tmp_path / "frames" / "frame3.png").write_bytes(b"no image")
    frames = list(open_source(str(tmp_path / "frames"), fps=1.0).frames(Span()))
    assert [frame.number for frame in frames] == [n for n in range(12) if n != 3]
    assert "frame3.png is truncated, corrupt or not an image" in caplog.text


def test_images_need_a_rate_and_there_must_be_some(tmp_path):
    write_images(tmp_path / "frames")
    with pytest.raises(InputError, match="holds images, which have no times: give fps"):
        open_source(str(tmp_path / "frames"))
    with pytest.raises(InputError, match="holds no images"):
        open_source(str(tmp_path / "frames" / "*.jpg"), fps=1.0)
    with pytest.raises(InputError, match=r"^fps is 0\.0: give frames per second"):
        open_source(str(tmp_path / "frames"), fps=0.0)


def test_hashes_follow_content_and_nothing_else(video, tmp_path):
    copy = tmp_path / "another name.avi"
    copy.write_bytes(video.read_bytes())
    assert open_source(str(copy)).info.hash == open_source(str(video)).info.hash
    copy.write_bytes(video.read_bytes() + b"x")
    assert open_source(str(copy)).info.hash != open_source(str(video)).info.hash
    assert len(open_source(str(copy)).info.hash) == 16


def test_hashes_of_images_tell_where_one_ends(tmp_path):
    parts = {"a": b"12", "b": b"3", "c": b"1", "d": b"23"}
    for name, content in parts.items():
        (tmp_path / name).write_bytes(content)
    first = content_hash([tmp_path / "a", tmp_path / "b"])
    assert first != content_hash([tmp_path / "c", tmp_path / "d"])
    assert first != content_hash([tmp_path / "b", tmp_path / "a"])


@pytest.mark.parametrize("text", ["100000000000000000000", "12345"])
def test_a_number_that_no_webcam_has_is_refused(text):
    with pytest.raises(InputError, match=f"there is no webcam {text[:20]}"):
        check_source(text)
