from __future__ import annotations

import logging
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from reid_dhm.data.loading import MemoryLoader, WorkerLoader, build_loader, estimate_bytes
from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError

CPU = torch.device("cpu")
ROWS = [torch.tensor([3, 0, 3]), torch.tensor([1]), torch.tensor([4, 2])]


def write(folder: Path, sizes: list[tuple[int, int]], suffix: str = ".png") -> list[Sample]:
    """One image of each (height, width), lossless unless ``suffix`` says otherwise."""
    rng = np.random.default_rng(0)
    samples = []
    for number, size in enumerate(sizes):
        image = rng.integers(0, 256, (*size, 3), dtype=np.uint8)
        path = folder / f"{number}{suffix}"
        Image.fromarray(image).save(path)
        samples.append(Sample(path, pid=number, camid=1))
    return samples


def pixels(sample: Sample) -> np.ndarray:
    return np.asarray(Image.open(sample.path).convert("RGB"))


def test_images_of_one_small_size_are_kept_as_they_are(tmp_path: Path) -> None:
    samples = write(tmp_path, [(8, 4)] * 5)
    labels = [10, 11, 12, 13, 14]
    assert estimate_bytes(samples, (16, 8)) == (5 * 8 * 4 * 3, (8, 4))
    batches = list(MemoryLoader(samples, labels, (16, 8), CPU).batches(ROWS))
    assert [batch.indices.tolist() for batch in batches] == [rows.tolist() for rows in ROWS]
    for batch in batches:
        assert batch.labels.tolist() == [labels[row] for row in batch.indices]
        assert batch.images.dtype == torch.uint8
        assert batch.images.is_contiguous(memory_format=torch.channels_last)
        expected = np.stack([pixels(samples[row]) for row in batch.indices])
        np.testing.assert_array_equal(batch.images.permute(0, 2, 3, 1), expected)


@pytest.mark.parametrize(
    "sizes",
    [
        pytest.param([(8, 4), (9, 4), (30, 10), (8, 30), (16, 8)], id="varying"),
        pytest.param([(32, 24)] * 5, id="larger"),
        pytest.param([(8, 24)] * 5, id="wider"),
    ],
)
def test_other_images_are_kept_at_the_input_size(
    tmp_path: Path, sizes: list[tuple[int, int]]
) -> None:
    samples = write(tmp_path, sizes)
    assert estimate_bytes(samples, (16, 8)) == (5 * 16 * 8 * 3, None)
    (batch,) = MemoryLoader(samples, range(5), (16, 8), CPU).batches([torch.arange(5)])
    for sample, result in zip(samples, batch.images.permute(0, 2, 3, 1).numpy(), strict=True):
        image = pixels(sample)
        shrinks = image.shape[0] >= 16 and image.shape[1] >= 8
        way = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
        np.testing.assert_array_equal(result, cv2.resize(image, (8, 16), interpolation=way))


def test_shrinking_averages_blocks(tmp_path: Path) -> None:
    samples = write(tmp_path, [(16, 8)])
    (batch,) = MemoryLoader(samples, [0], (8, 4), CPU).batches([torch.tensor([0])])
    means = pixels(samples[0]).reshape(8, 2, 4, 2, 3).mean((1, 3))
    assert np.abs(batch.images[0].permute(1, 2, 0).numpy() - means).max() <= 0.5


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_give_the_batches_of_memory(tmp_path: Path, num_workers: int) -> None:
    samples = write(tmp_path, [(12, 6), (20, 10), (40, 30), (16, 8), (7, 9)], suffix=".jpg")
    labels = [4, 3, 2, 1, 0]
    memory = MemoryLoader(samples, labels, (16, 8), CPU)
    workers = WorkerLoader(samples, labels, (16, 8), CPU, num_workers)
    for _ in range(2):  # a loader serves more than one epoch
        pairs = zip(memory.batches(ROWS), workers.batches(iter(ROWS)), strict=True)
        for expected, batch in pairs:
            assert torch.equal(batch.images, expected.images)
            assert torch.equal(batch.labels, expected.labels)
            assert torch.equal(batch.indices, expected.indices)
            assert batch.images.is_contiguous(memory_format=torch.channels_last)


