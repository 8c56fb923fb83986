"""Graphs that others exported, made here with every layout, batch and type."""

import json
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.foreign import (
    PRESETS,
    InputFormat,
    adapted_model,
    open_foreign,
    parse_format,
)
from reid_dhm.inference.engines.openvino_engine import OpenVINOEngine

onnx = pytest.importorskip("onnx")
pytest.importorskip("openvino")

SIZE = (16, 8)
DIM = 6
WEIGHTS = np.random.default_rng(0).normal(size=(3 * SIZE[0] * SIZE[1], DIM)).astype(np.float32)
SHARED = Path(__file__).parents[2].parent / "shared" / "models" / "openvino"


def graph(
    path,
    shape=("N", 3, *SIZE),
    out=("N", DIM),
    kind="FLOAT",
    inputs=1,
    outputs=1,
    dim=DIM,
    tail=(),
    fixed=False,
) -> Path:
    """A network that multiplies the flattened image by fixed weights."""
    helper, types = onnx.helper, onnx.TensorProto
    weights = np.resize(WEIGHTS, (int(np.prod(shape[1:])), dim))
    nodes = [
        helper.make_node("Cast", ["image"], ["float"], to=types.FLOAT),
        helper.make_node("Flatten", ["float"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "weights"], ["product"]),
    ]
    if fixed:
        nodes.append(helper.make_node("Reshape", ["product", "rows"], ["feature"]))
    elif len(out) == 4:
        nodes.append(helper.make_node("Unsqueeze", ["product", "axes"], ["feature"]))
    else:
        nodes.append(helper.make_node(tail[0] if tail else "Identity", ["product"], ["feature"]))
    constants = [
        onnx.numpy_helper.from_array(weights, "weights"),
        onnx.numpy_helper.from_array(np.array([2, 3]), "axes"),
        onnx.numpy_helper.from_array(np.array([shape[0] if fixed else -1, dim]), "rows"),
    ]
    names = ["image", "second"][:inputs]
    given = [helper.make_tensor_value_info(name, getattr(types, kind), shape) for name in names]
    found = [helper.make_tensor_value_info("feature", types.FLOAT, out)]
    if outputs == 2:
        found.append(helper.make_tensor_value_info("product", types.FLOAT, ("N", dim)))
    made = helper.make_graph(nodes, "foreign", given, found, constants)
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def images(count=5) -> np.ndarray:
    return np.random.default_rng(1).integers(0, 256, (count, *SIZE, 3), dtype=np.uint8)


def expected(pixels, format, nhwc=False) -> np.ndarray:
    x = (pixels.astype(np.float64) - format.mean) / format.std
    if format.channels == "bgr":
        x = x[..., ::-1]
    x = x if nhwc else x.transpose(0, 3, 1, 2)
    return x.reshape(len(x), -1) @ WEIGHTS.astype(np.float64)


def run(path, input, size=None, count=5) -> np.ndarray:
    engine = OpenVINOEngine(adapted_model(open_foreign(path, input, size)), "float32")
    assert engine.dim == DIM
    rows = engine.batch_size
    pixels = images(count)
    return np.concatenate([engine(pixels[k : k + rows]) for k in range(0, count, rows)])


@pytest.mark.parametrize("preset", PRESETS)
def test_presets_feed_pixels_as_their_exporters_do(tmp_path, preset):
    path = graph(tmp_path / "a.onnx")
    np.testing.assert_allclose(
        run(path, preset), expected(images(), PRESETS[preset]), rtol=2e-4, atol=2e-3
    )


@pytest.mark.parametrize(
    ("options", "nhwc"),
    [
        ({"shape": (1, 3, *SIZE), "out": (1, DIM)}, False),
        ({"shape": (2, 3, *SIZE), "out": (2, DIM)}, False),
        ({"shape": ("N", *SIZE, 3)}, True),
        ({"out": ("N", DIM, 1, 1)}, False),
        ({"kind": "FLOAT16"}, False),
        ({"kind": "UINT8"}, False),
    ],
)
def test_layout_batch_and_type_come_from_the_graph(tmp_path, options, nhwc):
    path = graph(tmp_path / "a.onnx", **options)
    np.testing.assert_allclose(
        run(path, "fastreid"), expected(images(), PRESETS["fastreid"], nhwc), rtol=2e-4, atol=0.5
    )


