from dataclasses import dataclass, field

import cv2
import numpy as np
import pytest
import supervision as sv

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.motion import MotionDetector
from reid_dhm.gallery.detect.protocol import Settings
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.search.query_image import cut_person, embed_query, find_person


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


@pytest.fixture
def frame() -> np.ndarray:
    """Grey, with a red person at 40,20 to 60,80 and a blue one at 100,10 to 120,100; RGB."""
    image = np.full((120, 160, 3), 99, np.uint8)
    image[20:80, 40:60] = (200, 0, 0)
    image[10:100, 100:120] = (0, 0, 200)
    return image


class TestEmbedQuery:
    def test_cuts_the_box_out_of_a_file(self, frame, tmp_path):
        path = tmp_path / "frame.png"
        cv2.imwrite(str(path), frame[:, :, ::-1])
        assert embed_query(mean_colour, path, (40, 20, 60, 80)).tolist() == [[1, 0, 0]]

    def test_takes_all_of_a_image_where_nothing_says_otherwise(self, frame):
        expected = frame.mean((0, 1)) / np.linalg.norm(frame.mean((0, 1)))
        assert embed_query(mean_colour, frame)[0] == pytest.approx(expected)

    def test_a_detector_finds_the_person_of_the_largest_area_times_score(self, frame):
        red, blue = (40, 20, 60, 80), (100, 10, 120, 100)
        sure = embed_query(mean_colour, frame, detector=Finds([red, blue], [0.9, 0.8]))
        assert sure.tolist() == [[0, 0, 1]]
        unsure = embed_query(mean_colour, frame, detector=Finds([red, blue], [0.9, 0.4]))
        assert unsure.tolist() == [[1, 0, 0]]

    def test_a_box_needs_no_detector(self, frame):
        detector = Finds([], [])
        embed_query(mean_colour, frame, (40, 20, 60, 80), detector)
        assert not detector.seen

    def test_a_detector_is_shown_bgr_as_of_a_video(self, frame):
        detector = Finds([(40, 20, 60, 80)], [1.0])
        find_person(frame, detector, "frame")
        assert detector.seen[0].image[30, 50].tolist() == [0, 0, 200]

    def test_refuses_what_cannot_be_read(self, tmp_path):
        (tmp_path / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 nothing")
        with pytest.raises(InputError, match=r"broken\.jpg is "):
            embed_query(mean_colour, tmp_path / "broken.jpg")
        with pytest.raises(InputError, match=r"none\.jpg does not exist"):
            embed_query(mean_colour, tmp_path / "none.jpg")

    def test_says_when_nobody_is_there(self, frame):
        with pytest.raises(InputError, match="frame shows nobody whom made up finds: give the box"):
            find_person(frame, Finds([], []), "frame")

    def test_refuses_a_detector_that_needs_a_video(self, frame):
        with pytest.raises(InputError, match="motion finds people by what moves in a video"):
            embed_query(mean_colour, frame, detector=MotionDetector())


class TestCutPerson:
    def test_a_box_over_the_edge_is_cut_at_the_edge(self, frame):
        assert cut_person(frame, (-20, 5.5, 30.2, 500)).shape == (115, 31, 3)

    @pytest.mark.parametrize(
        ("box", "message"),
        [
            ((60, 20, 40, 80), "60,20,40,80 is no box"),
            ((40, 20, float("nan"), 80), "40,20,nan,80 is no box"),
            ((160, 0, 200, 50), "box 160,0,200,50 lies outside of frame, which is 160x120"),
            ((-50, 0, 0, 50), "lies outside of frame"),
            ((10, 10, 17, 80), "frame has 7x70 pixels, too few to know anybody by: 8x16"),
            ((150, 20, 400, 34), "frame has 10x14 pixels"),
        ],
    )
    def test_refuses_boxes_without_a_person(self, frame, box, message):
        with pytest.raises(InputError, match=message):
            cut_person(frame, box, "frame")

    def test_refuses_a_image_that_is_too_small(self):
        with pytest.raises(InputError, match="thumb has 7x40 pixels, too few"):
            cut_person(np.zeros((40, 7, 3), np.uint8), None, "thumb")
