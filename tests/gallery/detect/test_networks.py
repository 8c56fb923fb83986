"""Every family of detection networks on both engines; what they refuse."""

import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect import network
from reid_dhm.gallery.detect.factory import FAMILY_NAMES, build_detector
from reid_dhm.gallery.detect.families import FAMILIES
from reid_dhm.gallery.detect.network import NetworkDetector
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.ingest import ingest
from reid_dhm.gallery.ingest.options import IndexingOptions
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.track.settings import TrackSettings

SIZE = (96, 160)
NAMES = {"names": str(dict(enumerate(["person", "bicycle", *map(str, range(78))])))}
DETR = ("labels", "boxes", "scores")

CASES = {
    # name: (family, layout, options of the export)
    "yolox": ("yolox", "yolox", {}),
    "yolox decoded": ("yolox", ("yolox", {"decoded": True}), {}),
    "yolox of people alone": ("yolox", ("yolox", {"classes": 1}), {}),
    "yolox of bytes": ("yolox", "yolox", {"dtype": torch.uint8}),
    "yolov5": ("yolo", "yolov5", {"metadata": NAMES}),
    "yolov5 without names": ("yolo", "yolov5", {}),
    "yolov6": ("yolo", ("yolov5", {"anchors": 1}), {}),
    "yolov8": ("yolo", "yolov8", {"metadata": NAMES}),
    "yolov8 without names": ("yolo", "yolov8", {}),
    "yolov8 of people alone": ("yolo", ("yolov8", {"classes": 1}), {}),
    "yolov8 with key points": (
        "yolo",
        ("yolov8", {"classes": 1, "more": 51}),
        {"metadata": {"names": "{0: 'person'}"}},
    ),
    "yolov8 in float16": ("yolo", "yolov8", {"dtype": torch.float16}),
    "yolov8 with suppression, yolov10": ("yolo", "chosen", {"metadata": NAMES}),
    "rt-detr": ("rtdetr", "three_parts", {"outputs": DETR, "target": True}),
    "rt-detr without a size": ("rtdetr", "three_parts", {"outputs": DETR}),
    "d-fine": ("rtdetr", "logits_first", {"outputs": ("logits", "pred_boxes")}),
    "rt-detr of ultralytics": ("rtdetr", "normalised", {"metadata": NAMES}),
    "rf-detr": (
        "rfdetr",
        ("queries", {"classes": 91, "person": 1}),
        {"outputs": ("dets", "labels")},
    ),
    "ssd": ("ssd", "ssd", {}),
}


def frame(box, shape=(240, 320), colour=(40, 120, 250)) -> Frame:
    """A grey frame with an orange rectangle x1, y1, x2, y2."""
    image = np.full((*shape, 3), 60, np.uint8)
    x1, y1, x2, y2 = box
    image[y1:y2, x1:x2] = colour
    return Frame(0, 0.0, image)


@pytest.mark.parametrize("case", CASES)
def test_every_family_finds_the_person_where_it_is(tmp_path, stand_ins, engine, case):
    family, name, options = CASES[case]
    name, more = name if isinstance(name, tuple) else (name, {})
    made = getattr(stand_ins, name)
    path = stand_ins.write(
        tmp_path / "net.onnx", family, lambda box, size: made(box, size, **more), SIZE, **options
    )
    detector = NetworkDetector(path)
    assert (detector.family, detector.engine) == (family, engine)
    for shape, box in (((240, 320), (100, 60, 180, 200)), ((192, 640), (200, 20, 280, 180))):
        found = detector.detect(frame(box, shape))
        pixel = max(shape[0] / SIZE[0], shape[1] / SIZE[1])  # of the input, in the frame
        best = int(found.confidence.argmax())
        np.testing.assert_allclose(found.xyxy[best], box, atol=pixel)
        score = 0.72 if name == "yolox" or case.startswith("yolov5") else 0.9
        np.testing.assert_allclose(found.confidence[best], score, rtol=1e-3)
        assert len(found) == (2 if name == "chosen" else 1)  # its boxes are not suppressed again


def test_a_network_of_any_size_gets_640(tmp_path, stand_ins, engine):
    path = stand_ins.write(
        tmp_path / "net.onnx", "yolo", stand_ins.chosen, SIZE, dynamic=True, metadata=NAMES
    )
    found = NetworkDetector(path).detect(frame((100, 60, 180, 200), (320, 320)))
    np.testing.assert_allclose(found.xyxy[0], (100, 60, 180, 200), atol=1)


