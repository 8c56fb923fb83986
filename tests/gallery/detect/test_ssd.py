"""SSD detectors, made here with fixed outputs; the choice of a detector by its outputs."""

from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.ssd import SsdDetector
from reid_dhm.gallery.detect.yolox import YoloxDetector
from reid_dhm.gallery.footage.frames import Frame

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")

SIZE = (32, 64)
SHARED = Path(__file__).parents[4] / "shared"


def network(path: Path, output: np.ndarray, shape=(1, 3, *SIZE)) -> Path:
    """A network that gives the same output for every image."""
    helper = onnx.helper
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Mul", ["mean", "zero"], ["nothing"]),
        helper.make_node("Add", ["rows", "nothing"], ["detections"]),
    ]
    constants = [
        onnx.numpy_helper.from_array(output.astype(np.float32), "rows"),
        onnx.numpy_helper.from_array(np.float32(0), "zero"),
    ]
    made = helper.make_graph(
        nodes,
        "ssd",
        [helper.make_tensor_value_info("image", onnx.TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("detections", onnx.TensorProto.FLOAT, output.shape)],
        constants,
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


ROWS = np.array(
    [
        [0, 1, 0.9, 0.25, 0.5, 0.5, 1.0],
        [0, 1, 0.2, 0.0, 0.0, 0.5, 0.5],
        [0, 2, 0.9, 0.0, 0.0, 0.5, 0.5],
        [0, 1, 0.5, -0.5, 0.0, 0.1, 0.5],
        [-1, 0, 0, 0, 0, 0, 0],
        [0, 1, 0.9, 0.0, 0.0, 1.0, 1.0],
    ]
)[None, None]


def frame(height: int = 100, width: int = 400) -> Frame:
    return Frame(0, 0.0, np.zeros((height, width, 3), np.uint8))


def test_people_above_the_score_in_the_frames_pixels(tmp_path):
    path = network(tmp_path / "ssd.onnx", ROWS)
    found = SsdDetector(path).detect(frame())
    np.testing.assert_allclose(found.xyxy, [[100, 50, 200, 100], [0, 0, 40, 50]])
    np.testing.assert_allclose(found.confidence, [0.9, 0.5])
    assert len(SsdDetector(path, confidence=0.1).detect(frame())) == 3
    assert len(SsdDetector(path, confidence=0.95).detect(frame())) == 0


def test_the_outputs_tell_which_detector_a_file_is(tmp_path):
    ssd = network(tmp_path / "a.onnx", ROWS)
    cells = 4 * 8 + 2 * 4 + 1 * 2
    yolox = network(tmp_path / "b.onnx", np.zeros((1, cells, 6)))
    assert isinstance(build_detector(str(ssd)), SsdDetector)
    assert isinstance(build_detector(f"ssd:{ssd}", 0.5), SsdDetector)
    assert isinstance(build_detector(str(yolox)), YoloxDetector)


@pytest.mark.parametrize(
    ("output", "shape", "message"),
    [
        (np.zeros((1, 1, 5, 6)), (1, 3, *SIZE), "gives .* instead of"),
        (np.zeros((1, 4)), (1, 3, *SIZE), "gives .* instead of"),
        (ROWS, (1, 1, *SIZE), "takes .* instead of"),
    ],
)
def test_what_is_no_ssd_is_refused(tmp_path, output, shape, message):
    with pytest.raises(InputError, match=message):
        SsdDetector(network(tmp_path / "a.onnx", output, shape))


def test_two_files_of_weights_are_two_detectors(tmp_path):
    first = SsdDetector(network(tmp_path / "a.onnx", ROWS))
    second = SsdDetector(network(tmp_path / "b.onnx", ROWS * 1.5))
    assert first.settings != second.settings


@pytest.mark.skipif(not SHARED.is_dir(), reason="the clip and detector are not beside the clone")
def test_the_pedestrian_detector_finds_most_people_of_a_real_frame():
    import cv2

    detector = build_detector(str(SHARED / "models/openvino/pedestrian-detection-adas-0002.xml"))
    image = cv2.VideoCapture(str(SHARED / "data/vtest.avi")).read()[1]
    found = detector.detect(Frame(0, 0.0, image))
    table = np.loadtxt(SHARED / "data/vtest_gt.txt", delimiter=",")
    truth = table[table[:, 0] == 1]
    centres = (found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2
    inside = [
        ((centres >= row[2:4]) & (centres <= row[2:4] + row[4:6])).all(axis=1).any()
        for row in truth
    ]
    assert sum(inside) >= 0.75 * len(truth)
