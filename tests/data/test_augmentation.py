from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from reid_dhm.data.augmentation import AugmentationDraw, TestTransform, TrainAugmentation, resize
from reid_dhm.errors import InputError

MEAN = np.array([0.485, 0.456, 0.406])
STD = np.array([0.229, 0.224, 0.225])


def images(count: int, height: int, width: int, seed: int = 0) -> torch.Tensor:
    """(B, 3, h, w) uint8 noise, smooth enough that resizing means something."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (count, 6, 5, 3), dtype=np.uint8)
    fine = np.stack([cv2.resize(p, (width, height), interpolation=cv2.INTER_CUBIC) for p in coarse])
    return torch.from_numpy(fine).permute(0, 3, 1, 2)


def one_by_one(batch: torch.Tensor, draw: AugmentationDraw, pad: int) -> np.ndarray:
    """The definition, an image at a time, in NumPy."""
    results = []
    for index, image in enumerate(batch.permute(0, 2, 3, 1).numpy()):
        height, width, _ = image.shape
        if draw.flip[index]:
            image = image[:, ::-1]
        padded = np.zeros((height + 2 * pad, width + 2 * pad, 3), np.uint8)
        padded[pad : pad + height, pad : pad + width] = image
        top, left = draw.crop[index].tolist()
        crop = padded[top : top + height, left : left + width] / 255.0
        normalised = (crop - MEAN) / STD
        top, left, box_height, box_width = draw.box[index].tolist()
        normalised[top : top + box_height, left : left + box_width] = 0
        results.append(normalised.transpose(2, 0, 1))
    return np.stack(results)


@pytest.mark.parametrize("pad", [0, 3])
@pytest.mark.parametrize("channels_last", [True, False])
def test_a_batch_equals_its_images_done_one_by_one(pad: int, channels_last: bool) -> None:
    batch = images(40, 24, 14)
    if not channels_last:
        batch = batch.contiguous()
    augment = TrainAugmentation((24, 14), pad=pad)
    draw = augment.draw(len(batch), torch.Generator().manual_seed(1))
    before = batch.clone()
    result = augment.apply(batch, draw)
    assert 0 < draw.flip.sum() < 40
    assert 0 < (draw.box[:, 2] > 0).sum() < 40
    assert result.dtype == torch.float32
    assert result.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(result.numpy(), one_by_one(batch, draw, pad), atol=2e-6)
    assert torch.equal(batch, before)


def test_smaller_images_are_resized_before_anything_else() -> None:
    batch = images(8, 16, 8)
    augment = TrainAugmentation((32, 16), pad=2)
    draw = augment.draw(8, torch.Generator().manual_seed(0))
    assert torch.equal(augment.apply(batch, draw), augment.apply(resize(batch, (32, 16)), draw))


def test_nothing_random_left_is_the_test_transform() -> None:
    batch = images(5, 16, 8)
    augment = TrainAugmentation((32, 16), flip=0, pad=0, erasing=0)
    plain = TestTransform((32, 16))(batch)
    assert torch.equal(augment(batch, torch.Generator()), plain)
    assert plain.is_contiguous(memory_format=torch.channels_last)


def test_test_transform_normalises_with_the_given_statistics() -> None:
    batch = images(3, 10, 6)
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    centred = batch.double() / 255 - torch.tensor(mean).view(3, 1, 1)
    expected = centred / torch.tensor(std).view(3, 1, 1)
    result = TestTransform((10, 6), mean, std)(batch.contiguous())
    torch.testing.assert_close(result.double(), expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(40, 28), (64, 32), (24, 14)])
def test_enlarging_is_opencv_s_bilinear(size: tuple[int, int]) -> None:
    batch = images(4, 24, 14)
    height, width = size
    result = resize(batch, size).permute(0, 2, 3, 1).numpy().astype(int)
    for ours, image in zip(result, batch.permute(0, 2, 3, 1).numpy(), strict=True):
        theirs = cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR)
        assert np.abs(ours - theirs).max() <= 1


def test_shrinking_averages_instead_of_skipping_pixels() -> None:
    stripes = torch.zeros(1, 3, 64, 64, dtype=torch.uint8)
    stripes[..., ::4] = 200
    inner = resize(stripes, (8, 8))[..., 1:-1].int()
    assert (inner - 50).abs().max() <= 2


def test_draws_keep_their_probabilities_and_bounds() -> None:
    count, height, width, pad = 20_000, 64, 32, 5
    augment = TrainAugmentation((height, width), flip=0.3, pad=pad, erasing=0.6)
    draw = augment.draw(count, torch.Generator().manual_seed(0))
    # Bounds of four standard deviations of a binomial share.
    assert abs(draw.flip.double().mean() - 0.3) < 4 * (0.3 * 0.7 / count) ** 0.5
    top, left, box_height, box_width = draw.box.unbind(1)
    erased = box_height > 0
    assert abs(erased.double().mean() - 0.6) < 4 * (0.6 * 0.4 / count) ** 0.5
    for offsets in draw.crop.unbind(1):
        shares = torch.bincount(offsets, minlength=2 * pad + 1) / count
        assert len(shares) == 2 * pad + 1
        assert (shares - 1 / 11).abs().max() < 4 * (1 / 11 * 10 / 11 / count) ** 0.5
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + box_height <= height).all()
    assert (left + box_width <= width).all()
    assert (top + box_height == height).any()
    assert (left + box_width == width).any()
    assert ((box_width > 0) == erased).all()
    # Sides are whole pixels, so area and aspect hold up to half a pixel on each side.
    tall, wide = box_height[erased].double(), box_width[erased].double()
    area = height * width
    assert ((tall + 0.5) * (wide + 0.5) >= 0.02 * area).all()
    assert ((tall - 0.5) * (wide - 0.5) <= 0.4 * area).all()
    assert ((tall + 0.5) / (wide - 0.5) >= 0.3).all()
    assert ((tall - 0.5) / (wide + 0.5) <= 1 / 0.3).all()
    assert (tall * wide).max() > 0.39 * area


def test_erased_areas_are_uniform_where_every_box_fits() -> None:
    augment = TrainAugmentation((200, 200), erasing=1, erasing_area=(0.1, 0.2))
    *_, tall, wide = augment.draw(4000, torch.Generator().manual_seed(0)).box.double().unbind(1)
    share = tall * wide / 200**2
    assert abs(share.mean() - 0.15) < 4 * 0.1 / 12**0.5 / 4000**0.5
    assert abs((share < 0.125).double().mean() - 0.25) < 4 * (0.25 * 0.75 / 4000) ** 0.5


def test_the_generator_decides_everything() -> None:
    batch = images(16, 24, 14)
    augment = TrainAugmentation((24, 14), pad=2)
    first = augment(batch, torch.Generator().manual_seed(9))
    torch.manual_seed(123)
    assert torch.equal(first, augment(batch, torch.Generator().manual_seed(9)))
    assert not torch.equal(first, augment(batch, torch.Generator().manual_seed(10)))


def test_the_generator_advances_by_the_batch_size_alone() -> None:
    one, other = torch.Generator().manual_seed(0), torch.Generator().manual_seed(0)
    TrainAugmentation((24, 14), flip=0, erasing=0)(images(4, 24, 14, seed=1), one)
    TrainAugmentation((24, 14))(images(4, 24, 14, seed=2), other)
    assert torch.equal(one.get_state(), other.get_state())


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_augments_as_the_cpu_does() -> None:
    batch = images(16, 24, 14)
    augment = TrainAugmentation((48, 28), pad=2)
    here = augment(batch, torch.Generator().manual_seed(0))
    there = augment(batch.cuda(), torch.Generator().manual_seed(0)).cpu()
    # One grey level of rounding when resizing.
    torch.testing.assert_close(there, here, atol=1.01 / 255 / 0.224, rtol=0)


@pytest.mark.parametrize(
    "setting",
    [
        {"flip": 1.5},
        {"erasing": -0.1},
        {"pad": -1},
        {"erasing_area": (0.4, 0.02)},
        {"erasing_area": (0.1, 1.2)},
        {"erasing_aspect": (0.0, 2.0)},
    ],
)
def test_settings_out_of_bounds_are_refused_by_name(setting: dict) -> None:
    (name,) = setting
    with pytest.raises(InputError, match=name):
        TrainAugmentation((24, 14), **setting)


def test_training_goes_on_after_inference_mode() -> None:
    """What is kept between calls must not make later batches unfit for autograd."""
    batch, size = images(2, 11, 7), (11, 7)  # a size no other test has
    with torch.inference_mode():
        TestTransform(size)(batch)
    convolution = torch.nn.Conv2d(3, 4, 3)
    convolution(TrainAugmentation(size, pad=1)(batch, torch.Generator())).sum().backward()
    assert convolution.weight.grad is not None
