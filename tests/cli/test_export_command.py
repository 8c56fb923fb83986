import json

import numpy as np
import pytest

from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.exported import installed

onnx = pytest.mark.skipif(
    not (installed("onnx") and (installed("onnxruntime") or installed("openvino"))),
    reason="needs onnx, and onnxruntime or openvino",
)


@onnx
def test_a_written_file_embeds_as_the_run_does(run, market, trained_run, tmp_path):
    output, images = tmp_path / "new" / "model.onnx", market / "query"
    given = ("--checkpoint", trained_run, "--format", "onnx", "--output", output)
    done = run("export", *given, "--images", images)
    assert (done.code, done.err) == (0, "")
    assert "onnx, float32" in done.out
    assert "on 16 random images: lowest 1.0" in done.out or "lowest 0.9999" in done.out
    assert "on 6 real images" in done.out
    paths = sorted(images.glob("*.jpg"))
    expected = Embedder(trained_run, engine="torch", device="cpu", precision="float32")(paths)
    found = Embedder(output, precision="float32")(paths)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-4)


def test_figures_are_written_for_machines(run, trained_run, tmp_path):
    output, figures = tmp_path / "model.safetensors", tmp_path / "figures.json"
    options = ("--format", "safetensors", "--output", output, "--json", figures)
    assert run("export", "--checkpoint", trained_run, *options).code == 0
    assert json.loads(figures.read_text()) == {
        "output": str(output),
        "format": "safetensors",
        "precision": "float32",
        "bytes": output.stat().st_size,
        "cosine": {
            "random": {"count": 16, "lowest": pytest.approx(1), "mean": pytest.approx(1)},
        },
    }


@pytest.mark.skipif(
    not installed("nncf", "openvino", "onnx"), reason="needs nncf, openvino and onnx"
)
def test_int8_is_calibrated_with_a_folder(run, market, trained_run, tmp_path):
    output, figures = tmp_path / "model.xml", tmp_path / "figures.json"
    outcome = run(
        *("export", "--checkpoint", trained_run, "--format", "openvino", "--output", output),
        *("--int8", "--calibration", market, "--json", figures),
    )
    assert outcome.code == 0, outcome.err
    assert "openvino, int8 of 17 images" in outcome.out
    found = json.loads(figures.read_text())
    assert found["precision"] == "int8"
    assert found["cosine"]["real"]["mean"] >= 0.99
    assert found["cosine"]["real"]["count"] == 4  # the rest of 21: not those it was calibrated with
    assert found["bytes"] == output.stat().st_size + output.with_suffix(".bin").stat().st_size
    assert Embedder(output).precision == "int8"


@pytest.mark.parametrize("options", [("--int8",), ("--calibration", ".")])
def test_int8_and_its_images_go_together(run, trained_run, tmp_path, options):
    given = ("--checkpoint", trained_run, "--format", "onnx", "--output", tmp_path / "a.onnx")
    outcome = run("export", *given, *options)
    assert outcome.code == 2
    assert "go together" in outcome.err


def test_figures_do_not_take_the_place_of_a_card(run, trained_run, tmp_path):
    weights = tmp_path / "model.safetensors"
    given = ("export", "--checkpoint", trained_run, "--format", "safetensors", "--output", weights)
    outcome = run(*given, "--json", tmp_path / "model.json")
    assert outcome.code == 2
    assert not weights.exists()
    assert run(*given).code == 0
    card = weights.with_suffix(".json").read_text()
    images = ("--images", tmp_path, "--output", tmp_path / "a.npz")
    outcome = run("embed", "--checkpoint", weights, *images, "--json", tmp_path / "model.json")
    assert outcome.code == 2
    assert "give another name" in " ".join(outcome.err.split())
    assert weights.with_suffix(".json").read_text() == card


def test_a_name_that_does_not_fit_the_format_is_one_line(run, trained_run, tmp_path):
    options = ("--format", "onnx", "--output", tmp_path / "model.xml")
    outcome = run("export", "--checkpoint", trained_run, *options)
    assert outcome.code == 1
    assert outcome.err.startswith("error: ")
    assert "ending in .onnx" in outcome.err
    assert outcome.err.count("\n") == 1


def test_that_no_real_image_was_compared_is_said(run, trained_run, tmp_path):
    options = ("--format", "torchscript", "--output", tmp_path / "model.pt")
    outcome = run("export", "--checkpoint", trained_run, *options)
    assert "only random images were compared: add --images DIR" in outcome.err
