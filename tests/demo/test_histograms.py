"""Colour histograms against NumPy's own and against the definition."""

from __future__ import annotations

import numpy as np

from reid_dhm.demo.histograms import colour_histogram


def test_agrees_with_numpy_histogramdd() -> None:
    images = np.random.default_rng(0).integers(0, 256, (3, 16, 8, 3), np.uint8)
    expected = [
        np.histogramdd(image.reshape(-1, 3), bins=8, range=[(0, 256)] * 3)[0].ravel() / (16 * 8)
        for image in images
    ]
    rows = colour_histogram(images)
    assert rows.dtype == np.float32
    np.testing.assert_allclose(rows, np.sqrt(expected), atol=1e-6)


def test_inner_product_is_the_bhattacharyya_coefficient() -> None:
    black, white = np.zeros((2, 2, 3), np.uint8), np.full((2, 2, 3), 255, np.uint8)
    half = np.concatenate([black[:1], white[:1]])
    rows = colour_histogram(np.stack([black, white, half]))
    np.testing.assert_allclose(
        rows @ rows.T, [[1, 0, 0.5**0.5], [0, 1, 0.5**0.5], [0.5**0.5, 0.5**0.5, 1]], atol=1e-6
    )


def test_no_images_give_no_rows() -> None:
    assert colour_histogram(np.empty((0, 128, 64, 3), np.uint8), bins=4).shape == (0, 64)