def test_a_size_that_the_graph_leaves_open_is_asked_for(tmp_path):
    path = graph(tmp_path / "a.onnx", shape=("N", 3, *SIZE))
    with pytest.raises(InputError, match="takes images of 16x8, not 32x8"):
        open_foreign(path, "openvino", (32, 8))
    pooled = onnx.load(path)
    for dim, name in zip(pooled.graph.input[0].type.tensor_type.shape.dim[2:], "HW", strict=True):
        dim.dim_param = name
    onnx.save(pooled, tmp_path / "open.onnx")
    with pytest.raises(InputError, match=r"any size: give its own, e\.g\. --size 256x128"):
        open_foreign(tmp_path / "open.onnx", "openvino")
    assert open_foreign(tmp_path / "open.onnx", "openvino", SIZE).size == SIZE


def test_an_unknown_format_is_asked_for_and_a_card_answers(tmp_path):
    path = graph(tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"does not state its colour order .* --input openvino\|"):
        open_foreign(path)
    card = {"channels": "bgr", "scale": 255, "mean": [0.5, 0.5, 0.5], "std": [0.5, 0.25, 0.5]}
    (tmp_path / "a.json").write_text(json.dumps(card))
    wanted = InputFormat("bgr", (127.5, 127.5, 127.5), (127.5, 63.75, 127.5))
    assert open_foreign(path).format == wanted
    np.testing.assert_allclose(run(path, None), expected(images(), wanted), rtol=2e-4, atol=2e-3)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{}",
        "[" * 100_000,
        '{"channels": "grey"}',
        '{"channels": "rgb", "mean": [1, 2]}',
        '{"channels": "rgb", "std": [1, 0, 1]}',
        '{"channels": "rgb", "mean": [NaN, 0, 0]}',
        '{"channels": "rgb", "scale": "x"}',
        '{"channels": "rgb", "meen": [1, 2, 3]}',
        '{"channels": "rgb", "size": [16]}',
        '{"channels": "rgb", "size": ["a", "b"]}',
    ],
)
def test_a_card_that_makes_no_sense_is_one_line(tmp_path, text):
    (tmp_path / "card.json").write_text(text)
    with pytest.raises(InputError, match=r"card\.json") as caught:
        parse_format(str(tmp_path / "card.json"))
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


def test_a_card_that_lies_about_the_size_is_told_and_an_open_size_is_taken_from_it(tmp_path):
    path = graph(tmp_path / "a.onnx")
    card = tmp_path / "a.json"
    card.write_text('{"channels": "bgr", "size": [32, 8]}')
    with pytest.raises(
        InputError, match=r"card of .*a\.onnx says images of 32x8, but its input is 16x8"
    ):
        open_foreign(path)
    card.write_text('{"channels": "bgr", "size": [16, 8]}')
    assert open_foreign(path).fingerprint == open_foreign(path, "openvino").fingerprint
    model = onnx.load(path)
    for dim, name in zip(model.graph.input[0].type.tensor_type.shape.dim[2:], "HW", strict=True):
        dim.dim_param = name
    onnx.save(model, path)
    assert open_foreign(path).size == SIZE
    with pytest.raises(InputError, match="says images of 16x8, but size is 8x8"):
        open_foreign(path, size=(8, 8))