def test_classes_come_from_names_or_a_card(tmp_path, stand_ins):
    def write(names):
        return stand_ins.write(
            tmp_path / "net.onnx",
            "yolo",
            lambda box, size: stand_ins.yolov8(box, size, classes=2),
            SIZE,
            metadata={"names": str(names)} if names else {},
        )

    shown = frame((100, 60, 180, 200))
    assert len(NetworkDetector(write({0: "Person", 1: "car"})).detect(shown)) == 1
    for names, classes in (({0: "face", 1: "car"}, "face, car"), (None, "2 without names")):
        path = write(names)
        with pytest.raises(InputError, match=rf"people \({classes}\): write .* net\.json beside"):
            NetworkDetector(path)
    card = tmp_path / "net.json"
    card.write_text('{"person": 0}')
    detector = NetworkDetector(path)
    assert len(detector.detect(shown)) == 1
    assert detector.settings["person class"] == 0
    card.write_text('{"person": 1}')
    assert len(NetworkDetector(path).detect(shown)) == 0


@pytest.mark.parametrize(
    "card", ["[]", "x", '{"family": "hog"}', '{"person": -1}', '{"person": "a"}', '{"size": 3}']
)
def test_a_card_that_makes_no_sense_is_one_line(tmp_path, stand_ins, card):
    path = stand_ins.constant(tmp_path / "net.onnx", {"y": np.zeros((1, 84, 85))})
    (tmp_path / "net.json").write_text(card)
    with pytest.raises(InputError, match=r"net\.json is not a detector's card") as caught:
        NetworkDetector(path)
    assert "\n" not in str(caught.value)


def test_a_family_can_be_named_where_the_outputs_do_not_tell(tmp_path, stand_ins):
    rows = np.zeros((1, 84, 85))  # of YOLOX or of YOLOv6
    path = stand_ins.constant(tmp_path / "net.onnx", {"y": rows})
    assert build_detector(str(path)).family == "yolox"
    with pytest.raises(InputError, match=r"not a RF-DETR detector: .* y \(1, 84, 85\) instead of"):
        build_detector(f"rfdetr:{path}")
    rows[..., 4] = 1
    path = stand_ins.constant(tmp_path / "net.onnx", {"y": rows})
    assert build_detector(str(path)).family == "yolo"
    (tmp_path / "net.json").write_text(json.dumps({"family": "yolox"}))
    assert build_detector(str(path)).family == "yolox"


NOT_A_NUMBER = np.full((1, 84, 85), np.nan)


@pytest.mark.parametrize(
    ("outputs", "shape", "inputs", "message"),
    [
        (
            {"y": np.zeros((1, 256))},
            (1, 3, 64, 64),
            1,
            "no boxes: an embedder goes to --checkpoint",
        ),
        ({"y": np.zeros((1, 90, 90))}, (1, 3, 64, 64), 1, "say of which family it is"),
        ({"a": np.zeros((1, 9, 4)), "b": np.zeros((1, 9, 7))}, (1, 3, 64, 64), 1, "say of which"),
        (
            {"y": np.zeros((1, 84, 85))},
            (1, 1, 64, 64),
            1,
            r"images of \(1, 1, 64, 64\): a detector",
        ),
        ({"y": np.zeros((1, 84, 85))}, (4, 3, 64, 64), 1, "takes 4 images at once: export it for"),
        (
            {"y": np.zeros((1, 84, 85))},
            (1, 64),
            1,
            r"has the inputs x0 \(1, 64\): a detector takes",
        ),
        (
            {"y": np.zeros((1, 84, 85))},
            (1, 3, 64, 64),
            2,
            "has the inputs x0 .*, x1 .*: a detector",
        ),
        ({"y": NOT_A_NUMBER}, (1, 3, 64, 64), 1, r"scores that are not numbers \(NaN\)"),
    ],
)
def test_what_is_no_detector_is_one_line(
    tmp_path, stand_ins, engine, outputs, shape, inputs, message
):
    path = stand_ins.constant(tmp_path / "net.onnx", outputs, shape, inputs)
    with pytest.raises(InputError, match=message) as caught:
        NetworkDetector(path)
    assert "\n" not in str(caught.value)
    assert "net.onnx" in str(caught.value)


def test_scores_that_stop_being_numbers_are_told(tmp_path, stand_ins):
    def layout(box, size):
        return stand_ins.yolox(box, size) / (box[0] < 9000)  # 0/0 where nothing is orange

    path = stand_ins.write(tmp_path / "net.onnx", "yolox", layout, SIZE)
    with pytest.raises(InputError, match="not numbers"):
        NetworkDetector(path).detect(frame((0, 0, 0, 0)))


def test_files_that_are_no_networks_are_named(tmp_path, stand_ins, engine, capfd):
    (tmp_path / "note.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match=r"note\.onnx cannot be read as a"):
        NetworkDetector(tmp_path / "note.onnx")
    assert capfd.readouterr().err == ""  # OpenVINO's readers have messages of their own
    with pytest.raises(InputError, match=r"gone\.onnx does not exist"):
        NetworkDetector(tmp_path / "gone.onnx")
    path = stand_ins.constant(tmp_path / "cut.onnx", {"y": np.zeros((1, 84, 85))})
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"cut\.onnx") as caught:
        NetworkDetector(path)
    assert "\n" not in str(caught.value)


