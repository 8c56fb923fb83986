"""Every engine gives the embeddings of eager PyTorch, and the one that does not is not taken."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import CheckedEngine, Choice, cosines
from reid_dhm.inference.engines.exported import installed
from reid_dhm.inference.engines.network import EmbeddingNetwork
from reid_dhm.inference.engines.options import EngineOptions
from reid_dhm.inference.engines.selection import ORDER, available, build_engine
from reid_dhm.inference.engines.torch_engine import TorchEngine, cpu_has_bf16

HAS_OPENVINO = installed("openvino", "onnx")
HAS_ONNXRUNTIME = installed("onnxruntime", "onnx")

openvino = pytest.mark.skipif(not HAS_OPENVINO, reason="needs openvino and onnx")
onnxruntime = pytest.mark.skipif(not HAS_ONNXRUNTIME, reason="needs onnxruntime and onnx")
gpu = pytest.mark.gpu
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def openvino_has_bf16() -> bool:
    if not HAS_OPENVINO:
        return False
    from reid_dhm.inference.engines.openvino_engine import has_bf16

    return has_bf16()


@pytest.mark.parametrize(
    "engine",
    [
        "torch",
        pytest.param("openvino", marks=openvino),
        pytest.param("onnxruntime", marks=onnxruntime),
    ],
)
def test_every_engine_in_float32_gives_eager_pytorchs_embeddings(case, engine):
    made = build_engine(case.model, case.card, EngineOptions(engine, "cpu", "float32"))
    assert (made.name, made.precision, made.device) == (engine, "float32", "cpu")
    assert made.dim == case.expected.shape[1]
    found = np.concatenate([made(case.images[:1]), made(case.images[1:])])  # of any number
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, case.expected, rtol=1e-3, atol=1e-3 * case.expected.std())
    spread = cosines(case.expected[:-1], case.expected[1:])
    assert spread.min() < 0.99  # else the comparison would prove nothing


@pytest.mark.parametrize(
    "engine",
    [
        pytest.param(
            "torch", marks=pytest.mark.skipif(not cpu_has_bf16(), reason="needs a CPU with bf16")
        ),
        pytest.param(
            "openvino",
            marks=pytest.mark.skipif(
                not openvino_has_bf16(), reason="needs openvino and a CPU with bf16"
            ),
        ),
    ],
)
def test_bf16_is_near_float32_and_not_the_same(resnet, engine):
    made = build_engine(resnet.model, resnet.card, EngineOptions(engine, "cpu", "bf16"))
    found = made(resnet.images)
    assert made.precision == "bf16"
    assert resnet.cosines(found).min() >= 0.995
    assert np.abs(found - resnet.expected).max() > 1e-4 * resnet.expected.std()


def test_auto_agrees_whatever_it_takes(case):
    made = build_engine(case.model, case.card, EngineOptions("auto", "cpu"))
    assert case.cosines(made(case.images)).min() >= 0.999


@openvino
def test_auto_follows_its_order(resnet, uninstall):
    if HAS_ONNXRUNTIME:
        made = build_engine(resnet.model, resnet.card, EngineOptions("auto", "cpu", "float32"))
        assert made.name == "onnxruntime"
    uninstall("onnxruntime")
    assert (
        build_engine(resnet.model, resnet.card, EngineOptions("auto", "cpu", "float32")).name
        == "openvino"
    )


@onnxruntime
def test_auto_is_onnx_runtime_where_openvino_is_missing(resnet, uninstall):
    uninstall("openvino")
    assert (
        build_engine(resnet.model, resnet.card, EngineOptions("auto", "cpu")).name == "onnxruntime"
    )


def test_auto_takes_its_order_and_nothing_that_is_not_there(uninstall):
    cpu = "cpu"
    assert set(available(cpu)) <= set(ORDER["cpu"])
    assert available(cpu) == sorted(available(cpu), key=ORDER["cpu"].index)
    uninstall("openvino")
    assert "openvino" not in {engine for engine, _ in available(cpu)}


def test_an_engine_is_not_asked_for_another_engines_library(resnet, monkeypatch):
    from reid_dhm.inference.engines import openvino_engine

    asked: list[bool] = []
    monkeypatch.setattr(openvino_engine, "has_bf16", lambda: asked.append(True))
    made = build_engine(resnet.model, resnet.card, EngineOptions("torch", "cpu"))
    assert made.name == "torch"
    assert not asked


@openvino
def test_a_library_that_cannot_be_imported_gives_way(resnet, monkeypatch, caplog):
    from reid_dhm.inference.engines import openvino_engine

    def fail() -> bool:
        raise ImportError("libtbb.so is not there")

    monkeypatch.setattr(openvino_engine, "has_bf16", fail)
    made = build_engine(resnet.model, resnet.card, EngineOptions("auto", "cpu"))
    assert made.name != "openvino"
    assert "openvino is installed and cannot be imported (libtbb.so is not there)" in caplog.text


def test_auto_is_pytorch_where_nothing_else_is_installed(resnet, uninstall):
    for package in ("openvino", "onnxruntime"):
        uninstall(package)
    assert build_engine(resnet.model, resnet.card, EngineOptions("auto", "cpu")).name == "torch"


@pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
def test_an_engine_that_is_missing_is_named(resnet, uninstall, engine):
    uninstall(engine)
    with pytest.raises(InputError, match=f"engine {engine} is not installed"):
        build_engine(resnet.model, resnet.card, EngineOptions(engine, "cpu"))


@openvino
def test_many_threads_get_their_own_results(resnet):
    made = build_engine(resnet.model, resnet.card, EngineOptions("openvino", "cpu", "float32"))
    made(resnet.images)
    before = resnet.images.copy()
    rows = [i % 12 for i in range(60)]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda row: made(resnet.images[row : row + 1]), rows))
    np.testing.assert_allclose(
        np.concatenate(found), resnet.expected[rows], rtol=1e-3, atol=1e-3 * resnet.expected.std()
    )
    np.testing.assert_array_equal(resnet.images, before)  # requests copy what they are given


def test_folding_leaves_no_normalisation_behind_a_convolution(case):
    folded = EmbeddingNetwork(case.model, case.card).eval().folded()
    left = [m for m in folded.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert not left
    assert any(isinstance(m, torch.nn.BatchNorm2d) for m in case.model.modules())


def test_a_network_that_cannot_be_traced_runs_as_it_is(resnet):
    class Moody(torch.nn.Module):
        def embed(self, images: torch.Tensor) -> torch.Tensor:
            pooled = images.mean((2, 3))
            return pooled if pooled.sum() > 0 else -pooled

    engine = TorchEngine(Moody(), resnet.card, "cpu")
    found = engine(resnet.images)
    assert found.shape == (12, 3)
    assert np.isfinite(found).all()


# ---------------------------------------------------------------- which engine is taken


class Fake:
    """An engine that adds ``error`` to the first of three values."""

    device, batch_size, streams, dim = "cpu", 4, 1, 3

    def __init__(self, name: str, precision: str, error: float) -> None:
        self.name, self.precision, self.error, self.calls = name, precision, error, 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        self.calls += 1
        found = np.ones((len(images), 3), np.float32)
        found[-1, 0] += self.error
        return found


def choice(name: str, precision: str = "float32", error: float = 0.0) -> Choice:
    return Choice(name, precision, lambda: Fake(name, precision, error))


def broken(name: str) -> Choice:
    def make() -> Fake:
        raise RuntimeError("no kernel for this\nat line 3")

    return Choice(name, "float32", make)


BATCH = np.zeros((20, 4, 4, 3), np.uint8)
REFERENCE = choice("torch")


def test_the_first_that_agrees_is_taken_without_a_word(caplog):
    engine = CheckedEngine([choice("fast", error=0.01), choice("slow")], REFERENCE)
    engine(BATCH)
    assert engine.name == "fast"
    assert not caplog.records


def test_a_model_that_is_not_finite_itself_is_not_blamed_on_an_engine():
    broken = Choice("torch", "float32", lambda: lambda images: np.full((len(images), 3), np.nan))
    engine = CheckedEngine([choice("fast", "bf16")], broken)
    with pytest.raises(InputError, match="the model computes values that are not finite"):
        engine(BATCH)


def test_one_that_differs_gives_way_with_one_warning(caplog):
    engine = CheckedEngine([choice("fast", "bf16", error=1), choice("slow")], REFERENCE)
    assert engine.name == "fast"
    np.testing.assert_array_equal(engine(BATCH), 1)
    assert engine.name == "slow"
    engine(BATCH)
    assert [record.getMessage() for record in caplog.records] == [
        # (2 + 1 + 1) / (√6 √3)
        "fast in bf16 differs from torch in float32 on the first images (cosine 0.9428, at least "
        "0.999 is required): using slow in float32"
    ]


def test_one_that_fails_while_it_runs_gives_way_with_one_warning(caplog):
    class Failing(Fake):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            raise RuntimeError("out of memory\nat line 3")

    fast = Choice("fast", "float32", lambda: Failing("fast", "float32", 0))
    engine = CheckedEngine([fast, choice("slow")], REFERENCE)
    np.testing.assert_array_equal(engine(BATCH), 1)
    assert [record.getMessage() for record in caplog.records] == [
        "fast in float32 cannot run this model (out of memory): using slow in float32"
    ]


def test_the_last_one_that_cannot_run_the_model_is_one_line():
    with pytest.raises(InputError, match=r"fast in float32 cannot run .*\): use engine auto$"):
        CheckedEngine([broken("fast")], REFERENCE)


def test_what_is_asked_for_is_not_taken_if_it_is_wrong_beyond_rounding():
    wrong = choice("fast", "bf16", error=9)  # (10 + 1 + 1) / (√102 √3)
    with pytest.raises(InputError, match=r"cosine 0\.6860.*use precision float32"):
        CheckedEngine([wrong], REFERENCE, insist=True)(BATCH)


def test_one_that_cannot_run_the_model_gives_way_with_one_warning(caplog):
    engine = CheckedEngine([broken("fast"), choice("slow")], REFERENCE)
    engine(BATCH)
    assert engine.name == "slow"
    assert [record.getMessage() for record in caplog.records] == [
        "fast in float32 cannot run this model (no kernel for this): using slow in float32"
    ]


def test_the_reference_itself_is_the_last_resort(caplog):
    engine = CheckedEngine([choice("fast", error=1), REFERENCE], REFERENCE)
    np.testing.assert_array_equal(engine(BATCH), 1)
    assert engine.name == "torch"
    assert len(caplog.records) == 1


def test_without_another_choice_disagreement_is_an_error():
    engine = CheckedEngine([choice("fast", error=1)], REFERENCE)
    with pytest.raises(InputError, match=r"fast in float32 differs .* use engine auto"):
        engine(BATCH)
    with pytest.raises(InputError, match="fast in float32 differs"):  # still not checked
        engine(BATCH)


def test_what_was_insisted_on_runs_with_a_warning(caplog):
    engine = CheckedEngine([choice("fast", "bf16", error=1)], REFERENCE, insist=True)
    assert engine(BATCH)[-1, 0] == 2
    assert engine.name == "fast"
    assert caplog.records[0].getMessage().endswith("it is used, as it was asked for by name")


def test_the_first_batch_alone_is_compared_and_in_part():
    made: list[Fake] = []

    def reference() -> Fake:
        made.append(Fake("torch", "float32", 0))
        return made[-1]

    engine = CheckedEngine([choice("fast")], Choice("torch", "float32", reference))
    with ThreadPoolExecutor(4) as pool:  # whichever comes first, the others wait
        list(pool.map(engine, [BATCH] * 8))
    assert [one.calls for one in made] == [1]


def test_cosines_by_hand():
    left = np.array([[1, 0], [3, 4], [0, 0], [0, 0], [1, 1]], np.float32)
    right = np.array([[0, 2], [6, 8], [0, 0], [1, 0], [-1, -1]], np.float32)
    np.testing.assert_allclose(cosines(left, right), [0, 1, 1, np.nan, -1])


def test_values_that_are_not_finite_never_agree(caplog):
    engine = CheckedEngine([choice("fast", error=np.inf), choice("slow")], REFERENCE)
    engine(BATCH)
    assert engine.name == "slow"


@openvino
def test_the_embedder_says_what_runs_after_the_first_batch(resnet, monkeypatch, caplog):
    from reid_dhm.inference.engines import openvino_engine

    class Wrong(openvino_engine.OpenVINOEngine):
        def __call__(self, images: np.ndarray) -> np.ndarray:
            return super().__call__(images)[::-1]

    monkeypatch.setattr(openvino_engine, "OpenVINOEngine", Wrong)
    embedder = Embedder((resnet.model, resnet.card), device="cpu", normalize=False)
    with caplog.at_level(logging.WARNING):
        found = embedder(resnet.images)
    assert embedder.engine != "openvino"
    assert resnet.cosines(found).min() >= 0.999
    left = [thread.name for thread in threading.enumerate()]
    assert not [name for name in left if name.startswith(("reader", "engine"))]


@gpu
@needs_gpu
@pytest.mark.parametrize("precision", ["float32", "bf16", "fp16"])
def test_torch_on_a_gpu_agrees_at_every_precision(case, precision):
    engine = TorchEngine(case.model.deploy(), case.card, "cuda", precision)
    assert case.cosines(engine(case.images)).min() >= (0.99 if precision == "bf16" else 0.999)


@gpu
@needs_gpu
def test_a_cuda_graph_takes_batches_of_any_size(resnet):
    engine = TorchEngine(resnet.model.deploy(), resnet.card, "cuda", compiled=True)
    many = np.tile(resnet.images, (30, 1, 1, 1))  # more than the graph's batch
    with ThreadPoolExecutor(2) as pool:
        found = list(pool.map(engine, [many, resnet.images, resnet.images[:5], many]))
    assert [len(one) for one in found] == [360, 12, 5, 360]
    for one in found:
        expected = np.resize(resnet.expected, one.shape)
        np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-3 * expected.std())


@gpu
@needs_gpu
@onnxruntime
def test_onnx_runtime_on_a_gpu_agrees(resnet):
    import onnxruntime

    if "CUDAExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("needs onnxruntime-gpu")
    made = build_engine(resnet.model, resnet.card, EngineOptions("onnxruntime", "cuda", "float32"))
    assert resnet.cosines(made(resnet.images)).min() >= 0.999