@pytest.mark.parametrize("shape", [(1, 84, 85), (1, 25200, 85), (1, 300, 6), (1, 1, 200, 7)])
def test_a_detector_given_as_an_embedder_is_sent_to_its_option(tmp_path, shape):
    helper, kind = onnx.helper, onnx.TensorProto.FLOAT
    nodes = [
        helper.make_node("ReduceMean", ["image"], ["mean"], keepdims=0),
        helper.make_node("Expand", ["mean", "shape"], ["boxes"]),
    ]
    made = helper.make_graph(
        nodes,
        "detector",
        [helper.make_tensor_value_info("image", kind, (1, 3, *SIZE))],
        [helper.make_tensor_value_info("boxes", kind, shape)],
        [onnx.numpy_helper.from_array(np.array(shape), "shape")],
    )
    model = helper.make_model(made, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, tmp_path / "a.onnx")
    with pytest.raises(InputError, match=r"a\.onnx gives .* a detector goes to --detector"):
        open_foreign(tmp_path / "a.onnx", "openvino")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"inputs": 2}, "has the inputs image, second: an embedder has one"),
        ({"outputs": 2}, "has 2 outputs .* a detector goes to --detector"),
        ({"shape": ("N", 1, *SIZE)}, "not a batch of colour images"),
        ({"shape": ("N", 10)}, "not a batch of colour images"),
        ({"dim": 751, "out": ("N", 751)}, "751 numbers, as many as Market-1501 has identities"),
        ({"tail": ("Softmax",)}, "6 numbers, after a softmax: not an embedding"),
    ],
)
def test_what_gives_no_embedding_is_refused(tmp_path, options, message):
    with pytest.raises(InputError, match=message):
        open_foreign(graph(tmp_path / "a.onnx", **options), "openvino")


def test_the_embedder_takes_them_wherever_it_takes_a_checkpoint(tmp_path):
    path, pixels = graph(tmp_path / "a.onnx", shape=(2, 3, *SIZE), out=(2, DIM)), images()
    embedder = Embedder(open_checkpoint(path, input="torchreid"), normalize=False)
    found = embedder(list(pixels))
    np.testing.assert_allclose(found, expected(pixels, PRESETS["torchreid"]), rtol=2e-2, atol=0.5)
    assert (embedder.dim, embedder.card.size, embedder.engine) == (DIM, SIZE, "openvino")
    assert embedder.fingerprint == open_foreign(path, "torchreid").fingerprint
    for options, message in (
        ({"backbone": "resnet50", "input": "openvino"}, "fixes its backbone"),
        ({"neck": "none", "input": "openvino"}, "fixes its neck"),
        ({}, "does not state its colour order"),
    ):
        with pytest.raises(InputError, match=message):
            open_checkpoint(path, **options)
    with pytest.raises(UnsupportedError, match="engine torch does not run exported files"):
        Embedder(open_checkpoint(path, input="openvino"), engine="torch")


def test_a_batch_that_cannot_be_changed_is_filled(tmp_path):
    path = graph(tmp_path / "a.onnx", shape=(4, 3, *SIZE), out=(4, DIM), fixed=True)
    engine = OpenVINOEngine(adapted_model(open_foreign(path, "fastreid")), "float32")
    assert engine.batch_size == 4
    pixels = images(7)
    wanted = expected(pixels, PRESETS["fastreid"])
    np.testing.assert_allclose(engine(pixels), wanted, rtol=2e-4, atol=2e-3)


def test_outputs_that_are_not_finite_name_the_image(tmp_path):
    path = graph(tmp_path / "a.onnx", tail=("Log",))
    embedder = Embedder(open_checkpoint(path, input="torchreid"), precision="float32")
    with pytest.raises(InputError, match="not finite") as caught:
        embedder(list(images()))
    assert "\n" not in str(caught.value)


def test_weights_and_format_have_fingerprints_of_their_own(tmp_path):
    first = graph(tmp_path / "a.onnx")
    other = onnx.load(first)
    other.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(WEIGHTS + 1, "weights"))
    onnx.save(other, tmp_path / "b.onnx")
    found = {
        open_foreign(path, preset).fingerprint
        for path in (first, tmp_path / "b.onnx")
        for preset in ("openvino", "torchreid")
    }
    assert len(found) == 4
    assert open_foreign(first, "openvino").fingerprint in found


def test_a_cut_graph_is_one_line(tmp_path):
    path = graph(tmp_path / "a.onnx")
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(InputError) as caught:
        open_foreign(path, "openvino")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(not SHARED.is_dir(), reason="Open Model Zoo's graphs are not beside the clone")
def test_open_model_zoos_graphs_need_no_word():
    for number in ("0277", "0286", "0287", "0288"):
        found = open_foreign(SHARED / f"person-reidentification-retail-{number}.xml")
        assert (found.format, found.size) == (PRESETS["openvino"], (256, 128))
    with pytest.raises(InputError, match="a detector goes to --detector"):
        open_foreign(SHARED / "pedestrian-detection-adas-0002.xml", "openvino")
