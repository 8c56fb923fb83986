import numpy as np
import pytest
import supervision as sv
import torch

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.mot import MotDetections
from reid_dhm.gallery.detect.motion import MotionDetector
from reid_dhm.gallery.detect.protocol import to_detections
from reid_dhm.gallery.footage.frames import Frame


def frame(height: int = 128, width: int = 128, number: int = 0) -> Frame:
    return Frame(number, number / 10, np.full((height, width, 3), 60, np.uint8))


def test_mot_files_are_read_by_frame_with_pixels_from_one(tmp_path):
    path = tmp_path / "det.txt"
    path.write_text("2,-1,11,21,30,40,0.5,-1,-1,-1\n\n1,-1,1,1,10,10,-1\n2,-1,101,1,60,20,0.9\n")
    detector = build_detector(f"mot:{path}")
    first, second, third = (detector.detect(frame(number=n)) for n in range(3))
    np.testing.assert_array_equal(first.xyxy, [[0, 0, 10, 10]])
    np.testing.assert_array_equal(first.confidence, [1])
    np.testing.assert_array_equal(second.xyxy, [[10, 20, 40, 60], [100, 0, 128, 20]])
    np.testing.assert_allclose(second.confidence, [0.5, 0.9])
    assert len(third) == 0
    assert len(MotDetections(path, confidence=0.6).detect(frame(number=1))) == 1


@pytest.mark.parametrize("line", ["1,2,3", "a,b,c,d,e,f,g", "0,1,1,1,9,9,1", "1,1,nan,1,9,9,1"])
def test_a_wrong_line_of_a_mot_file_is_named(tmp_path, line):
    (tmp_path / "det.txt").write_text(f"1,-1,1,1,10,10,1\n{line}\n")
    with pytest.raises(InputError, match=r"det\.txt:2 is .*: give frame, id, left"):
        build_detector(f"mot:{tmp_path / 'det.txt'}")
    with pytest.raises(InputError, match=r"gone\.txt does not exist"):
        build_detector("mot:gone.txt")


def test_motion_finds_who_walks_and_not_what_stands():
    scene = np.full((240, 320, 3), 120, np.uint8)
    scene[100:180, 40:70] = 200  # stands there from the first frame
    detector = MotionDetector()
    found = sv.Detections.empty()
    for number in range(30):
        image = scene.copy()
        left = 100 + 5 * number
        if number:  # nobody in the first frame
            image[80:200, left : left + 40] = (30, 30, 160)
        noise = np.random.default_rng(number).normal(0, 2, image.shape)
        image = np.clip(image + noise, 0, 255).astype(np.uint8)
        found = detector.detect(Frame(number, number / 10, image))
    assert len(found) == 1
    np.testing.assert_allclose(found.xyxy[0], [245, 80, 285, 200], atol=6)


def test_motion_joins_the_pieces_of_one_body():
    detector = MotionDetector()
    found = sv.Detections.empty()
    for number in range(12):
        image = np.full((240, 320, 3), 120, np.uint8)
        left = 60 + 8 * number
        if number:
            image[80:130, left : left + 40] = (30, 30, 160)
            image[136:200, left : left + 40] = (30, 30, 160)  # a belt like the background
        found = detector.detect(Frame(number, number / 10, image))
    assert len(found) == 1
    np.testing.assert_allclose(found.xyxy[0][[1, 3]], [80, 200], atol=6)


def test_who_stood_in_the_first_frame_and_left_is_forgotten():
    detector = MotionDetector()
    counts = []
    for number in range(40):
        image = np.full((240, 320, 3), 120, np.uint8)
        if number < 8:
            image[80:200, 100:140] = (30, 30, 160)
        counts.append(len(detector.detect(Frame(number, number / 10, image))))
    assert 1 in counts  # the hole that was left
    assert counts[20:] == [0] * 20


