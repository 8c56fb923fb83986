"""Paints the background of a camera: a wall or hedge, street furniture, and the ground."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def paint_scenery(rng: np.random.Generator, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Paint a street; equal generators give equal streets.

    Args:
        rng: draws every part of it.
        size: (height, width) in pixels.

    Returns:
        (H, W, 3) uint8 RGB.
    """
    height, width = size
    horizon = int(height * rng.uniform(0.3, 0.45))
    scene = np.empty((height, width, 3), np.float32)
    scene[:horizon] = _WALLS[rng.integers(len(_WALLS))](rng, horizon, width)
    scene[horizon:] = _GROUNDS[rng.integers(len(_GROUNDS))](rng, height - horizon, width)
    for _ in range(int(rng.integers(3, 8))):
        _furnish(scene, rng, horizon)
    scene *= 1 + 0.06 * _clouds(rng, height, width, 6)[..., None]
    scene *= 1 + 0.05 * _clouds(rng, height, width, 48)[..., None]
    return np.clip(scene, 0, 255).astype(np.uint8)


_PAINTS = np.array(
    [
        (150, 72, 54),
        (176, 160, 136),
        (112, 118, 124),
        (198, 194, 186),
        (74, 92, 116),
        (120, 100, 78),
    ],
    np.float32,
)
_GREEN = np.array([82, 108, 60], np.float32)
_WARM_GREY = np.array([1, 0.98, 0.94], np.float32)


def _clouds(rng: np.random.Generator, height: int, width: int, cells: int) -> NDArray[np.float32]:
    """Smooth noise of mean 0 and standard deviation about 0.5, with ``cells`` blobs per height."""
    grid = rng.standard_normal((cells + 2, max(2, cells * width // height) + 2), np.float32)
    smooth = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC)
    return smooth.astype(np.float32, copy=False)


def _tinted(rng: np.random.Generator, spread: float = 14) -> NDArray[np.float32]:
    """One of the paints, with noise."""
    paint = _PAINTS[rng.integers(len(_PAINTS))] + rng.normal(0, spread, 3)
    return np.clip(paint, 20, 235).astype(np.float32)


def _flat(height: int, width: int, colour: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.full((height, width, 3), colour, np.float32)


def _bricks(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Rows of bricks in different tones."""
    wall = _flat(height, width, _tinted(rng))
    course = max(4, height // int(rng.integers(10, 18)))
    rows = np.arange(height)[:, None] // course
    columns = (np.arange(width)[None, :] + (rows % 2) * course) // (2 * course)
    tones = rng.normal(1, 0.07, (rows.max() + 1, columns.max() + 1)).astype(np.float32)
    wall *= tones[rows, columns][..., None]
    wall[np.arange(height) % course == 0] *= 0.75
    return wall


def _facade(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """A wall with dark windows."""
    wall = _flat(height, width, _tinted(rng))
    glass = np.float32(rng.uniform(25, 80) + rng.uniform(0, 15, 3))
    pitch = int(height * rng.uniform(0.5, 1.0))
    gap = max(2, int(pitch * rng.uniform(0.1, 0.3)))
    for left in range(0, width, pitch):
        wall[height // 6 : height * 9 // 10, left + gap : left + pitch] = glass * rng.uniform(
            0.6, 1.5
        )
    return wall


def _hedge(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    leaves = 1 + 0.22 * _clouds(rng, height, width, 10) + 0.14 * _clouds(rng, height, width, 40)
    return _GREEN * np.float32(rng.uniform(0.6, 0.9)) * np.maximum(leaves, 0.15)[..., None]


def _colonnade(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Pillars in front of a dark passage."""
    wall = _flat(height, width, _WARM_GREY * np.float32(rng.uniform(22, 60)))
    stone = _tinted(rng, 6)
    pitch = int(height * rng.uniform(0.5, 1.2))
    thick = max(3, int(pitch * rng.uniform(0.2, 0.4)))
    for left in range(int(rng.integers(pitch)), width, pitch):
        wall[:, left : left + thick] = stone
        wall[:, left : left + thick // 4] *= 0.8
    wall[: height // 5] = stone * 0.9
    return wall


def _tiles(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Paving in perspective."""
    distance = 1 / np.linspace(0.25, 1, height, dtype=np.float32)[:, None]
    across = (np.arange(width, dtype=np.float32)[None, :] - width / 2) * distance
    rows = np.floor(distance * rng.uniform(5, 12)).astype(int)
    columns = np.floor(across / (height / rng.uniform(3, 7))).astype(int)
    tones = rng.normal(1, rng.uniform(0.02, 0.08), (64, 64)).astype(np.float32)
    stone = _WARM_GREY * np.float32(rng.uniform(125, 155))
    ground = stone * tones[rows % 64, columns % 64][..., None]
    joints = (np.diff(rows, axis=0, prepend=0) != 0) | (np.diff(columns, axis=1, prepend=0) != 0)
    ground[joints] *= 0.8
    return ground


def _asphalt(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Asphalt, sometimes with a painted line."""
    grain = 1 + 0.06 * rng.standard_normal((height, width, 1), np.float32)
    ground = np.array([1, 1, 1.03], np.float32) * np.float32(rng.uniform(110, 140)) * grain
    if rng.random() < 0.6:
        row = int(height * rng.uniform(0.2, 0.8))
        ground[row : row + max(2, height // 16)] = 205
    return ground


def _lawn(rng: np.random.Generator, height: int, width: int) -> NDArray[np.float32]:
    """Grass behind a path."""
    blades = 1 + 0.08 * _clouds(rng, height, width, 40)[..., None]
    ground = _GREEN * np.float32(rng.uniform(0.9, 1.3)) * blades
    path = int(height * rng.uniform(0.15, 0.3))
    ground[path:] = _WARM_GREY * np.float32(rng.uniform(130, 155))
    return ground


_WALLS = (_bricks, _facade, _colonnade, _hedge)
_GROUNDS = (_tiles, _asphalt, _lawn)


def _furnish(scene: NDArray[np.float32], rng: np.random.Generator, horizon: int) -> None:
    """Paint a post, a door or a box in front of the wall, in place."""
    height, width = scene.shape[:2]
    colour = np.float32(rng.uniform(0.35, 1.2)) * _tinted(rng, 6)
    foot = horizon + int(height * rng.uniform(0.0, 0.12))
    wide, tall = [(0.03, 0.45), (0.16, 0.33), (0.2, 0.14)][rng.integers(3)]
    left = int(rng.uniform(0, width))
    top = max(0, foot - int(height * tall * rng.uniform(0.8, 1.2)))
    right = left + max(2, int(height * wide * rng.uniform(0.7, 1.3)))
    scene[top:foot, left:right] = colour
    scene[top:foot, left : left + max(1, (right - left) // 6)] *= 0.75
