import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch.nn import functional as F

from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.loading import MemoryLoader
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError
from reid_dhm.inference import reading
from reid_dhm.inference.embedder import Embedder
from reid_dhm.inference.engines.agreement import CHECKED
from reid_dhm.inference.engines.torch_engine import TorchEngine, half_precision
from reid_dhm.inference.reading import READERS
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import ModelCard, save_model

SIZE = (64, 32)
CARD = ModelCard("mobilenet_v2", num_classes=3, size=SIZE, branches=(BranchSpec("stage3"),))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    model = CARD.build()
    # Statistics of real activations: an untrained network's embeddings hardly differ otherwise.
    for layer in model.modules():
        if isinstance(layer, torch.nn.modules.batchnorm._BatchNorm):
            layer.momentum = None
    with torch.no_grad():
        model.train()(torch.randn(8, 3, *SIZE))
    return model.eval()


@pytest.fixture(scope="module")
def embedder(model):
    return Embedder((model, CARD), engine="torch", device="cpu", batch_size=4)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (*shape, 3), np.uint8)


def smooth(height: int, width: int, seed: int = 0) -> np.ndarray:
    return cv2.resize(noise(8, 4, seed=seed), (width, height), interpolation=cv2.INTER_CUBIC)


def write(path, image: np.ndarray):
    cv2.imwrite(str(path), image[:, :, ::-1])
    return path


def reference(model, images: np.ndarray) -> np.ndarray:
    """Raw embeddings by the definition: scale to 0 … 1, normalise, run the main path."""
    x = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    x = (x - torch.tensor(CARD.mean)[:, None, None]) / torch.tensor(CARD.std)[:, None, None]
    with torch.inference_mode():
        return model.embed(x).numpy()


def cosines(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return F.cosine_similarity(torch.from_numpy(a), torch.from_numpy(b)).numpy()


def test_embeddings_are_the_models_own_as_unit_rows(model, embedder):
    images = noise(10, *SIZE)
    raw = reference(model, images)
    found = embedder(images)
    assert found.shape == (10, embedder.dim) == raw.shape
    assert found.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-6)
    np.testing.assert_allclose(
        found, raw / np.linalg.norm(raw, axis=1, keepdims=True), rtol=0, atol=1e-5
    )
    assert cosines(found[:1], found[1:2]) < 0.99  # else the comparison would prove nothing


def test_raw_embeddings_keep_their_length(model):
    images = noise(3, *SIZE)
    raw = Embedder((model, CARD), "torch", "cpu", normalize=False)(images)
    np.testing.assert_allclose(raw, reference(model, images), rtol=1e-4, atol=1e-3)


def test_files_and_arrays_of_any_size_come_back_in_input_order(tmp_path, embedder):
    sizes = [(128, 64), (64, 32), (20, 30), (90, 31), (64, 32), (200, 100), (33, 80)]
    arrays = [smooth(*size, seed=seed) for seed, size in enumerate(sizes)]
    mixed = [
        write(tmp_path / f"{9 - row}.png", array) if row % 2 else array
        for row, array in enumerate(arrays)
    ]
    together = embedder([*mixed[:3], str(mixed[3]), *mixed[4:]])
    alone = np.concatenate([embedder([array]) for array in arrays])
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "sizes",
    [[(32, 16)] * 4, [(48, 30)] * 4, [(100, 50)] * 4, [(100, 50), (64, 32), (100, 20), (70, 30)]],
    ids=["half", "smaller", "larger", "mixed"],
)
def test_a_file_embeds_as_the_same_pixels_do_in_training(tmp_path, model, embedder, sizes):
    paths = [write(tmp_path / f"{n}.png", smooth(*size, seed=n)) for n, size in enumerate(sizes)]
    samples = [Sample(path, 1, 1) for path in paths]
    loader = MemoryLoader(samples, [0] * 4, SIZE, torch.device("cpu"))
    (batch,) = loader.batches([torch.arange(4)])
    with torch.inference_mode():
        trained = model.embed(TestTransform(SIZE)(batch.images))
    np.testing.assert_allclose(embedder(paths), F.normalize(trained).numpy(), rtol=0, atol=1e-4)


