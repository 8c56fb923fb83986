"""What is written gives the model's embeddings, says what it is, and opens again."""

from __future__ import annotations

import hashlib
import json
import os
import re
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_dhm.errors import InputError, first_line
from reid_dhm.inference.checkpoints import fingerprint, open_checkpoint
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.exported import (
    INPUT,
    OUTPUTS,
    ExportedModel,
    installed,
    read_metadata,
)
from reid_dhm.inference.engines.network import onnx_graph
from reid_dhm.inference.export import writer as export
from reid_dhm.inference.export.check import Agreement, find_fault, verify
from reid_dhm.inference.export.formats import SUFFIXES, spread
from reid_dhm.inference.export.writer import export_model
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard
from reid_dhm.version import __version__

openvino = pytest.mark.skipif(not installed("openvino", "onnx"), reason="needs openvino and onnx")
onnxruntime = pytest.mark.skipif(
    not installed("onnxruntime", "onnx"), reason="needs onnxruntime and onnx"
)
onnx = pytest.mark.skipif(
    not (installed("onnx") and (installed("onnxruntime") or installed("openvino"))),
    reason="needs onnx, and onnxruntime or openvino",
)
nncf = pytest.mark.skipif(
    not installed("nncf", "openvino", "onnx"), reason="needs nncf, openvino and onnx"
)
FORMATS = [
    pytest.param("onnx", marks=onnx),
    pytest.param("openvino", marks=openvino),
    "torchscript",
    "safetensors",
]


def written(folder: Path, format: str) -> Path:
    return folder / f"model{SUFFIXES[format]}"


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_agrees_and_leaves_nothing_else(tmp_path, case, format):
    path = written(tmp_path, format)
    found = export_model(case.model, case.card, format, path, list(case.images))
    assert [(one.images, one.count) for one in found] == [("random", 16), ("real", 12)]
    assert all(one.lowest >= 0.999 for one in found)
    beside = {"openvino": ["model.bin"], "safetensors": ["model.json"]}.get(format, [])
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted([path.name, *beside])


@pytest.mark.parametrize("format", [FORMATS[0], FORMATS[1], FORMATS[3]])
def test_what_was_written_opens_again_as_the_model_itself(tmp_path, case, format):
    path = written(tmp_path, format)
    export_model(case.model, case.card, format, path)
    embedder = Embedder(str(path), device="cpu", precision="float32")
    np.testing.assert_allclose(embedder(case.images), unit(case.expected), atol=1e-4)
    raw = Embedder(path, device="cpu", precision="float32", normalize=False)
    np.testing.assert_allclose(
        raw(case.images), case.expected, rtol=1e-3, atol=1e-3 * case.expected.std()
    )
    assert embedder.dim == case.expected.shape[1]
    assert embedder.fingerprint == fingerprint(case.model, case.card)
    assert replace(embedder.card, branches=()) == replace(case.card, branches=())


@onnxruntime
def test_an_onnx_file_serves_programs_that_know_nothing_of_us(tmp_path, case):
    import onnxruntime

    path = tmp_path / "model.onnx"
    export_model(case.model, case.card, "onnx", path)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (taken,) = session.get_inputs()
    assert (taken.name, taken.type, taken.shape[1:]) == (INPUT, "tensor(uint8)", [64, 32, 3])
    assert [given.name for given in session.get_outputs()] == list(OUTPUTS)
    for count in (1, 5, 12):
        embeddings, raw = session.run(None, {INPUT: case.images[:count]})
        np.testing.assert_allclose(embeddings, unit(case.expected[:count]), atol=1e-4)
        np.testing.assert_allclose(unit(raw), embeddings, atol=1e-5)


@pytest.mark.filterwarnings("ignore:.torch.jit.load:FutureWarning")
def test_a_torchscript_file_runs_alone(tmp_path, case):
    path = tmp_path / "model.pt"
    export_model(case.model, case.card, "torchscript", path)
    facts = {"reid_dhm.json": ""}
    network = torch.jit.load(path, _extra_files=facts)
    for count in (1, 5, 12):
        found = network(torch.from_numpy(case.images[:count])).numpy()
        np.testing.assert_allclose(found, unit(case.expected[:count]), atol=1e-4)
    assert json.loads(facts["reid_dhm.json"])["backbone"] == case.card.backbone


@pytest.mark.parametrize("format", FORMATS[:2])
def test_a_graph_says_what_it_is(tmp_path, resnet, format):
    training = {"data": ["market1501", "msmt17"], "method": "dhm", "seed": 3}
    card = replace(resnet.card, training=training)
    path = written(tmp_path, format)
    export_model(resnet.model, card, format, path)
    facts = read_metadata(path)
    assert json.loads(facts.pop("card"))["training"] == training
    if format == "openvino":
        beside = hashlib.sha256(path.with_suffix(".bin").read_bytes())
        assert facts.pop("weights") == beside.hexdigest()
    assert facts == {
        "backbone": "resnet18",
        "size": "64x32",
        "training_set": "market1501, msmt17",
        "method": "dhm",
        "precision": "float32",
        "version": f"reid-dhm {__version__}",
        "fingerprint": fingerprint(resnet.model, card),
    }


