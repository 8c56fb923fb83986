"""Cached graphs spare PyTorch's start-up, give its embeddings, and survive damage."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.inference import graph_cache
from reid_dhm.inference.checkpoints import fingerprint, open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import cosines
from reid_dhm.inference.engines.exported import ExportedModel, installed
from reid_dhm.inference.engines.torch_engine import TorchEngine
from reid_dhm.models.card import card_path

pytestmark = pytest.mark.skipif(
    not (installed("onnx") and (installed("onnxruntime") or installed("openvino"))),
    reason="needs onnx, and onnxruntime or openvino",
)


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """The folder of the graphs, not made yet."""
    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "graphs"


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    patches = np.random.default_rng(0).integers(0, 256, (8, 8, 4, 3), np.uint8)
    return np.stack([cv2.resize(p, (64, 128), interpolation=cv2.INTER_CUBIC) for p in patches])


@pytest.fixture(scope="module")
def expected(images) -> np.ndarray:
    """By eager PyTorch in float32."""
    return TorchEngine(*open_checkpoint(DEFAULT_CHECKPOINT), "cpu", plain=True)(images)


def embed(images, checkpoint=DEFAULT_CHECKPOINT, **options):
    embedder = Embedder(checkpoint, device="cpu", **options)
    return embedder, embedder(images)


def is_cached(embedder: Embedder) -> bool:
    return isinstance(embedder._model, ExportedModel)


@pytest.mark.parametrize("options", [{}, {"precision": "float32"}, {"engine": "onnxruntime"}])
def test_a_cached_graph_gives_eager_pytorchs_embeddings(cache, images, expected, options):
    first, rows = embed(images, **options)
    assert cosines(rows, expected).min() >= 0.999
    (graph,) = cache.glob("*.onnx")
    written = graph.stat().st_mtime_ns
    second, again = embed(images, **options)
    assert is_cached(first)
    assert is_cached(second)
    np.testing.assert_array_equal(again, rows)
    assert second.fingerprint == fingerprint(*open_checkpoint(DEFAULT_CHECKPOINT))
    assert second.card == first.card == open_checkpoint(DEFAULT_CHECKPOINT)[1]
    assert [p.name for p in cache.iterdir() if not p.name.startswith("passed-")] == [graph.name]
    assert graph.stat().st_mtime_ns >= written


@pytest.mark.parametrize("options", [{"engine": "torch"}, {"precision": "fp16"}])
def test_what_a_graph_cannot_do_does_not_use_the_cache(cache, images, options):
    if options.get("precision") == "fp16":
        with pytest.raises(ValueError, match="fp16 is not supported"):
            embed(images, **options)
    else:
        assert not is_cached(embed(images, **options)[0])
    assert not list(cache.glob("*.onnx"))


def test_a_cache_can_be_switched_off(cache, images, monkeypatch):
    monkeypatch.setenv("REID_DHM_GRAPH_CACHE", "off")
    assert not is_cached(embed(images)[0])
    assert not cache.exists()


def test_other_weights_have_another_graph(cache, images, tmp_path):
    _, rows = embed(images)
    other = tmp_path / "other.safetensors"
    shutil.copy(DEFAULT_CHECKPOINT, other)
    text = card_path(DEFAULT_CHECKPOINT).read_text().replace("0.485", "0.285")
    card_path(other).write_text(text)
    _, others = embed(images, other)
    assert len(list(cache.glob("*.onnx"))) == 2
    assert cosines(rows, others).min() < 0.9999


@pytest.mark.parametrize("damage", ["truncated", "altered", "empty", "link"])
def test_a_damaged_graph_is_made_again(cache, images, damage, tmp_path):
    _, rows = embed(images, precision="float32")
    (graph,) = cache.glob("*.onnx")
    content = bytearray(graph.read_bytes())
    if damage == "truncated":
        graph.write_bytes(content[:100_000])
    elif damage == "altered":  # in the weights, where no parser notices
        content[len(content) // 2] ^= 0x40
        graph.write_bytes(content)
    elif damage == "empty":
        graph.write_bytes(b"")
    else:
        elsewhere = tmp_path / "elsewhere.onnx"
        elsewhere.write_bytes(b"untouched")
        graph.unlink()
        graph.symlink_to(elsewhere)
    embedder, again = embed(images, precision="float32")
    np.testing.assert_allclose(again, rows, atol=1e-5)
    assert is_cached(embedder)
    assert len(list(cache.glob("*.onnx"))) == 1
    if damage == "link":
        assert elsewhere.read_bytes() == b"untouched"


@pytest.mark.parametrize("place", ["file", "link", "shared", "no home"])
def test_where_nothing_can_be_kept_the_model_runs_in_pytorch(
    cache, images, monkeypatch, place, tmp_path
):
    cache.parent.mkdir()
    if place == "file":  # as a folder without permission, which root does not know
        cache.write_text("")
    elif place == "link":
        (tmp_path / "target").mkdir()
        cache.symlink_to(tmp_path / "target")
    elif place == "shared":
        cache.mkdir()
        cache.chmod(0o777)
    else:
        monkeypatch.delenv("REID_DHM_HOME")
        monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
        monkeypatch.setattr("pathlib.Path.home", _no_home)
    embedder, rows = embed(images)
    assert rows.shape == (8, 1280)
    assert not is_cached(embedder)
    assert not (tmp_path / "target" / "x").exists()


def _no_home():
    raise RuntimeError("Could not determine home directory.")


def test_several_writers_at_once_leave_one_graph_that_works(cache, images, expected):
    code = f"""