def test_flip_averages_with_the_mirrored_image_before_normalising(model):
    images = noise(3, *SIZE)
    mirrored = images[:, :, ::-1].copy()
    mean = (reference(model, images) + reference(model, mirrored)) / 2
    embedder = Embedder((model, CARD), "torch", "cpu", flip=True)
    np.testing.assert_allclose(
        embedder(images), mean / np.linalg.norm(mean, axis=1, keepdims=True), atol=1e-5
    )
    np.testing.assert_allclose(embedder(images), embedder(mirrored), rtol=0, atol=1e-5)


def test_ensemble_puts_the_heads_side_by_side(model):
    card = ModelCard(**{**vars(CARD), "embedding": "ensemble"})
    embedder = Embedder((model, card), "torch", "cpu", normalize=False)
    found = embedder(noise(2, *SIZE))
    main = model.head.dim
    assert found.shape[1] == embedder.dim == main + model.branches[0].head.dim
    raw = reference(model, noise(2, *SIZE))
    np.testing.assert_allclose(
        found[:, :main], raw / np.linalg.norm(raw, axis=1, keepdims=True), atol=1e-5
    )
    np.testing.assert_allclose(np.linalg.norm(found[:, main:], axis=1), 1, rtol=1e-5)


def test_embedding_unknown_to_a_card_is_refused(model):
    with pytest.raises(InputError, match="embedding is 'both'"):
        Embedder((model, ModelCard(**{**vars(CARD), "embedding": "both"})))


def test_a_model_in_training_is_left_alone_and_later_changes_do_not_show():
    model = CARD.build().train()
    embedder = Embedder((model, CARD), "torch", "cpu")
    before = embedder(noise(2, *SIZE))
    assert model.training
    assert len(model.branches) == 1
    for parameter in model.parameters():
        parameter.data.mul_(2)
    np.testing.assert_array_equal(embedder(noise(2, *SIZE)), before)


def test_checkpoint_on_disk_embeds_as_the_model_in_memory(tmp_path, model, embedder):
    save_model(model, CARD, tmp_path / "best.safetensors")
    opened = Embedder(tmp_path, engine="torch", device="cpu", batch_size=4)
    np.testing.assert_array_equal(opened(noise(5, *SIZE)), embedder(noise(5, *SIZE)))
    assert opened.card == CARD
    assert opened.fingerprint == embedder.fingerprint
    assert (opened.engine, opened.precision, opened.device) == ("torch", "float32", "cpu")


def test_unreadable_image_stops_with_its_name(tmp_path, embedder):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    with pytest.raises(InputError, match=r"bad\.jpg is truncated, corrupt or not an image"):
        embedder([noise(8, 8), bad])


def test_unreadable_pictures_are_reported_and_nothing_else_is_lost(tmp_path, embedder):
    good = [write(tmp_path / f"{n}.png", noise(*SIZE, seed=n)) for n in range(9)]
    bad = [tmp_path / "a.jpg", tmp_path / "b.jpg"]
    bad[0].write_bytes(b"no image")
    found: list[tuple[int, str]] = []
    paths = [bad[0], *good[:6], bad[1], *good[6:]]
    kept = embedder(paths, on_error=lambda row, error: found.append((row, str(error))))
    assert [row for row, _ in found] == [0, 7]
    assert "a.jpg" in found[0][1]
    assert "b.jpg" in found[1][1]
    np.testing.assert_allclose(kept, embedder(good), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    "array",
    [np.zeros((8, 8), np.uint8), np.zeros((8, 8, 3)), np.zeros((0, 8, 3), np.uint8)],
    ids=["grey", "float", "empty"],
)
def test_array_that_is_no_rgb_image_is_refused_by_number(embedder, array):
    with pytest.raises(InputError, match="image 5 is an array of shape"):
        embedder([*noise(5, 8, 8), array])


def test_no_images_give_no_rows(embedder):
    assert embedder([]).shape == (0, embedder.dim)


