import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError, StorageFullError
from reid_dhm.gallery.footage.annotation import Drawn, annotate, check_video_name, still
from reid_dhm.gallery.footage.hashing import content_hash
from reid_dhm.gallery.footage.seeking import frames_of
from reid_dhm.gallery.records import Video

RED_LINE = (20, 60, 214)  # BGR, around those that were looked for


@pytest.fixture
def video(film) -> Video:
    return Video(content_hash([film.path]), str(film.path), 10.0, 160, 120, position=40)


def read(path) -> list[np.ndarray]:
    capture = cv2.VideoCapture(str(path))
    images = []
    while (image := capture.read()[1]) is not None:
        images.append(image)
    return images


def has_line(image: np.ndarray, box: np.ndarray, tolerance: float = 0) -> bool:
    """Whether the lower edge of a box, which no label hides, is drawn."""
    x1, _, x2, y2 = box.astype(int)
    edge = image[y2 - 1 : y2 + 2, x1 + 3 : x2 - 3].astype(int)
    return bool((np.abs(edge - RED_LINE).max(-1).min(0) <= tolerance).all())


class TestStill:
    def test_draws_a_box_around_who_was_looked_for(self, film, video):
        boxes = film.boxes["blue"]
        image = still(video, [Drawn("0.87", boxes)], 20, 2.0)
        assert image.shape == (120, 160, 3)
        assert has_line(image, boxes["box"][10])
        plain = dict(frames_of(video))[20]
        assert not has_line(plain, boxes["box"][10])

    def test_draws_between_the_frames_that_were_looked_at(self, film, video):
        boxes = film.boxes["blue"]
        image = still(video, [Drawn("0.87", boxes[::5])], 18, 1.8)
        assert has_line(image, boxes["box"][8])

    @pytest.mark.parametrize("number", [5, 36])
    def test_draws_nobody_before_and_after(self, film, video, number):
        image = still(video, [Drawn("0.87", film.boxes["blue"])], number, number / 10)
        assert np.array_equal(image, dict(frames_of(video))[number])

    def test_draws_nobody_where_nobody_was_seen_for_long(self, film, video):
        boxes = film.boxes["blue"][[0, 20]]  # two seconds apart
        image = still(video, [Drawn("0.87", boxes)], 20, 2.0)
        assert np.array_equal(image, dict(frames_of(video))[20])

    def test_others_are_drawn_otherwise(self, film, video):
        boxes = film.boxes["blue"]
        image = still(video, [Drawn("0.11", boxes, found=False)], 20, 2.0)
        assert not has_line(image, boxes["box"][10])
        assert not np.array_equal(image, dict(frames_of(video))[20])

    def test_says_when_there_is_no_such_frame(self, film, video):
        with pytest.raises(InputError, match="has no frame 50"):
            still(video, [], 50, 5.0)


class TestAnnotate:
    @pytest.mark.parametrize("suffix", [".webm", ".mp4"])
    def test_writes_the_whole_video(self, film, video, tmp_path, suffix):
        told = []
        path = tmp_path / f"seen{suffix}"
        drawn = [Drawn("0.87", film.boxes["blue"])]
        assert annotate(video, drawn, path, progress=lambda *done: told.append(done)) == 40
        images = read(path)
        assert [film.number(image) for image in images] == list(range(40))
        assert has_line(images[20], film.boxes["blue"]["box"][10], tolerance=90)  # lossy colours
        assert told[-1] == (40, 40)

    def test_writes_a_part_at_the_same_pace(self, film, video, tmp_path):
        path = tmp_path / "clip.webm"
        assert annotate(video, [], path, 8, 20, 0.8, step=3, width=99) == 5
        images = read(path)
        assert images[0].shape == (74, 98, 3)
        capture = cv2.VideoCapture(str(path))
        assert capture.get(cv2.CAP_PROP_FPS) == pytest.approx(10 / 3, rel=0.01)

    def test_leaves_nothing_half_written(self, film, video, tmp_path):
        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            annotate(video, [], tmp_path / "seen.webm", progress=stop)
        with pytest.raises(InputError, match="has no frame 90"):
            annotate(video, [], tmp_path / "seen.webm", 90, 99, 9.0)
        assert not list(tmp_path.iterdir())

    def test_a_full_disk_is_named(self, video, tmp_path):
        path = tmp_path / "seen.webm"
        path.symlink_to("/dev/full")
        with pytest.raises(StorageFullError, match=r"seen\.webm: cannot be written"):
            annotate(video, [], path)

    def test_a_link_leads_to_the_video(self, video, tmp_path):
        path = tmp_path / "seen.webm"
        path.symlink_to(tmp_path / "new" / "video.webm")
        annotate(video, [], path)
        assert path.is_symlink()
        assert len(read(tmp_path / "new" / "video.webm")) == 40

    @pytest.mark.parametrize("name", ["seen.avi", "seen", "seen.gif"])
    def test_refuses_what_it_cannot_write(self, name, tmp_path):
        with pytest.raises(InputError, match=r"use the suffix \.webm, which browsers play"):
            check_video_name(tmp_path / name)
