"""Images are enlarged to the same pixels with and without PyTorch."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch

from reid_dhm.data.augmentation import resize
from reid_dhm.inference.enlarging import Enlarger, enlarge


@pytest.mark.parametrize("seed", range(20))
def test_numpy_enlarges_bit_for_bit_as_pytorch_does(seed):
    random = np.random.default_rng(seed)
    for _ in range(10):
        size = tuple(int(side) for side in random.integers(1, 300, 2))
        shape = (int(random.integers(1, size[0] + 1)), int(random.integers(1, size[1] + 1)), 3)
        image = random.integers(0, 256, shape, np.uint8)
        expected = resize(torch.from_numpy(image).permute(2, 0, 1)[None], size)[0].permute(1, 2, 0)
        np.testing.assert_array_equal(enlarge(image, size), expected.numpy())


def test_images_of_several_shapes_keep_their_order():
    random = np.random.default_rng(0)
    shapes = [(64, 32), (20, 10), (64, 32), (30, 32), (20, 10)]
    images = [random.integers(0, 256, (*shape, 3), np.uint8) for shape in shapes]
    found = Enlarger((64, 32))(images)
    for image, row in zip(images, found, strict=True):
        np.testing.assert_array_equal(row, enlarge(image, (64, 32)))


def test_pytorch_is_loaded_once_it_pays():
    code = """
import sys
import numpy as np
from reid_dhm.inference.enlarging import Enlarger

enlarger = Enlarger((4, 4))
images = [np.full((2, 2, 3), value % 256, np.uint8) for value in range(4097)]
first = enlarger(images)
before = "torch" in sys.modules
second = enlarger(images)
print(before, "torch" in sys.modules, np.array_equal(first, second))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.split() == ["False", "True", "True"], done.stderr