def test_loading_leaves_the_global_generator_alone(tmp_path: Path) -> None:
    samples = write(tmp_path, [(8, 4)] * 5)
    before = torch.get_rng_state()
    for loader in (
        MemoryLoader(samples, range(5), (8, 4), CPU),
        WorkerLoader(samples, range(5), (8, 4), CPU, 0),
    ):
        list(loader.batches(ROWS))
    assert torch.equal(torch.get_rng_state(), before)


def test_headers_are_read_as_the_images_are_turned(tmp_path: Path) -> None:
    """A JPEG stored 8x4 with EXIF orientation 6 is shown 4x8, and kept so."""
    image = Image.fromarray(np.zeros((8, 4, 3), np.uint8))
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    samples = [Sample(tmp_path / "turned.jpg", 0, 1)]
    assert estimate_bytes(samples, (8, 8)) == (8 * 4 * 3, (4, 8))
    (batch,) = MemoryLoader(samples, [0], (8, 8), CPU).batches([torch.tensor([0])])
    assert batch.images.shape == (1, 3, 4, 8)


def test_progress_ends_at_the_number_of_images(tmp_path: Path) -> None:
    samples = write(tmp_path, [(4, 2)]) * 150
    calls: list[tuple[int, int]] = []
    MemoryLoader(samples, [0] * 150, (4, 2), CPU, lambda *call: calls.append(call))
    assert calls == sorted(calls)
    assert calls[-1] == (150, 150)


def test_checking_ahead_of_workers_tells_how_far_it_is(tmp_path: Path) -> None:
    samples = write(tmp_path, [(4, 2)] * 3)
    calls: list[tuple[int, int]] = []
    build_loader(samples, range(3), (4, 2), CPU, 0, 0, lambda *call: calls.append(call))
    assert calls == [(3, 3)]


def test_the_limit_chooses_the_loader_and_the_log_says_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    samples = write(tmp_path, [(8, 4)] * 5)
    need = 5 * 8 * 4 * 3
    with caplog.at_level(logging.INFO, logger="reid_dhm"):
        kept = build_loader(samples, range(5), (8, 4), CPU, need, num_workers=0)
        decoded = build_loader(samples, range(5), (8, 4), CPU, need - 1, num_workers=0)
    assert isinstance(kept, MemoryLoader)
    assert isinstance(decoded, WorkerLoader)
    for_memory, for_workers = caplog.messages
    assert "5 images at 8x4" in for_memory
    assert "within the cache limit" in for_memory
    assert "above the cache limit" in for_workers


@pytest.mark.parametrize("cache_limit", [0, 1 << 30])
@pytest.mark.parametrize("kept_bytes", [0, 100, -200])
def test_a_corrupt_image_is_named_before_training(
    tmp_path: Path, cache_limit: int, kept_bytes: int
) -> None:
    samples = write(tmp_path, [(64, 32)] * 4, suffix=".jpg")
    damaged = samples[2].path
    damaged.write_bytes(damaged.read_bytes()[:kept_bytes])
    with pytest.raises(InputError, match=r"2\.jpg") as caught:
        build_loader(samples, range(4), (64, 32), CPU, cache_limit, num_workers=0)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_image_damaged_during_training_is_named(tmp_path: Path, num_workers: int) -> None:
    samples = write(tmp_path, [(8, 4)] * 5)
    loader = WorkerLoader(samples, range(5), (8, 4), CPU, num_workers)
    samples[2].path.unlink()
    with pytest.raises(InputError, match=r"2\.png") as caught:
        list(loader.batches(ROWS))
    assert "\n" not in str(caught.value)


def test_an_empty_set_is_refused() -> None:
    with pytest.raises(InputError, match="empty"):
        build_loader([], [], (8, 4), CPU, 1 << 30, num_workers=0)