def test_weights_outside_the_folder_are_never_read(tmp_path, stand_ins):
    path = stand_ins.constant(tmp_path / "net.onnx", {"y": np.zeros((1, 84, 85))})
    model = onnx.load(path)
    for tensor in model.graph.initializer:
        if tensor.name == "y_":
            (tmp_path / "secret").write_bytes(tensor.raw_data)
            onnx.external_data_helper.set_external_data(tensor, location="../secret")
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "net.onnx").write_bytes(model.SerializeToString())
    with pytest.raises(InputError, match=r"weights in \.\./secret, outside its own folder"):
        build_detector(str(tmp_path / "in" / "net.onnx"))


def test_a_network_larger_than_memory_takes_nothing_with_it(tmp_path, stand_ins, monkeypatch):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMax", ["x"], ["one"], keepdims=1),
        helper.make_node("Expand", ["one", "huge"], ["all"]),
        helper.make_node("ReduceSum", ["all"], ["y"], keepdims=0),
    ]
    huge = onnx.numpy_helper.from_array(np.array([1, 300, 100_000, 100_000]), "huge")
    graph = helper.make_graph(
        nodes,
        "huge",
        [helper.make_tensor_value_info("x", kind, (1, 3, 64, 64))],
        [helper.make_tensor_value_info("y", kind, ())],
        [huge],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "huge.onnx")
    with pytest.raises(InputError, match=r"huge\.onnx") as caught:
        build_detector(str(tmp_path / "huge.onnx"))
    assert "\n" not in str(caught.value)


def test_without_anything_to_run_it_the_remedy_is_named(tmp_path, monkeypatch):
    from reid_dhm.gallery.detect import graph

    (tmp_path / "net.onnx").touch()
    monkeypatch.setattr(graph.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r'pip install openvino or "reid-dhm\[onnx\]"'):
        graph.open_network(tmp_path / "net.onnx")


def test_two_files_of_weights_are_two_detectors(tmp_path, stand_ins):
    rows = np.zeros((1, 84, 85))
    first = NetworkDetector(stand_ins.constant(tmp_path / "a.onnx", {"y": rows}))
    second = NetworkDetector(stand_ins.constant(tmp_path / "b.onnx", {"y": rows + 0.1}))
    assert first.settings != second.settings
    assert first.settings == NetworkDetector(tmp_path / "a.onnx").settings
    assert first.settings != NetworkDetector(tmp_path / "a.onnx", confidence=0.5).settings


def test_every_family_can_be_named_before_its_file():
    assert tuple(FAMILIES) == FAMILY_NAMES


def test_a_video_goes_on_with_the_defaults_it_was_begun_with(
    tmp_path, stand_ins, clips, embed, monkeypatch
):
    rows = np.zeros((1, 84, 85))
    rows[0, 70, :6] = (0.5, 0.25, np.log(2), np.log(3), 0.2, 1)  # a box of score 0.2
    path = stand_ins.constant(tmp_path / "net.onnx", {"y": rows})
    now = FAMILIES["yolox"]
    earlier = {**FAMILIES, "yolox": replace(now, confidence=0.15, certain=0.45)}

    def index(gallery, confidence=None, **tracks):
        gallery.claim_model("0" * 64, embed([np.zeros((9, 9, 3), np.uint8)]).shape[1], "stripes")
        options = IndexingOptions(end=0.5, tracks=TrackSettings(**tracks))
        finder = NetworkDetector(path, confidence=confidence)
        return ingest(gallery, "gate", open_source(str(clips[0].path)), finder, embed, options)

    with GalleryStore(tmp_path / "g", create=True) as gallery:
        with monkeypatch.context() as patch:
            patch.setattr(network, "FAMILIES", earlier)
            assert index(gallery).detections > 0
        assert index(gallery).known  # nothing of score 0.2 would be found today
        (video,) = gallery.videos()
        assert (video.settings["confidence"], video.settings["activation"]) == (0.15, 0.45)
        for options in ({"confidence": now.confidence}, {"activation": now.certain}):
            with pytest.raises(InputError, match=f"indexed with {next(iter(options))}"):
                index(gallery, **options)
    shown = frame((0, 0, 0, 0), (64, 64))
    begun = NetworkDetector(path).following(video.settings)
    assert (len(begun.detect(shown)), len(NetworkDetector(path).detect(shown))) == (1, 0)
    assert NetworkDetector(path, confidence=0.5).following(video.settings).settings == (
        NetworkDetector(path, confidence=0.5).settings
    )
