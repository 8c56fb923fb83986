"""YOLOX cell by cell, and the networks of the shared folder on real footage."""

from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.fitting import place, to_input
from reid_dhm.gallery.detect.heads import cells_of
from reid_dhm.gallery.detect.network import NetworkDetector
from reid_dhm.gallery.footage.frames import Frame, Span
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.inference.engines.foreign import InputFormat

SHARED = Path(__file__).parents[4] / "shared"
YOLOX, VTEST = SHARED / "models" / "yolox_nano.onnx", SHARED / "data" / "vtest.avi"
ADAS = SHARED / "models" / "openvino" / "pedestrian-detection-adas-0002.xml"
shared = pytest.mark.skipif(
    not (YOLOX.is_file() and VTEST.is_file()), reason="needs the shared material"
)
CELLS = 8 * 8 + 4 * 4 + 2 * 2  # of an image of 64x64 on strides 8, 16 and 32


def frame(height: int = 128, width: int = 128) -> Frame:
    return Frame(0, 0.0, np.full((height, width, 3), 60, np.uint8))


def put(output: np.ndarray, cell: int, box, objectness: float, **classes: float) -> None:
    output[0, cell, :4] = box
    output[0, cell, 4] = objectness
    for name, probability in classes.items():
        output[0, cell, 5 + {"person": 0, "bicycle": 1}[name]] = probability


@pytest.fixture
def output() -> np.ndarray:
    """Nobody anywhere: (1, CELLS, 5 + 80)."""
    return np.zeros((1, CELLS, 85), np.float32)


@pytest.fixture
def detector(tmp_path, stand_ins):
    """A detector of the given output."""

    def make(output, **options) -> NetworkDetector:
        path = stand_ins.constant(tmp_path / "net.onnx", {"y": output})
        return NetworkDetector(path, **options)

    return make


MIDDLE = 64 + 4 * 1 + 2  # stride 16, row 1, column 2
BOX = (0.5, 0.25, np.log(2), np.log(3))
# Centre ((2 + 0.5) * 16, (1 + 0.25) * 16) = (40, 20), size (32, 48), in the network's pixels.


@pytest.mark.parametrize("decoded", [False, True])
def test_grid_outputs_become_boxes_in_the_frames_pixels(output, detector, decoded):
    if decoded:
        cells = cells_of((64, 64))
        output[0, :, :2] = (cells[:, :2] + 0.5) * cells[:, 2:]
        output[0, :, 2:4] = cells[:, 2:]
    put(output, MIDDLE, (40, 20, 32, 48) if decoded else BOX, 0.8, person=0.5, bicycle=0.1)
    found = detector(output).detect(frame(128, 128))  # twice the network's size
    np.testing.assert_allclose(found.xyxy, [[48, 0, 112, 88]], atol=1e-4)  # cut at the top
    np.testing.assert_allclose(found.confidence, [0.4], rtol=1e-6)


def test_a_wide_frame_is_scaled_by_its_longer_side(output, detector):
    put(output, MIDDLE, BOX, 1, person=1)
    found = detector(output).detect(frame(160, 320))  # a fifth of it in each direction
    np.testing.assert_allclose(found.xyxy, [[120, 0, 280, 160]], atol=1e-4)


@pytest.mark.parametrize(("stride", "first", "columns"), [(8, 0, 8), (16, 64, 4), (32, 80, 2)])
def test_every_stride_has_its_cells_row_by_row(output, detector, stride, first, columns):
    put(output, first + columns + 1, (0.5, 0.5, 0, 0), 1, person=1)  # row 1, column 1
    found = detector(output).detect(frame(64, 64))
    np.testing.assert_allclose(found.xyxy, [[stride, stride, 2 * stride, 2 * stride]])


def test_only_people_above_the_lowest_score_are_kept(output, detector):
    put(output, 0, (0.5, 0.5, 0, 0), 0.9, person=0.4, bicycle=0.5)  # a bicycle rather
    put(output, 20, (0.5, 0.5, 0, 0), 0.5, person=0.5)
    put(output, 40, (0.5, 0.5, 0, 0), 0.9, person=0.9)
    found = detector(output, confidence=0.1).detect(frame())
    np.testing.assert_allclose(found.confidence, [0.25, 0.81])
    assert len(detector(output, confidence=0.3).detect(frame())) == 1