from reid_dhm.inference.embedder import Embedder
Embedder({str(DEFAULT_CHECKPOINT)!r}, device="cpu")
"""
    running = [subprocess.Popen([sys.executable, "-c", code]) for _ in range(2)]
    assert [process.wait() for process in running] == [0, 0]
    embedder, rows = embed(images, precision="float32")
    assert is_cached(embedder)
    assert cosines(rows, expected).min() >= 0.999
    names = [path.name for path in cache.iterdir() if not path.name.startswith("passed-")]
    assert all(name.endswith(".onnx") for name in names)


def test_what_a_killed_writer_left_is_removed(cache, images):
    left = cache / ".graph-999999999-abcd_123"
    left.mkdir(parents=True)
    (left / "model.onnx").write_bytes(b"half")
    os.utime(left, (0, 0))
    embed(images)
    assert not left.exists()


def test_the_graphs_used_longest_ago_go_first(cache, images, tmp_path, monkeypatch):
    embed(images)
    (first,) = cache.glob("*.onnx")
    monkeypatch.setattr(graph_cache, "_LARGEST", int(1.5 * first.stat().st_size))
    other = tmp_path / "other.safetensors"
    shutil.copy(DEFAULT_CHECKPOINT, other)
    card_path(other).write_text(card_path(DEFAULT_CHECKPOINT).read_text().replace("0.485", "0.2"))
    embed(images, other)
    (kept,) = cache.glob("*.onnx")
    assert kept != first


def test_the_newest_graph_stays_though_it_exceeds_the_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(graph_cache, "_LARGEST", 10)
    for age, name in enumerate(("new", "old")):
        graph = tmp_path / f"{name}.onnx"
        graph.write_bytes(bytes(11))
        os.utime(graph, (1000 - age, 1000 - age))
    graph_cache._prune(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["new.onnx"]


def test_graphs_that_another_process_removed_are_passed_over(tmp_path, monkeypatch):
    (tmp_path / "kept.onnx").touch()
    found = [tmp_path / "gone.onnx", tmp_path / "kept.onnx"]
    monkeypatch.setattr(Path, "glob", lambda folder, pattern: iter(found))
    graph_cache._prune(tmp_path)
    assert (tmp_path / "kept.onnx").exists()


def test_a_second_run_does_not_load_pytorch(cache, images, tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), images[0])
    code = f"""
import sys
from reid_dhm.cli import main
try:
    main(["embed", "--images", {str(tmp_path)!r}, "--output", {str(tmp_path / "a.npz")!r}])
except SystemExit as stop:
    assert not stop.code, stop
print("torch" in sys.modules)
"""
    loaded = []
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        loaded.append(done.stdout.split()[-1])
    assert loaded == ["True", "False"]