def test_motion_sees_nobody_in_an_empty_scene_or_when_all_of_it_changes():
    detector = MotionDetector()
    for number in range(10):
        image = np.full((120, 160, 3), 50 if number < 8 else 200, np.uint8)
        assert len(detector.detect(Frame(number, number / 10, image))) == 0


def test_torchvision_people_are_those_labelled_so(monkeypatch):
    from torchvision import models

    shown = []

    class Model(torch.nn.Module):
        def forward(self, images):
            shown.append(images)
            return [
                {
                    "boxes": torch.tensor([[1.0, 2, 30, 40], [5, 5, 20, 20], [9, 9, 99, 99]]),
                    "labels": torch.tensor([1, 2, 1]),
                    "scores": torch.tensor([0.9, 0.9, 0.1]),
                }
            ]

    monkeypatch.setattr(models, "get_model", lambda name, **_: Model())
    detector = build_detector("torchvision:ssdlite320_mobilenet_v3_large")
    image = frame(64, 96)._replace(image=np.full((64, 96, 3), (255, 51, 0), np.uint8))
    found = detector.detect(image)
    np.testing.assert_array_equal(found.xyxy, [[1, 2, 30, 40]])
    np.testing.assert_allclose(found.confidence, [0.9])
    (tensor,) = shown[0]
    assert tensor.shape == (3, 64, 96)
    np.testing.assert_allclose(tensor[:, 0, 0].cpu(), [0, 0.2, 1])  # red, green, blue


def test_torchvision_weights_come_from_a_file_too(tmp_path):
    from torchvision import models

    name = "ssdlite320_mobilenet_v3_large"
    torch.manual_seed(0)
    model = models.get_model(name, weights=None, weights_backbone=None)
    torch.save(model.state_dict(), tmp_path / "weights.pth")
    detector = build_detector(f"torchvision:{name}:{tmp_path / 'weights.pth'}", confidence=0)
    found = detector.detect(frame(64, 96))
    model.eval()
    with torch.inference_mode():
        (expected,) = model([torch.full((3, 64, 96), 60 / 255)])
    people_of = expected["labels"] == 1
    np.testing.assert_allclose(
        np.sort(found.confidence), np.sort(expected["scores"][people_of]), rtol=1e-4, atol=1e-6
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hog", "unknown detector 'hog': use a name of"),
        ("yolox:", "unknown detector 'yolox:'"),
        ("motion:fast", "unknown detector 'motion:fast'"),
        ("torchvision:hog", "torchvision has no detection model 'hog': use one of"),
        ("torchvision:ssd300_vgg16:gone.pth", "gone.pth does not exist"),
    ],
)
def test_unknown_detectors_are_named(text, message):
    with pytest.raises(InputError, match=message):
        build_detector(text)


def test_motion_has_no_scores_to_choose_by():
    with pytest.raises(InputError, match="motion has no scores: drop the confidence"):
        build_detector("motion", 0.3)


@pytest.mark.parametrize("score", ["-0.4", "2.5"])
def test_scores_of_a_mot_file_are_shares(tmp_path, score):
    (tmp_path / "det.txt").write_text(f"1,-1,1,1,10,10,1\n1,-1,1,1,9,9,{score}\n")
    with pytest.raises(InputError, match=rf"det\.txt:2 has score {score}: scale scores to 0"):
        build_detector(f"mot:{tmp_path / 'det.txt'}")


def test_confidence_has_a_range():
    with pytest.raises(InputError, match=r"confidence is 1\.5: give 0 or more, below 1"):
        build_detector("motion", 1.5)


def test_boxes_are_cut_to_the_frame_and_empty_ones_left_out():
    boxes = np.array([[-5, -5, 10, 10], [95, 45, 200, 60], [200, 0, 210, 9], [5, 5, 5.5, 9]])
    found = to_detections(boxes, np.array([0.1, 0.2, 0.3, 0.4]), (50, 100))
    np.testing.assert_array_equal(found.xyxy, [[0, 0, 10, 10], [95, 45, 100, 50]])
    np.testing.assert_allclose(found.confidence, [0.1, 0.2])
