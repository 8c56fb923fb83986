"""Accuracy and speed by precision, on a handful of synthetic people."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from reid_dhm.benchmarks.embedding.precision import (
    PrecisionFigures,
    compare_precisions,
    draw_precisions,
)
from reid_dhm.data.datasets import load_dataset
from reid_dhm.evaluation.run import evaluate_dataset
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.exported import installed
from reid_dhm.models.card import ModelCard, save_model
from reid_dhm.synthetic import write_synthetic


@pytest.mark.skipif(
    not installed("nncf", "openvino", "onnx"), reason="needs nncf, openvino and onnx"
)
def test_every_precision_is_evaluated_and_compared_with_pytorch(tmp_path: Path) -> None:
    people = tmp_path / "people"
    write_synthetic(people, num_train=4, num_test=6, num_cameras=2, num_distractors=3, num_junk=2)
    dataset = load_dataset("market1501", people)
    torch.manual_seed(0)
    card = ModelCard("resnet18", 3, (64, 32))
    run = tmp_path / "run"
    save_model(card.build(), card, run / "best.safetensors")
    calibration = [str(sample.path) for sample in dataset.train]
    found = compare_precisions(run, dataset, calibration, rounds=1)
    from reid_dhm.inference.engines.openvino_engine import has_bf16

    middle = ["bf16"] if has_bf16() else []
    assert [one.precision for one in found] == ["float32", *middle, "int8"]
    exact = evaluate_dataset(Embedder(run, "torch", "cpu", precision="float32"), dataset)
    assert found[0].mean_ap == pytest.approx(exact.mAP, abs=1e-6)
    assert found[0].lowest == pytest.approx(1, abs=1e-6)
    assert 1 > found[-1].mean >= found[-1].lowest
    assert found[-1].mean >= 0.99
    for one in found:
        assert 0 < one.mean_ap <= 1
        assert one.rate > 0


def test_the_figure_shows_every_precision(tmp_path: Path) -> None:
    figures = [
        PrecisionFigures("float32", 0.52, 0.74, 700, 690, 710, 1, 1),
        PrecisionFigures("int8", 0.51, 0.73, 1900, 1890, 1910, 0.97, 0.99),
    ]
    drawn = draw_precisions(figures, "market1501")
    (axes,) = drawn.axes
    points = [tuple(line.get_xydata()[0]) for line in axes.lines]
    assert points == [(700, 52), (1900, 51)]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["float32\n52.00 %, 700/s", "int8\n51.00 %, 1900/s"]
    drawn.savefig(tmp_path / "figure.svg")
    assert (tmp_path / "figure.svg").stat().st_size > 1000