@onnx
def test_side_branches_stay_behind(tmp_path, resnet):
    card = replace(resnet.card, branches=(BranchSpec("layer3"),))
    branched = card.build().eval()
    sizes = []
    for model, its_card in ((branched, card), (branched.deploy(), replace(card, branches=()))):
        path = tmp_path / f"{len(sizes)}.onnx"
        export_model(model, its_card, "onnx", path)
        sizes.append(path.stat().st_size)
    assert abs(sizes[0] - sizes[1]) < 1000
    assert open_checkpoint(tmp_path / "0.onnx")[1].branches == ()


@nncf
@pytest.mark.parametrize("format", FORMATS[:2])
def test_int8_is_smaller_near_and_another_model(tmp_path, resnet, format):
    whole, eighth = written(tmp_path / "a", format), written(tmp_path / "b", format)
    export_model(resnet.model, resnet.card, format, whole)
    calibration = list(resnet.images)
    found = export_model(resnet.model, resnet.card, format, eighth, calibration=calibration)
    real = found[1]
    assert (real.images, real.count) == ("calibration", 12)
    assert 0.99 <= real.mean < 0.99999
    weights = {"openvino": ".bin", "onnx": ".onnx"}[format]
    size = [path.with_suffix(weights).stat().st_size for path in (whole, eighth)]
    assert size[1] < 0.4 * size[0]
    embedder = Embedder(eighth, device="cpu", precision="float32")
    assert embedder.precision == "int8"
    assert resnet.cosines(embedder(resnet.images)).mean() >= 0.99
    assert embedder.fingerprint != Embedder(whole, device="cpu").fingerprint


@nncf
def test_quantisation_spares_convolutions_until_it_is_good_enough(resnet):
    from reid_dhm.inference.engines.openvino_runtime import read_graph
    from reid_dhm.inference.export.quantisation import quantise

    graph = read_graph(onnx_graph(resnet.model, resnet.card))

    def count(quantised) -> int:
        """Convolutions that still take float32 weights."""
        kinds = ("Convolution", "GroupConvolution")
        return sum(
            node.get_type_name() in kinds
            and node.input_value(1).get_node().get_type_name() == "Constant"
            and node.input_value(1).get_element_type().get_type_name() == "f32"
            for node in quantised.get_ordered_ops()
        )

    asked: list[int] = []

    def agreement(quantised) -> float:
        asked.append(count(quantised))
        return [0.5, 0.9, 0.7][min(len(asked), 3) - 1]

    best = quantise(graph, resnet.images, agreement, enough=0.9)
    assert asked == [0, 6]
    assert count(best) == 6
    asked.clear()
    assert count(quantise(graph, resnet.images, agreement, enough=0.99)) == 6
    assert asked == [0, 6, 12]  # it has 20: 24 would leave nothing to quantise


