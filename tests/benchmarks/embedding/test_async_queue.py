"""The embedder against OpenVINO's own queue on the same graph."""

import json

import numpy as np
import onnx
import pytest
from onnx import helper

from reid_dhm.benchmarks.embedding.queue import QueueRates, compare_with_queue
from reid_dhm.cli import main
from reid_dhm.errors import InputError
from reid_dhm.inference.default import DEFAULT_CHECKPOINT


@pytest.fixture(scope="module")
def graph(tmp_path_factory):
    """A convolution and its mean, with a card."""
    weights = np.random.default_rng(0).standard_normal((16, 3, 8, 8)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["image", "weights"], ["maps"], strides=[8, 8]),
        helper.make_node("GlobalAveragePool", ["maps"], ["embedding"]),
    ]
    float32 = onnx.TensorProto.FLOAT
    made = helper.make_graph(
        nodes,
        "tiny",
        [helper.make_tensor_value_info("image", float32, ["N", 3, 64, 32])],
        [helper.make_tensor_value_info("embedding", float32, ["N", 16, 1, 1])],
        [onnx.numpy_helper.from_array(weights, "weights")],
    )
    path = tmp_path_factory.mktemp("graph") / "tiny.onnx"
    onnx.save(helper.make_model(made, opset_imports=[helper.make_opsetid("", 17)]), path)
    path.with_suffix(".json").write_text('{"channels": "rgb"}')
    return path


def test_both_give_the_same_embeddings(graph):
    random = np.random.default_rng(0)
    images = [random.integers(0, 255, (64, 32, 3), np.uint8) for _ in range(72)]
    found = compare_with_queue(str(graph), images, rounds=2, turn_seconds=0.1)
    assert found.cosine > 0.9999
    assert len(found.ours) == len(found.queue) == 2
    assert min(*found.ours, *found.queue) > 0
    assert found.batch in (1, 8)


def test_the_ratio_is_taken_round_by_round():
    assert QueueRates((90.0, 200.0, 10.0), (100.0, 100.0, 20.0), 8, 1.0).ratio == 0.9


def test_the_command_prints_and_writes_the_ratio(graph, tmp_path, capsys):
    output = tmp_path / "rates.json"
    command = ["benchmark", "queue", str(graph), "--num-images", "64", "--rounds", "1"]
    with pytest.raises(SystemExit) as ended:
        main([*command, "--seconds", "0.1", "--json", str(output)])
    assert ended.value.code == 0
    assert "ratio" in capsys.readouterr().out
    assert json.loads(output.read_text())["ratio"] > 0


def test_a_checkpoint_that_is_no_graph_is_refused():
    with pytest.raises(InputError, match=r"is no graph: give an \.onnx or \.xml"):
        compare_with_queue(str(DEFAULT_CHECKPOINT), [])