def test_one_path_instead_of_a_list_is_refused(embedder):
    for image in ("a.jpg", Path("a.jpg")):
        with pytest.raises(InputError, match="give a list"):
            embedder(image)
        with pytest.raises(InputError, match="give a list"):
            next(embedder.stream(image))


class _Watched:
    """Images without end that remember how many were asked for."""

    def __init__(self) -> None:
        self.asked = 0

    def __iter__(self) -> Iterator[np.ndarray]:
        while True:
            self.asked += 1
            yield noise(8, 8)


def test_a_stream_takes_what_it_needs_and_no_more(embedder):
    images = _Watched()
    stream = embedder.stream(images)
    ahead = [images.asked - next(stream).end for _ in range(50)]
    stream.close()
    assert max(ahead) <= 4 * (READERS + 1 + 2) + CHECKED  # read, and handed to the engine
    assert not helpers()


def helpers() -> list[str]:
    """Threads that read and embed."""
    names = [thread.name for thread in threading.enumerate()]
    return [name for name in names if name.startswith(("reader", "engine"))]


def test_no_thread_outlives_a_stream_that_an_error_stopped(tmp_path, embedder):
    bad = tmp_path / "bad.jpg"
    bad.touch()
    with pytest.raises(InputError) as excinfo:
        embedder([bad, *noise(200, 8, 8)])
    assert not helpers()
    assert excinfo.traceback  # whose frames are still held


def test_a_large_image_is_made_smaller_as_soon_as_it_is_read(monkeypatch):
    happened: list[tuple[int, ...]] = []
    monkeypatch.setattr(
        reading, "resize_image", lambda pixels, size: happened.append((0,)) or pixels[:64, :32]
    )
    checked = reading._checked
    monkeypatch.setattr(
        reading, "_checked", lambda pixels, row: happened.append((1,)) or checked(pixels, row)
    )
    list(reading.read_batches(noise(3, 640, 320), 3, SIZE))
    assert happened == [(1,), (0,)] * 3


def test_what_is_no_image_is_refused_by_number(embedder):
    with pytest.raises(InputError, match="image 1 is a Tensor: give files"):
        embedder([*noise(1, 8, 8), torch.zeros(8, 8, 3)])


def test_an_embedding_that_is_not_finite_is_refused_by_file(tmp_path, model):
    broken = Embedder((model, CARD), "torch", "cpu")
    engine = broken.network

    class Overflowing:
        decided, streams, batch_size, dim, precision = True, 1, 4, engine.dim, "float32"

        def __call__(self, images: np.ndarray) -> np.ndarray:
            found = engine(images)
            found[1] = np.inf
            return found

    broken._engine = Overflowing()
    paths = [write(tmp_path / f"{n}.png", noise(*SIZE, seed=n)) for n in range(3)]
    with pytest.raises(InputError, match=r"embedding of .*1\.png in float32 is not finite"):
        broken(paths)


def test_a_stream_runs_as_suits_the_engine_that_was_decided_on(model, monkeypatch):
    asked: list[int] = []
    embedder = Embedder((model, CARD), "torch", "cpu")
    engine = embedder._engine
    monkeypatch.setattr(type(engine), "batch_size", property(lambda self: 5 if self.decided else 3))
    batches = list(embedder.stream(noise(12, *SIZE)))
    asked = [batch.end for batch in batches]
    assert asked == [5, 10, 12]


def test_a_stream_gives_the_rows_of_a_call(embedder):
    images = noise(10, *SIZE)
    batches = list(embedder.stream(iter(images)))
    assert [batch.end for batch in batches] == [4, 8, 10]
    np.testing.assert_array_equal(np.concatenate([batch.rows for batch in batches]), range(10))
    together = np.concatenate([batch.embeddings for batch in batches])
    np.testing.assert_array_equal(together, embedder(images))


def test_a_stream_hands_out_everything_before_the_image_that_stops_it(tmp_path, embedder):
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(b"no image")
    stream = embedder.stream([*noise(6, 8, 8), bad, *noise(3, 8, 8)])
    handed_out = [next(stream).rows.tolist() for _ in range(2)]
    assert handed_out == [[0, 1, 2, 3], [4, 5]]
    with pytest.raises(InputError, match=r"bad\.jpg"):
        next(stream)