def test_of_boxes_on_each_other_the_surest_stays(output, detector):
    shifted = (0.5 + 2 / 16, 0.25, np.log(2), np.log(3))
    put(output, MIDDLE, BOX, 0.8, person=1)
    put(output, MIDDLE + 1, (shifted[0] - 1, *shifted[1:]), 0.9, person=1)
    put(output, 83, (0.5, 0.5, 0, 0), 0.7, person=1)
    found = detector(output).detect(frame())
    np.testing.assert_allclose(sorted(found.confidence), [0.7, 0.9])


def test_the_network_sees_bgr_above_grey():
    image = np.zeros((2, 4, 3), np.uint8)
    image[...] = (10, 20, 30)
    seen = to_input(image, (4, 4), place((2, 4), (4, 4), "corner"), InputFormat("bgr"))
    assert (seen.shape, seen.dtype) == ((1, 3, 4, 4), np.float32)
    for channel, value in enumerate((10, 20, 30)):
        np.testing.assert_array_equal(seen[0, channel, :2], value)
        np.testing.assert_array_equal(seen[0, channel, 2:], 114)


@shared
def test_yolox_nano_finds_the_people_of_a_real_clip(engine):
    (shot,) = open_source(str(VTEST)).frames(Span(first=149, end=14.95))
    found = build_detector(f"yolox:{YOLOX}", 0.4).detect(shot)
    # Read off the frame by eye: the middles of six people who stand apart.
    middles = np.array([(82, 108), (402, 235), (668, 138), (719, 138), (462, 215), (613, 272)])
    for x, y in middles:
        inside = (found.xyxy[:, :2] <= (x, y)).all(1) & (found.xyxy[:, 2:] >= (x, y)).all(1)
        assert inside.any(), (x, y)
    assert len(found) <= 10


@shared
def test_the_pedestrian_detector_finds_most_people_of_a_real_frame():
    pytest.importorskip("openvino")
    (shot,) = open_source(str(VTEST)).frames(Span(first=0, end=0.05))
    detector = build_detector(str(ADAS))
    found = detector.detect(shot)
    assert detector.family == "ssd"
    table = np.loadtxt(SHARED / "data" / "vtest_gt.txt", delimiter=",")
    truth = table[table[:, 0] == 1]
    centres = (found.xyxy[:, :2] + found.xyxy[:, 2:]) / 2
    inside = [
        ((centres >= row[2:4]) & (centres <= row[2:4] + row[4:6])).all(axis=1).any()
        for row in truth
    ]
    assert sum(inside) >= 0.75 * len(truth)


_SLICES = {"0": 0, "2": 2, "4": 4, "all": 999}


def write_decoded(path: Path) -> Path:
    """The real network with YOLOX's own decoding appended to its outputs."""
    onnx = pytest.importorskip("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    model = onnx.load(YOLOX)
    graph, raw = model.graph, model.graph.output[0]
    height, width = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][2:]
    cells = cells_of((height, width))[None]
    constants = {"grid": cells[..., :2], "stride": cells[..., 2:]}
    constants |= {n: np.array([v], np.int64) for n, v in _SLICES.items()}
    graph.initializer.extend(from_array(value, name) for name, value in constants.items())
    node = helper.make_node
    graph.node.extend(
        [
            node("Slice", [raw.name, "0", "2", "2"], ["xy"]),
            node("Slice", [raw.name, "2", "4", "2"], ["wh"]),
            node("Slice", [raw.name, "4", "all", "2"], ["rest"]),
            node("Add", ["xy", "grid"], ["moved"]),
            node("Mul", ["moved", "stride"], ["centre"]),
            node("Exp", ["wh"], ["grown"]),
            node("Mul", ["grown", "stride"], ["size"]),
            node("Concat", ["centre", "size", "rest"], ["decoded"], axis=2),
        ]
    )
    shape = [d.dim_value for d in raw.type.tensor_type.shape.dim]
    del graph.output[:]
    graph.output.append(helper.make_tensor_value_info("decoded", onnx.TensorProto.FLOAT, shape))
    onnx.save(model, path)
    return path


@shared
def test_a_real_network_finds_the_same_people_with_and_without_decoding(tmp_path):
    (shot,) = open_source(str(VTEST)).frames(Span(first=149, end=14.95))
    raw = build_detector(f"yolox:{YOLOX}", 0.4).detect(shot)
    decoded = build_detector(f"yolox:{write_decoded(tmp_path / 'decoded.onnx')}", 0.4).detect(shot)
    assert len(raw) >= 6
    np.testing.assert_allclose(decoded.xyxy, raw.xyxy, atol=0.1)
