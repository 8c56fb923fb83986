import importlib.util
from pathlib import Path

import numpy as np
import pytest
import supervision as sv
import torch

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect import onnx_file, yolox
from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.gallery.detect.mot import MotDetections
from reid_dhm.gallery.detect.motion import MotionDetector
from reid_dhm.gallery.detect.protocol import to_detections
from reid_dhm.gallery.detect.yolox import YoloxDetector, letterbox
from reid_dhm.gallery.footage.frames import Frame, Span
from reid_dhm.gallery.footage.sources import open_source

SHARED = Path(__file__).parents[4] / "shared"
YOLOX, VTEST = SHARED / "models" / "yolox_nano.onnx", SHARED / "data" / "vtest.avi"

CELLS = 8 * 8 + 4 * 4 + 2 * 2  # of an image of 64x64 on strides 8, 16 and 32


def frame(height: int = 128, width: int = 128, number: int = 0) -> Frame:
    return Frame(number, number / 10, np.full((height, width, 3), 60, np.uint8))


def write_network(path: Path, output: np.ndarray, shape=(1, 3, 64, 64), inputs: int = 1) -> Path:
    """An ONNX file that gives ``output`` whatever it is shown."""
    onnx = pytest.importorskip("onnx")
    helper, numpy_helper = onnx.helper, onnx.numpy_helper
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["sum"], keepdims=0),
        helper.make_node("Mul", ["sum", "zero"], ["nothing"]),
        helper.make_node("Add", ["nothing", "answer"], ["y"]),
    ]
    values = [
        numpy_helper.from_array(np.float32(0), "zero"),
        numpy_helper.from_array(output.astype(np.float32), "answer"),
    ]
    kind = onnx.TensorProto.FLOAT
    entries = [helper.make_tensor_value_info("x", kind, shape)]
    entries += [helper.make_tensor_value_info(f"x{n}", kind, shape) for n in range(1, inputs)]
    graph = helper.make_graph(
        nodes, "answers", entries, [helper.make_tensor_value_info("y", kind, output.shape)], values
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def raw_output(num_classes: int = 80) -> np.ndarray:
    """Nobody anywhere, as logits already squashed: (1, 84, 5 + classes)."""
    return np.zeros((1, CELLS, 5 + num_classes), np.float32)


def put(output: np.ndarray, cell: int, box, objectness: float, **classes: float) -> None:
    output[0, cell, :4] = box
    output[0, cell, 4] = objectness
    for name, probability in classes.items():
        output[0, cell, 5 + {"person": 0, "bicycle": 1}[name]] = probability


MIDDLE = 64 + 4 * 1 + 2  # stride 16, row 1, column 2
BOX = (0.5, 0.25, np.log(2), np.log(3))
# Centre ((2 + 0.5) * 16, (1 + 0.25) * 16) = (40, 20), size (32, 48), in the network's pixels.


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request, monkeypatch) -> str:
    """One engine at a time, as if the other were not installed."""
    found = importlib.util.find_spec(request.param)
    if found is None:
        pytest.skip(f"{request.param} is not installed")

    def find_spec(name: str):
        return found if name == request.param else None

    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", find_spec)
    return request.param


def test_grid_outputs_become_boxes_in_the_frames_pixels(tmp_path, engine):
    output = raw_output()
    put(output, MIDDLE, BOX, 0.8, person=0.5, bicycle=0.1)
    detector = YoloxDetector(write_network(tmp_path / "net.onnx", output))
    assert detector.engine == engine
    found = detector.detect(frame(128, 128))  # twice the network's size
    np.testing.assert_allclose(found.xyxy, [[48, 0, 112, 88]], atol=1e-4)  # cut at the top
    np.testing.assert_allclose(found.confidence, [0.4], rtol=1e-6)


def decoded_output() -> np.ndarray:
    """Nobody anywhere, from a network that decodes its boxes: each is its cell."""
    output = raw_output()
    cells = yolox._cells((64, 64))
    output[0, :, :2] = (cells[:, :2] + 0.5) * cells[:, 2:]
    output[0, :, 2:4] = cells[:, 2:]
    return output


