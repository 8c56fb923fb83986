"""Graphs from outside are tried in a process of their own: none takes the program with it."""

from __future__ import annotations

import subprocess

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.inference import trial
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.exported import installed
from reid_dhm.inference.engines.foreign import open_foreign

pytestmark = pytest.mark.skipif(not installed("onnx", "openvino"), reason="needs onnx and openvino")


def save(path, nodes, initializers=(), external=None):
    """An ONNX file from (N, 3, 64, 32) images `x` to (N, 3) `y`; `f` are the images' means."""
    import onnx
    from onnx import TensorProto, helper

    first = [
        helper.make_node("GlobalAveragePool", ["x"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"]),
    ]
    images = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 64, 32])
    rows = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 3])
    graph = helper.make_graph([*first, *nodes], "g", [images], [rows], list(initializers))
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    if external is not None:
        for tensor in model.graph.initializer:
            onnx.external_data_helper.set_external_data(tensor, external)
            tensor.ClearField("raw_data")
    path.write_bytes(model.SerializeToString())
    return path


def weights(value: float):
    from onnx import numpy_helper

    return numpy_helper.from_array(np.full((1, 3), value, np.float32), "w")


def plain(path, value=1.0, external=None):
    from onnx import helper

    return save(path, [helper.make_node("Mul", ["f", "w"], ["y"])], [weights(value)], external)


def endless(path):
    from onnx import TensorProto, helper

    body = helper.make_graph(
        [
            helper.make_node("Identity", ["go"], ["goes"]),
            helper.make_node("Add", ["a", "a"], ["b"]),
        ],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("go", TensorProto.BOOL, []),
            helper.make_tensor_value_info("a", TensorProto.FLOAT, None),
        ],
        [
            helper.make_tensor_value_info("goes", TensorProto.BOOL, []),
            helper.make_tensor_value_info("b", TensorProto.FLOAT, None),
        ],
    )
    loop = helper.make_node("Loop", ["times", "yes", "f"], ["y"], body=body)
    times = helper.make_tensor("times", TensorProto.INT64, [], [2**62])
    yes = helper.make_tensor("yes", TensorProto.BOOL, [], [True])
    return save(path, [loop], [times, yes])


def huge(path):
    from onnx import TensorProto, helper

    one = helper.make_tensor("v", TensorProto.FLOAT, [1], [1.0])
    nodes = [
        helper.make_node("ConstantOfShape", ["s"], ["c"], value=one),
        helper.make_node("ReduceSum", ["c"], ["r"], keepdims=0),
        helper.make_node("Add", ["f", "r"], ["y"]),
    ]
    return save(path, nodes, [helper.make_tensor("s", TensorProto.INT64, [1], [2 * 10**9])])


def opened(path):
    return open_foreign(path, "imagenet")


@pytest.mark.parametrize("make", [endless, huge])
def test_a_graph_without_bounds_is_one_line(tmp_path, monkeypatch, make):
    from reid_dhm.inference.checkpoint_file import find_checkpoint

    monkeypatch.setattr(trial, "SECONDS", 4)
    path = make(tmp_path / "hostile.onnx")
    with pytest.raises(InputError, match=r"hostile\.onnx") as refusal:
        Embedder(find_checkpoint(path, input="imagenet"), device="cpu")
    assert "\n" not in str(refusal.value)


def test_a_graph_is_tried_once(tmp_path, monkeypatch):
    from reid_dhm.inference.checkpoint_file import find_checkpoint

    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "home"))
    runs = []
    run = subprocess.run
    monkeypatch.setattr(subprocess, "run", lambda *a, **k: runs.append(a) or run(*a, **k))
    path = plain(tmp_path / "plain.onnx")
    file = find_checkpoint(path, input="imagenet")
    images = np.random.default_rng(0).integers(0, 256, (2, 64, 32, 3), np.uint8)
    rows = Embedder(file, device="cpu")(images)
    np.testing.assert_array_equal(Embedder(file, device="cpu")(images), rows)
    assert len(runs) == 1
    plain(path, value=2.0)  # another graph under the same name
    Embedder(file, device="cpu")
    assert len(runs) == 2


def test_python_files_beside_a_graph_are_not_run(tmp_path, monkeypatch):
    from reid_dhm.inference.checkpoint_file import find_checkpoint

    for name in ("onnx", "numpy", "openvino"):
        (tmp_path / f"{name}.py").write_text("open('run', 'w').close()")
    monkeypatch.chdir(tmp_path)
    Embedder(find_checkpoint(plain(tmp_path / "net.onnx"), input="imagenet"), device="cpu")
    assert not (tmp_path / "run").exists()


def test_weights_outside_the_graphs_folder_are_not_read(tmp_path):
    (tmp_path / "secret").write_bytes(np.zeros(3, np.float32).tobytes())
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    for location in ("../secret", str(tmp_path / "secret"), "link"):
        path = plain(folder / "outside.onnx", external=location)
        with pytest.raises(InputError, match="outside its own folder"):
            opened_by_checkpoint(path)
    path = plain(folder / "gone.onnx", external="gone.data")
    with pytest.raises(NotFoundError, match=r"gone\.data, which is missing"):
        opened_by_checkpoint(path)


def opened_by_checkpoint(path):
    from reid_dhm.inference.checkpoint_file import find_checkpoint

    return Embedder(find_checkpoint(path, input="imagenet"), device="cpu")


def test_other_external_weights_are_another_model(tmp_path):
    found = []
    for value in (1, 2):
        folder = tmp_path / str(value)
        folder.mkdir()
        (folder / "w.data").write_bytes(np.full(3, value, np.float32).tobytes())
        found.append(opened(plain(folder / "a.onnx", external="w.data")).fingerprint)
    assert found[0] != found[1]