def test_a_file_that_does_not_agree_is_removed(tmp_path, resnet, monkeypatch):
    def wrong(*_):
        return [Agreement("random", 16, 1.0, 1.0), Agreement("real", 3, 0.9989, 0.9999)]

    monkeypatch.setattr(export, "verify", wrong)
    path = tmp_path / "model.pt"
    with pytest.raises(
        InputError, match=r"model\.pt is not kept.*3 real.*0\.9989, at least 0\.999 is"
    ):
        export_model(resnet.model, resnet.card, "torchscript", path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_was_there_stays_when_the_new_one_fails(tmp_path, resnet, monkeypatch):
    path = tmp_path / "model.pt"
    path.write_text("the old one")
    monkeypatch.setattr(
        export, "verify", lambda *_: [Agreement("random", 16, float("nan"), float("nan"))]
    )
    with pytest.raises(InputError, match="is not kept"):
        export_model(resnet.model, resnet.card, "torchscript", path)
    assert path.read_text() == "the old one"


def test_all_that_a_file_gives_is_compared(resnet):
    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        rows = unit(resnet.expected[: len(images)])
        wrong = rows.copy()
        wrong[:, 0] += 0.5
        return {"embeddings": unit(wrong), "raw": rows}

    shown = {"real": resnet.images[:1]}
    (found,) = verify(run, resnet.model, resnet.card, shown)
    assert found.lowest < 0.95


def test_embeddings_of_another_length_than_one_are_refused(resnet):
    def run(images: np.ndarray) -> dict[str, np.ndarray]:
        return {"embeddings": 1.01 * unit(resnet.expected[: len(images)])}

    with pytest.raises(InputError, match=r"real images are not unit rows \(lengths 1\.0100"):
        verify(run, resnet.model, resnet.card, {"real": resnet.images[:1]})


def test_rows_are_taken_evenly():
    assert spread(3, 20) == [0, 1, 2]
    assert spread(10, 5) == [0, 2, 4, 6, 8]
    assert spread(599, 300)[-1] == 597  # to the end, whatever the count
    assert spread(4, 0) == []


@onnx
def test_normalisations_are_folded_into_convolutions_in_the_graph(case):
    import onnx

    nodes = onnx.load_from_string(onnx_graph(case.model, case.card)).graph.node
    made_by = {output: node.op_type for node in nodes for output in node.output}
    behind = [made_by.get(n.input[0]) for n in nodes if n.op_type == "BatchNormalization"]
    assert "Conv" in made_by.values()
    assert "Conv" not in behind


def test_safetensors_say_where_they_come_from(tmp_path, resnet):
    from safetensors import safe_open

    card = replace(resnet.card, training={"data": ["msmt17"]})
    path = tmp_path / "model.safetensors"
    export_model(resnet.model, card, "safetensors", path)
    with safe_open(path, "pt") as opened:
        facts = opened.metadata()
    assert (facts["training_set"], facts["version"]) == ("msmt17", f"reid-dhm {__version__}")


def test_arrays_in_one_array_are_as_good_as_a_list(tmp_path, resnet):
    found = export_model(resnet.model, resnet.card, "torchscript", tmp_path / "a.pt", resnet.images)
    assert [one.count for one in found] == [16, 12]


def test_int8_is_judged_on_real_images_by_their_mean():
    agreements = [Agreement("random", 16, 0.9, 0.95), Agreement("real", 64, 0.97, 0.991)]
    assert find_fault(agreements, int8=True) is None
    agreements[1] = Agreement("real", 64, 0.97, 0.989)
    assert "mean cosine 0.9890, at least 0.99 is required" in find_fault(agreements, int8=True)


@pytest.mark.parametrize(
    ("format", "name", "int8", "message"),
    [
        ("tflite", "a.tflite", False, "format is 'tflite': use onnx, openvino"),
        ("onnx", "a.bin", False, r"a\.bin does not fit onnx: give a name ending in \.onnx"),
        ("torchscript", "a.pt", True, "int8 is not supported in torchscript"),
    ],
)
def test_what_cannot_be_written_is_refused(tmp_path, resnet, format, name, int8, message):
    calibration = list(resnet.images) if int8 else ()
    with pytest.raises(InputError, match=message):
        export_model(resnet.model, resnet.card, format, tmp_path / name, calibration=calibration)


def test_a_package_that_is_missing_is_named(tmp_path, resnet, uninstall):
    uninstall("onnx")
    with pytest.raises(InputError, match=r'needs onnx, .*pip install "reid-dhm\[onnx\]"'):
        export_model(resnet.model, resnet.card, "onnx", tmp_path / "a.onnx")


@onnx
def test_a_image_that_cannot_be_read_stops_it_by_name(tmp_path, resnet):
    (tmp_path / "bad.jpg").touch()
    with pytest.raises(InputError, match=r"bad\.jpg is empty"):
        export_model(resnet.model, resnet.card, "onnx", tmp_path / "a.onnx", [tmp_path / "bad.jpg"])
    assert not (tmp_path / "a.onnx").exists()


def test_what_a_killed_export_left_is_removed_and_a_running_one_is_not(tmp_path, resnet):
    killed = tmp_path / ".export-999999999-abcd_123"
    running = tmp_path / f".export-{os.getpid()}-abcd_123"
    for folder in (killed, running):
        folder.mkdir()
        (folder / "model.pt").write_bytes(b"half")
        os.utime(folder, (0, 0))
    export_model(resnet.model, resnet.card, "torchscript", tmp_path / "model.pt")
    assert sorted(path.name for path in tmp_path.iterdir()) == [running.name, "model.pt"]


# ---------------------------------------------------------------- opening


@onnx
def test_a_graph_of_others_is_asked_how_it_is_fed(tmp_path):
    import onnx

    identity = onnx.helper.make_node("Identity", ["x"], ["y"])
    value = [onnx.helper.make_tensor_value_info(n, onnx.TensorProto.FLOAT, [1]) for n in "xy"]
    graph = onnx.helper.make_graph([identity], "theirs", value[:1], value[1:])
    onnx.save(onnx.helper.make_model(graph), tmp_path / "theirs.onnx")
    with pytest.raises(InputError, match=r"theirs\.onnx does not state its colour order"):
        open_checkpoint(tmp_path / "theirs.onnx")


@pytest.mark.parametrize("format", FORMATS[:2])
def test_a_truncated_graph_is_refused_by_name(tmp_path, resnet, format):
    path = written(tmp_path, format)
    export_model(resnet.model, resnet.card, format, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(InputError, match=rf"{path.name} .*export the model again") as refusal:
        open_checkpoint(path)
    assert "\n" not in str(refusal.value)


@openvino
def test_a_graph_without_its_weights_is_refused_by_name(tmp_path, resnet):
    path = tmp_path / "model.xml"
    export_model(resnet.model, resnet.card, "openvino", path)
    path.with_suffix(".bin").unlink()
    with pytest.raises(InputError, match=r"model\.bin is missing beside it"):
        Embedder(path)


@openvino
def test_a_graph_beside_another_models_weights_is_refused(tmp_path, resnet):
    path = tmp_path / "model.xml"
    export_model(resnet.model, resnet.card, "openvino", path)
    weights = bytearray(path.with_suffix(".bin").read_bytes())
    weights[1000] ^= 1
    path.with_suffix(".bin").write_bytes(weights)
    with pytest.raises(
        InputError, match=r"model\.bin contains the weights of another model than .*model\.xml"
    ):
        open_checkpoint(path)
    of_before = re.sub(r"<weights value=.*?/>", "", path.read_text())
    path.write_text(of_before)
    assert isinstance(open_checkpoint(path)[0], ExportedModel)


@pytest.mark.parametrize("format", FORMATS[:2])
def test_a_graph_of_another_size_than_its_cards_is_refused(tmp_path, resnet, monkeypatch, format):
    path = written(tmp_path, format)
    other = json.dumps({**asdict(resnet.card), "size": (64, 64)})
    facts = export._metadata(resnet.model, resnet.card, format, np.empty(0)) | {"card": other}
    monkeypatch.setattr(export, "_metadata", lambda *_: facts)
    export_model(resnet.model, resnet.card, format, path)
    with pytest.raises(InputError, match=r"takes images of \(64, 32\).*card has \(64, 64\)"):
        open_checkpoint(path)


def test_of_openvinos_errors_the_line_that_tells_is_taken():
    error = RuntimeError("Exception from src/core.cpp:84:\nCheck failed:\nIt is cut.\n\n")
    assert first_line(error) == "It is cut."
    assert first_line(RuntimeError("\nout of memory\nTried 5 GiB")) == "out of memory"
    assert first_line(RuntimeError()) == "RuntimeError"


def test_a_folder_is_not_written_over(tmp_path, resnet):
    folder = tmp_path / "model.pt"
    folder.mkdir()
    with pytest.raises(InputError, match=rf"{folder} is a folder"):
        export_model(resnet.model, resnet.card, "torchscript", folder)


def test_a_program_is_never_run(tmp_path, resnet):
    path = tmp_path / "model.pt"
    export_model(resnet.model, resnet.card, "torchscript", path)
    with pytest.raises(InputError, match=r"model\.pt is TorchScript, and programs.*onnx or"):
        open_checkpoint(path, "resnet18", (64, 32))


@onnx
@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "torch"}, "engine torch does not run exported files"),
        ({"device": "cuda"}, "PyTorch sees no GPUs|does not run on cuda"),
    ],
)
def test_what_an_exported_file_cannot_do_is_said(tmp_path, resnet, options, message):
    path = tmp_path / "model.onnx"
    export_model(resnet.model, resnet.card, "onnx", path)
    with pytest.raises(InputError, match=message):
        Embedder(path, **options)


@onnx
def test_an_exported_file_needs_no_words_and_is_not_exported_again(tmp_path, resnet):
    path = tmp_path / "model.onnx"
    export_model(resnet.model, resnet.card, "onnx", path)
    with pytest.raises(InputError, match="has a card with its backbone"):
        open_checkpoint(path, backbone="resnet18")
    opened, card = open_checkpoint(path)
    assert isinstance(opened, ExportedModel)
    assert isinstance(card, ModelCard)
    with pytest.raises(InputError, match="is an exported file already"):
        export_model(opened, card, "openvino", tmp_path / "again.xml")


@onnxruntime
def test_onnx_runtime_runs_it_where_openvino_is_missing(tmp_path, resnet, uninstall):
    path = tmp_path / "model.onnx"
    export_model(resnet.model, resnet.card, "onnx", path)
    uninstall("openvino")
    embedder = Embedder(path)
    np.testing.assert_allclose(embedder(resnet.images), unit(resnet.expected), atol=1e-4)
    assert embedder.engine == "onnxruntime"
    uninstall("onnxruntime")
    with pytest.raises(InputError, match=r"no installed engine runs .*model\.onnx"):
        Embedder(path)