def test_boxes_that_the_network_decodes_are_used_as_they_are(tmp_path, engine):
    output = decoded_output()
    put(output, MIDDLE, (40, 20, 32, 48), 0.8, person=0.5, bicycle=0.1)
    detector = YoloxDetector(write_network(tmp_path / "net.onnx", output))
    found = detector.detect(frame(128, 128))
    np.testing.assert_allclose(found.xyxy, [[48, 0, 112, 88]], atol=1e-4)
    np.testing.assert_allclose(found.confidence, [0.4], rtol=1e-6)


def test_a_wide_frame_is_scaled_by_its_longer_side(tmp_path):
    output = raw_output()
    put(output, MIDDLE, BOX, 1, person=1)
    detector = YoloxDetector(write_network(tmp_path / "net.onnx", output))
    found = detector.detect(frame(160, 320))  # a fifth of it in each direction
    np.testing.assert_allclose(found.xyxy, [[120, 0, 280, 160]], atol=1e-4)


@pytest.mark.parametrize(("stride", "first", "columns"), [(8, 0, 8), (16, 64, 4), (32, 80, 2)])
def test_every_stride_has_its_cells_row_by_row(tmp_path, stride, first, columns):
    output = raw_output()
    put(output, first + columns + 1, (0.5, 0.5, 0, 0), 1, person=1)  # row 1, column 1
    detector = YoloxDetector(write_network(tmp_path / "net.onnx", output))
    found = detector.detect(frame(64, 64))
    np.testing.assert_allclose(found.xyxy, [[stride, stride, 2 * stride, 2 * stride]])


def test_only_people_above_the_lowest_score_are_kept(tmp_path):
    output = raw_output()
    put(output, 0, (0.5, 0.5, 0, 0), 0.9, person=0.4, bicycle=0.5)  # a bicycle rather
    put(output, 20, (0.5, 0.5, 0, 0), 0.5, person=0.5)
    put(output, 40, (0.5, 0.5, 0, 0), 0.9, person=0.9)
    path = write_network(tmp_path / "net.onnx", output)
    np.testing.assert_allclose(YoloxDetector(path).detect(frame()).confidence, [0.25, 0.81])
    assert len(YoloxDetector(path, confidence=0.3).detect(frame())) == 1


def test_of_boxes_on_each_other_the_surest_stays(tmp_path):
    output = raw_output()
    shifted = (0.5 + 2 / 16, 0.25, np.log(2), np.log(3))
    put(output, MIDDLE, BOX, 0.8, person=1)
    put(output, MIDDLE + 1, (shifted[0] - 1, *shifted[1:]), 0.9, person=1)
    put(output, 83, (0.5, 0.5, 0, 0), 0.7, person=1)
    found = YoloxDetector(write_network(tmp_path / "net.onnx", output)).detect(frame())
    np.testing.assert_allclose(sorted(found.confidence), [0.7, 0.9])


def test_a_detector_of_people_alone_is_one_too(tmp_path):
    output = raw_output(num_classes=1)
    put(output, MIDDLE, BOX, 0.5, person=0.5)
    path = write_network(tmp_path / "net.onnx", output)
    assert len(build_detector(f"yolox:{path}").detect(frame())) == 1


def test_the_network_sees_bgr_above_grey(monkeypatch):
    image = np.zeros((2, 4, 3), np.uint8)
    image[...] = (10, 20, 30)
    seen = letterbox(image, (4, 4), 1.0)
    assert (seen.shape, seen.dtype) == ((1, 3, 4, 4), np.float32)
    for channel, value in enumerate((10, 20, 30)):
        np.testing.assert_array_equal(seen[0, channel, :2], value)
        np.testing.assert_array_equal(seen[0, channel, 2:], 114)