def test_a_stream_reports_what_it_skips_in_its_place(tmp_path, embedder):
    bad = tmp_path / "bad.jpg"
    bad.touch()
    happened: list[object] = []
    images = [*noise(5, 8, 8), bad, *noise(1, 8, 8), bad, *noise(2, 8, 8)]

    def skipped(row: int, error: InputError) -> None:
        happened.append(-row)

    for batch in embedder.stream(images, skipped):
        happened.extend(batch.rows.tolist())
    assert happened == [0, 1, 2, 3, 4, -5, 6, -7, 8, 9]


def test_progress_ends_at_the_total(embedder):
    steps: list[tuple[int, int]] = []
    embedder(noise(10, *SIZE), on_progress=lambda done, total: steps.append((done, total)))
    assert steps == [(4, 10), (8, 10), (10, 10)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "quick"}, "engine is 'quick': use auto, torch, openvino, onnxruntime"),
        ({"device": "tpu"}, "device is 'tpu'"),
        ({"device": "cuda:x"}, "device is 'cuda:x'"),
        ({"device": "cuda:99"}, "PyTorch sees .* GPUs"),
        ({"batch_size": 0}, "batch_size is 0: use 1 to"),
        ({"batch_size": 10**20}, "batch_size is 1000.*: use 1 to"),
        ({"precision": "half"}, "precision is 'half': use auto, float32, bf16, fp16"),
        (
            {"device": "cpu", "precision": "fp16"},
            "fp16 is not supported on this CPU: use",
        ),
        ({"device": "cpu", "engine": "torch", "compiled": True}, "compiled needs .* a GPU"),
        ({"device": "cpu", "compiled": True}, "compiled needs .* a GPU"),
    ],
)
def test_unusable_options_are_refused(model, options, message):
    with pytest.raises(InputError, match=message):
        Embedder((model, CARD), **options)


def test_float32_is_not_rounded_to_tf32_and_what_was_asked_for_elsewhere_stays():
    def asked_for() -> tuple[bool, str]:
        return torch.backends.cudnn.allow_tf32, torch.get_float32_matmul_precision()

    class Spy(torch.nn.Module):
        def embed(self, images: torch.Tensor) -> torch.Tensor:
            self.seen = asked_for()
            return images.mean((2, 3))

    before, spy = asked_for(), Spy()
    engine = TorchEngine(spy, CARD, "cpu", "float32", plain=True)
    torch.set_float32_matmul_precision("high")
    try:
        engine(noise(1, *SIZE))
        assert spy.seen == (False, "highest")
        assert asked_for() == (True, "high")
    finally:
        torch.set_float32_matmul_precision(before[1])


@pytest.mark.parametrize(
    ("capability", "expected"),
    [((7, 5), "fp16"), ((8, 0), "bf16"), ((9, 0), "bf16")],
)
def test_only_gpus_that_compute_in_bfloat16_are_given_it(monkeypatch, capability, expected):
    asked: list[torch.device] = []
    monkeypatch.setattr(
        torch.cuda, "get_device_capability", lambda device: asked.append(device) or capability
    )
    assert half_precision(torch.device("cuda:1")) == expected
    assert asked == [torch.device("cuda:1")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_float32_on_the_gpu_is_the_cpus_but_for_rounding(model, embedder):
    on_gpu = Embedder((model, CARD), device="cuda", precision="float32")
    images = np.stack([smooth(*SIZE, seed=n) for n in range(16)])
    np.testing.assert_allclose(on_gpu(images), embedder(images), rtol=0, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_half_precision_on_the_gpu_agrees_with_float32(model, embedder):
    on_gpu = Embedder((model, CARD), device="cuda")
    images = np.stack([smooth(*SIZE, seed=n) for n in range(16)])
    assert (cosines(on_gpu(images), embedder(images)) >= 0.999).all()
