"""Augmentation and normalisation of a whole batch at a time, on the device the images are on.

The order is the usual one: resize, flip, pad and crop, normalise, erase. Random numbers are drawn
on the CPU, apart from their application, so a seed gives the same augmentation on every device.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from reid_dhm.data.normalisation import IMAGENET_MEAN, IMAGENET_STD
from reid_dhm.errors import InputError

_ATTEMPTS = 20  # a 2:1 image refuses about one box in ten


@dataclass(frozen=True)
class TestTransform:
    """Resize and normalise, nothing random.

    Args:
        size: (height, width) of the result.
        mean: per RGB channel, of pixels scaled to 0 … 1.
        std: likewise, positive.
    """

    __test__ = False  # not a test, despite its name

    size: tuple[int, int]
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __call__(self, images: Tensor) -> Tensor:
        """(B, 3, h, w) uint8 images of any size, as (B, 3, H, W) float32 in channels_last."""
        rows = resize(images, self.size).permute(0, 2, 3, 1).contiguous()
        return _as_images(_normalise(rows.flatten(2), self.mean, self.std))


@dataclass(frozen=True)
class AugmentationDraw:
    """Random decisions for each of B images.

    Attributes:
        flip: (B,) bool, mirror left to right.
        crop: (B, 2) int64, top and left of the crop in the padded image.
        box: (B, 4) int64, top, left, height and width of the erased box in the crop; an area of
            zero erases nothing.
    """

    flip: Tensor
    crop: Tensor
    box: Tensor

    def to(self, device: torch.device) -> AugmentationDraw:
        """Move all of it to ``device``."""
        return AugmentationDraw(self.flip.to(device), self.crop.to(device), self.box.to(device))


@dataclass(frozen=True)
class TrainAugmentation:
    """Random flip, pad and crop, and random erasing (Zhong et al. 2020, algorithm 1).

    Padding is black. Erased boxes are filled with the mean, which is zero after normalisation.

    Args:
        size: (height, width) of the result.
        flip: probability of mirroring.
        pad: pixels added on each side before a random crop back to ``size``; 0 leaves it out.
        erasing: probability of erasing a box.
        erasing_area: smallest and largest erased fraction of the image.
        erasing_aspect: smallest and largest height / width of the box. Boxes that do not fit are
            drawn again.
        mean: per RGB channel, of pixels scaled to 0 … 1.
        std: likewise, positive.

    Raises:
        InputError: if a probability, fraction or range is out of bounds.
    """

    size: tuple[int, int]
    flip: float = 0.5
    pad: int = 10
    erasing: float = 0.5
    erasing_area: tuple[float, float] = (0.02, 0.4)
    erasing_aspect: tuple[float, float] = (0.3, 1 / 0.3)
    mean: tuple[float, float, float] = IMAGENET_MEAN
    std: tuple[float, float, float] = IMAGENET_STD

    def __post_init__(self) -> None:
        for name in ("flip", "erasing"):
            if not 0 <= (value := getattr(self, name)) <= 1:
                raise InputError(f"{name}={value} is a probability: give a value from 0 to 1")
        if self.pad < 0:
            raise InputError(f"pad={self.pad} counts pixels: give 0 or more")
        for name, highest in (("erasing_area", 1.0), ("erasing_aspect", float("inf"))):
            low, high = getattr(self, name)
            if not 0 < low <= high <= highest:
                raise InputError(
                    f"{name}={low, high} must be a low and a high bound above 0 and at most "
                    f"{highest}"
                )

    def __call__(self, images: Tensor, generator: torch.Generator) -> Tensor:
        """(B, 3, h, w) uint8 images, augmented: (B, 3, H, W) float32 in channels_last.

        ``generator`` is on the CPU; how far it advances depends on B alone.
        """
        return self.apply(images, self.draw(len(images), generator))

    def draw(self, count: int, generator: torch.Generator) -> AugmentationDraw:
        """Draw the augmentation of ``count`` images."""
        return AugmentationDraw(
            flip=torch.rand(count, generator=generator) < self.flip,
            crop=torch.randint(0, 2 * self.pad + 1, (count, 2), generator=generator),
            box=self._draw_boxes(count, generator),
        )

    def apply(self, images: Tensor, draw: AugmentationDraw) -> Tensor:
        """Apply a draw to (B, 3, h, w) uint8 images; returns as :meth:`__call__` does."""
        draw = draw.to(images.device)
        rows = self._flip_and_crop(resize(images, self.size), draw)
        normalised = _normalise(rows, self.mean, self.std)
        return _as_images(normalised.masked_fill_(self._erased(draw.box), 0))

    def _draw_boxes(self, count: int, generator: torch.Generator) -> Tensor:
        """(B, 4) boxes: the first attempt that fits, if one is drawn."""
        height, width = self.size
        # In float64 the product of a draw below 1 with a whole number stays below that number.
        chance, down, right = torch.rand(3, count, dtype=torch.float64, generator=generator)
        attempts = torch.rand(2, count, _ATTEMPTS, dtype=torch.float64, generator=generator)
        area = _between(self.erasing_area, attempts[0]) * height * width
        aspect = _between(self.erasing_aspect, attempts[1])
        heights = (area * aspect).sqrt().round().long()
        widths = (area / aspect).sqrt().round().long()
        fits = (heights <= height) & (widths <= width)
        chosen = fits.long().argmax(dim=1, keepdim=True)
        erase = (chance < self.erasing) & fits.any(dim=1)
        box_height = heights.gather(1, chosen).squeeze(1) * erase
        box_width = widths.gather(1, chosen).squeeze(1) * erase
        top = (down * (height - box_height + 1)).long()
        left = (right * (width - box_width + 1)).long()
        return torch.stack([top, left, box_height, box_width], dim=1)

    def _flip_and_crop(self, images: Tensor, draw: AugmentationDraw) -> Tensor:
        """(B, 3, H, W) uint8 images, flipped, padded and cropped, as (B, H, 3W) RGB rows."""
        count = len(images)
        height, width = self.size
        padding = (0, 0, *4 * (self.pad,))
        padded = F.pad(images.permute(0, 2, 3, 1), padding).contiguous()
        both = torch.cat([padded, padded.flip(2)])
        # A row of the crop is contiguous wherever it starts, and both orientations are in memory:
        # copying rows is many times faster than gathering pixels.
        rows = both.flatten().unfold(0, 3 * width, 3)
        image = torch.arange(count, device=images.device) + count * draw.flip
        first = image * both.shape[1] + draw.crop[:, 0]
        lines = first[:, None] + torch.arange(height, device=images.device)
        starts = lines * both.shape[2] + draw.crop[:, 1:]
        return rows.index_select(0, starts.flatten()).view(count, height, 3 * width)

    def _erased(self, box: Tensor) -> Tensor:
        """(B, H, 3W) bool: the values of the RGB rows that lie in the (B, 4) boxes."""
        height, width = self.size
        top, left, box_height, box_width = box.unsqueeze(2).unbind(1)
        lines = torch.arange(height, device=box.device)
        columns = torch.arange(width, device=box.device).repeat_interleave(3)
        crossed = (lines >= top) & (lines < top + box_height)
        inside = (columns >= left) & (columns < left + box_width)
        # Each row is a copy of its image's `inside`, or empty.
        table = torch.cat([torch.zeros_like(inside), inside])
        rows = torch.arange(len(box), device=box.device)[:, None] + len(box) * crossed
        return table.index_select(0, rows.flatten()).view(len(box), height, 3 * width)


def _between(bounds: tuple[float, float], uniform: Tensor) -> Tensor:
    low, high = bounds
    return low + (high - low) * uniform


def resize(images: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize (B, 3, h, w) uint8 images to (B, 3, *size) uint8, bilinear, smoothing if smaller."""
    if images.shape[2:] == size:
        return images
    if images.device.type == "cpu":
        return F.interpolate(images, size, mode="bilinear", antialias=True)
    # Only the CPU interpolates uint8.
    smooth = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
    return smooth.round_().to(torch.uint8)


def _normalise(rows: Tensor, mean: tuple[float, ...], std: tuple[float, ...]) -> Tensor:
    """(B, H, 3W) uint8 RGB rows as normalised float32."""
    scale, shift = _scale_and_shift(mean, std, rows.shape[2] // 3, rows.device)
    values = rows.float()
    return torch.addcmul(shift, values, scale, out=values)


@lru_cache
def _scale_and_shift(
    mean: tuple[float, ...], std: tuple[float, ...], width: int, device: torch.device
) -> tuple[Tensor, Tensor]:
    """Factors and offsets that normalise one RGB row of 3W pixel values 0 … 255."""
    scale = torch.tensor([1 / (255 * s) for s in std], device=device)
    shift = torch.tensor([-m / s for m, s in zip(mean, std, strict=True)], device=device)
    return scale.repeat(width), shift.repeat(width)


def _as_images(rows: Tensor) -> Tensor:
    """(B, H, 3W) RGB rows viewed as (B, 3, H, W), channels_last in memory."""
    return rows.unflatten(2, (-1, 3)).permute(0, 3, 1, 2)