@pytest.mark.parametrize(
    ("output", "shape", "reason"),
    [
        (np.zeros((1, 1000)), (1, 3, 64, 64), r"it gives \(1, 1000\) instead of \(1, 84, 5 \+"),
        (np.zeros((1, 85, 85)), (1, 3, 64, 64), r"it gives \(1, 85, 85\) instead"),
        (np.zeros((1, 84, 4)), (1, 3, 64, 64), r"it gives \(1, 84, 4\) instead"),
        (np.zeros((1, 84, 85)), (1, 3, 65, 64), "its input of 65x64 is not a multiple of 32"),
        (np.zeros((1, 84, 85)), (1, 1, 64, 64), r"its input is \(1, 1, 64, 64\) instead of"),
        (np.zeros((1, 84, 85)), (1, 64), r"its input is \(1, 64\) instead of"),
    ],
)
def test_an_onnx_file_that_is_no_detector_is_named(tmp_path, engine, output, shape, reason):
    path = write_network(tmp_path / "other.onnx", output, shape)
    with pytest.raises(InputError, match=f"other.onnx is not a YOLOX detector: {reason}"):
        YoloxDetector(path)


def test_files_that_are_no_networks_are_named(tmp_path, engine, capfd):
    (tmp_path / "note.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"note\.onnx cannot be read as an ONNX network"):
        YoloxDetector(tmp_path / "note.onnx")
    assert capfd.readouterr().err == ""  # OpenVINO's readers have messages of their own
    with pytest.raises(InputError, match=r"gone\.onnx does not exist"):
        YoloxDetector(tmp_path / "gone.onnx")
    path = write_network(tmp_path / "two.onnx", raw_output(), inputs=2)
    with pytest.raises(InputError, match=r"two\.onnx has 2 inputs"):
        YoloxDetector(path)


def test_without_anything_to_run_it_the_mend_is_named(tmp_path, monkeypatch):
    (tmp_path / "net.onnx").touch()
    monkeypatch.setattr(onnx_file.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install openvino or "reid-dhm\[onnx\]"'):
        yolox.open_onnx(tmp_path / "net.onnx")


@pytest.mark.skipif(not (YOLOX.is_file() and VTEST.is_file()), reason="needs the shared material")
def test_yolox_nano_finds_the_people_of_a_real_clip(engine):
    (shot,) = open_source(str(VTEST)).frames(Span(first=149, end=14.95))
    found = build_detector(f"yolox:{YOLOX}", 0.4).detect(shot)
    # Read off the frame by eye: the middles of six people who stand apart.
    middles = np.array([(82, 108), (402, 235), (668, 138), (719, 138), (462, 215), (613, 272)])
    for x, y in middles:
        inside = (found.xyxy[:, :2] <= (x, y)).all(1) & (found.xyxy[:, 2:] >= (x, y)).all(1)
        assert inside.any(), (x, y)
    assert len(found) <= 10


_SLICES = {"0": 0, "2": 2, "4": 4, "all": 999}


def write_decoded(path: Path) -> Path:
    """The real network with YOLOX's own decoding appended to its outputs."""
    onnx = pytest.importorskip("onnx")
    helper, from_array = onnx.helper, onnx.numpy_helper.from_array
    model = onnx.load(YOLOX)
    graph, raw = model.graph, model.graph.output[0]
    height, width = [d.dim_value for d in graph.input[0].type.tensor_type.shape.dim][2:]
    cells = yolox._cells((height, width))[None]
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


@pytest.mark.skipif(not (YOLOX.is_file() and VTEST.is_file()), reason="needs the shared material")
def test_a_real_network_finds_the_same_people_with_and_without_decoding(tmp_path):
    (shot,) = open_source(str(VTEST)).frames(Span(first=149, end=14.95))
    raw = build_detector(f"yolox:{YOLOX}", 0.4).detect(shot)
    decoded = build_detector(f"yolox:{write_decoded(tmp_path / 'decoded.onnx')}", 0.4).detect(shot)
    assert len(raw) >= 6
    np.testing.assert_allclose(decoded.xyxy, raw.xyxy, atol=0.1)


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


def test_detectors_say_all_that_decides_what_they_find(tmp_path):
    output = raw_output()
    path = write_network(tmp_path / "net.onnx", output)
    put(output, MIDDLE, BOX, 1, person=1)
    other = write_network(tmp_path / "other.onnx", output)
    first = build_detector(f"yolox:{path}").settings
    assert first == build_detector(f"yolox:{path}").settings
    assert first != build_detector(f"yolox:{other}").settings
    assert first != build_detector(f"yolox:{path}", 0.3).settings
