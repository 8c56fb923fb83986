from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import supervision as sv

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.motion import MotionDetector
from reid_dhm.gallery.detect.protocol import Settings
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.search.query_image import SeveralPeopleError, crop_query, find_person


@dataclass
class Finds:
    """A detector that says what it was told to say."""

    boxes: list[tuple[float, float, float, float]]
    scores: list[float]
    settings: Settings = field(default_factory=lambda: {"detector": "made up"})
    stateful: bool = False
    seen: list[Frame] = field(default_factory=list)

    def detect(self, frame: Frame) -> sv.Detections:
        self.seen.append(frame)
        boxes = np.array(self.boxes, np.float32).reshape(-1, 4)
        return sv.Detections(xyxy=boxes, confidence=np.array(self.scores, np.float32))


def mean_colour(images):
    rows = np.array([image.mean((0, 1)) for image in images])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def colour(crop) -> list[int]:
    return mean_colour([crop.pixels])[0].tolist()


@pytest.fixture
def frame() -> np.ndarray:
    """Grey, with a red person at 40,20 to 60,80 and a blue one at 100,10 to 120,100; RGB."""
    image = np.full((120, 160, 3), 99, np.uint8)
    image[20:80, 40:60] = (200, 0, 0)
    image[10:100, 100:120] = (0, 0, 200)
    return image


class TestCropQuery:
    def test_cuts_the_box_out_of_a_file(self, frame, tmp_path):
        path = tmp_path / "frame.png"
        cv2.imwrite(str(path), frame[:, :, ::-1])
        assert colour(crop_query(path, (40, 20, 60, 80))) == [1, 0, 0]

    def test_takes_the_whole_of_an_image_that_is_as_narrow_as_a_person(self, frame):
        crop = crop_query(frame[:, :90])
        assert crop.box is None
        assert (crop.pixels == frame[:, :90]).all()
        with pytest.raises(InputError, match="frame is too wide to show one person alone: give"):
            crop_query(frame, name="frame")

    def test_a_detector_finds_the_only_person(self, frame):
        red, blue = (40, 20, 60, 80), (100, 10, 120, 100)
        unsure = crop_query(frame, detector=Finds([red, blue], [0.9, 0.4]))
        assert (unsure.box, colour(unsure)) == (red, [1, 0, 0])

    def test_of_several_people_their_boxes_are_told(self, frame):
        red, blue = (40, 20, 60, 80), (100, 10, 120, 100)
        with pytest.raises(SeveralPeopleError, match=r"frame shows 2 people.*80; 1") as e:
            crop_query(frame, detector=Finds([blue, red], [0.9, 0.8]), name="frame")
        assert e.value.boxes == (red, blue)

    def test_a_box_needs_no_detector(self, frame):
        detector = Finds([], [])
        crop_query(frame, (40, 20, 60, 80), detector)
        assert not detector.seen

    def test_a_detector_is_shown_bgr_as_of_a_video(self, frame):
        detector = Finds([(40, 20, 60, 80)], [1.0])
        find_person(frame, detector, "frame")
        assert detector.seen[0].image[30, 50].tolist() == [0, 0, 200]

    def test_refuses_what_cannot_be_read(self, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
        with pytest.raises(InputError, match=r"broken\.jpg is "):
            crop_query(tmp_path / "broken.jpg")
        with pytest.raises(InputError, match=r"none\.jpg does not exist"):
            crop_query(tmp_path / "none.jpg")

    def test_says_when_nobody_is_there(self, frame):
        with pytest.raises(InputError, match="made up found no people in frame: give the box"):
            find_person(frame, Finds([], []), "frame")

    def test_refuses_a_detector_that_needs_a_video(self, frame):
        with pytest.raises(InputError, match="detector motion needs a video"):
            crop_query(frame, detector=MotionDetector())


class TestBoxes:
    def test_a_box_over_the_edge_is_cut_at_the_edge(self, frame):
        assert crop_query(frame, (-20, 5.5, 30.2, 500)).pixels.shape == (115, 31, 3)

    @pytest.mark.parametrize(
        ("box", "message"),
        [
            ((60, 20, 40, 80), r"invalid box \(60, 20, 40, 80\): need x1 < x2"),
            ((40, 20, float("nan"), 80), r"invalid box \(40, 20, nan, 80\)"),
            ((160, 0, 200, 50), "box 160,0,200,50 is outside frame, which has 160x120"),
            ((-50, 0, 0, 50), "is outside frame"),
            ((10, 10, 17, 80), "frame has 7x70 pixels: need at least 8x16"),
            ((150, 20, 400, 34), "frame has 10x14 pixels"),
        ],
    )
    def test_refuses_boxes_without_a_person(self, frame, box, message):
        with pytest.raises(InputError, match=message):
            crop_query(frame, box, name="frame")

    def test_refuses_a_image_that_is_too_small(self):
        with pytest.raises(InputError, match="thumb has 7x40 pixels: need at least 8x16"):
            crop_query(np.zeros((40, 7, 3), np.uint8), name="thumb")
