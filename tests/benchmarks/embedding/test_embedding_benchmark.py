"""The embedding benchmark: both sides embed the same, and its figures are what they say."""

from __future__ import annotations

import importlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.testing import CliRunner

from reid_dhm.benchmarks.embedding import comparison as embedding
from reid_dhm.benchmarks.embedding.comparison import (
    EmbeddingRates,
    EngineRates,
    compare_embedding,
    memory_over,
)
from reid_dhm.benchmarks.embedding.runners import make_network, torchreid_extractor
from reid_dhm.benchmarks.training.pipeline import write_images
from reid_dhm.cli.benchmark import benchmark
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.models.card import ModelCard

SIZE = (64, 32)
CARD = ModelCard("osnet_x0_25", 1, SIZE, neck="none", last_stride=2)


@pytest.fixture(scope="module")
def paths(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    folder = tmp_path_factory.mktemp("pictures")
    return [str(sample.path) for sample in write_images(folder, 4, 16)]


def test_every_side_embeds_the_same_images_to_the_same(paths: list[str]) -> None:
    rates = compare_embedding("osnet_x0_25", paths, (128, 64), "cpu", rounds=2, turn_seconds=0.05)
    assert len(rates.torchreid) == 2
    assert min(*rates.torchreid, rates.torchreid_alone) > 0
    assert ("torch", "float32") in [(one.engine, one.precision) for one in rates.engines]
    assert rates.chosen in [(one.engine, one.precision) for one in rates.engines]
    for one in rates.engines:
        assert min(*one.files, *one.bare) > 0
        assert one.share == pytest.approx([one.files[i] / one.bare[i] for i in range(2)])
        assert one.cosine >= (0.9999 if one.precision == "float32" else 0.8)  # of random weights


def test_the_peer_reads_and_embeds_as_it_always_does(paths: list[str]) -> None:
    torch.manual_seed(0)
    card = replace(CARD, size=(256, 128))  # enlarged, images are the same pixels on both sides
    model = card.build().eval()
    peer = torchreid_extractor(model, card, torch.device("cpu"))
    ours = Embedder((model, card), "torch", "cpu", normalize=False, precision="float32")
    np.testing.assert_allclose(peer(paths[:9], 4), ours(paths[:9]), rtol=1e-3, atol=1e-4)


def test_the_networks_tell_images_apart(paths: list[str]) -> None:
    for backbone in ("osnet_x0_25", "mobilenet_v2"):
        network = make_network(backbone, SIZE, paths)
        found = Embedder(network, "torch", "cpu", precision="float32")(paths[:32])
        assert cosines(found[:-1], found[1:]).min() < 0.98  # the images are noise


def test_the_engine_alone_runs_whole_ready_batches() -> None:
    sizes: list[int] = []

    class Counting:
        batch_size, streams = 4, 2

        def __call__(self, images: np.ndarray) -> np.ndarray:
            sizes.append(len(images))
            return images

    embedding._run_bare(Counting(), np.zeros((10, 2, 2, 3), np.uint8), 24)
    assert sizes == [4] * 6


def test_memory_is_noted_along_the_way(paths: list[str]) -> None:
    embedder = Embedder((CARD.build().eval(), CARD), "torch", "cpu", precision="float32")
    found = memory_over(embedder, paths, count=300, every=100)
    assert [done for done, _ in found] == [32, 160, 288, 300]  # batches of 32
    assert min(held for _, held in found) > 2**20


@pytest.fixture
def measured(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Backbones that were measured, with given figures in place of measuring."""
    asked: list[str] = []

    def compare(backbone: str, *_: object) -> EmbeddingRates:
        asked.append(backbone)
        ours = EngineRates("openvino", "bf16", (800.0, 700.0), (1000.0, 1000.0), 0.9999)
        return EmbeddingRates(
            backbone, (100.0, 100.0), 32, 101.0, (ours,), ("openvino", "bf16"), 1.01
        )

    monkeypatch.setattr(embedding, "compare_embedding", compare)
    command = importlib.import_module("reid_dhm.cli.benchmark.embed")
    monkeypatch.setattr(command, "images_to_embed", lambda *_: [])
    return asked


def call(*arguments: object) -> str:
    outcome = CliRunner().invoke(benchmark, [str(one) for one in arguments])
    if outcome.exception is not None and not isinstance(outcome.exception, SystemExit):
        raise outcome.exception
    return outcome.output


def test_figures_are_printed_as_ratios(measured: list[str]) -> None:
    shown = call("embed", "osnet_x0_25")
    for figure in (
        "7.50 (7.00-8.00)",
        "75.0% (70.0%-80.0%)",
        "1.010 times",
        "32 per call",
        "101.0",
    ):
        assert figure in shown


def test_what_was_measured_is_not_measured_again(measured: list[str], tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    call("embed", "osnet_x0_25", "--json", figures)
    call("embed", "osnet_x0_25", "resnet50", "--json", figures)
    assert measured == ["osnet_x0_25", "resnet50"]
    assert list(json.loads(figures.read_text())["backbones"]) == ["osnet_x0_25", "resnet50"]
    assert "other settings" in call("embed", "resnet50", "--rounds", 1, "--json", figures)
    assert measured == ["osnet_x0_25", "resnet50"]


def test_all_four_networks_are_measured_by_default(measured: list[str]) -> None:
    call("embed")
    assert measured == ["osnet_x0_25", "osnet_x1_0", "mobilenet_v2", "resnet50"]
    assert isinstance(benchmark, typer.Typer)


def test_a_damaged_file_of_figures_is_named(measured: list[str], tmp_path: Path) -> None:
    figures = tmp_path / "figures.json"
    figures.write_text("{")
    assert "is not JSON" in call("embed", "osnet_x0_25", "--json", figures)
    assert measured == []
