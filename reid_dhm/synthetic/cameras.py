"""Made-up cameras: where one hangs, what stands before it, and what its lens and sensor do.

A camera's scene is one large still image; people are pasted into it by whoever renders them,
and :func:`photograph` then gives the result the camera's look.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.scenery import paint_scenery


@dataclass(frozen=True, slots=True)
class Camera:
    """Everything about a camera that stays the same from image to image.

    Attributes:
        tilt: angle in radians by which it looks down.
        shear: sideways lean of upright things, rightwards per unit of height.
        heading: yaw in radians of people who walk towards it (0 is straight at it).
        light: side of the light, -1 (left) … 1 (right).
        exposure: gain on linear light.
        white_balance: gains on red, green and blue.
        gamma: exponent on intensity; above 1 is darker in the mid-tones.
        saturation: 1 leaves colours as they are, 0 is grey.
        haze: share of flat grey light over the image, 0 … 1.
        blur: standard deviation of the lens blur, as a fraction of the image height.
        noise: standard deviation of the sensor noise, in grey levels of 255.
        jpeg_quality: of the stored images, 0 … 100.
        scene_seed: fixes what stands before it.
    """

    tilt: float
    shear: float
    heading: float
    light: float
    exposure: float
    white_balance: tuple[float, float, float]
    gamma: float
    saturation: float
    haze: float
    blur: float
    noise: float
    jpeg_quality: int
    scene_seed: int


def draw_camera(rng: np.random.Generator) -> Camera:
    """Draw a camera; equal generators give equal cameras."""
    warmth, tint = rng.uniform(-0.07, 0.07), rng.uniform(-0.02, 0.02)
    return Camera(
        tilt=float(rng.uniform(0.03, 0.32)),
        shear=float(rng.uniform(-0.08, 0.08)),
        heading=float(rng.uniform(-1.3, 1.3)),
        light=float(rng.uniform(-1, 1)),
        exposure=float(np.exp(rng.uniform(-0.15, 0.1))),
        white_balance=(float(1 + warmth), float(1 - tint), float(1 - warmth)),
        gamma=float(np.exp(rng.uniform(-0.1, 0.15))),
        saturation=float(rng.uniform(0.8, 1.1)),
        haze=float(rng.uniform(0, 0.1)),
        blur=float(rng.uniform(0.002, 0.007)),
        noise=float(rng.uniform(1, 5)),
        jpeg_quality=int(rng.integers(55, 95)),
        scene_seed=int(rng.integers(2**31)),
    )


def render_scene(camera: Camera, size: tuple[int, int]) -> NDArray[np.uint8]:
    """The empty scene before a camera, (H, W, 3) uint8 RGB, before its optics and sensor."""
    return paint_scenery(np.random.default_rng(camera.scene_seed), size)


def photograph(
    camera: Camera, image: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """What the camera records of an image: light, colour cast, haze, blur and noise.

    Args:
        camera: whose look.
        image: (H, W, 3) uint8 RGB as the eye would see it.
        rng: draws the noise and the small drift of exposure and white balance.

    Returns:
        (H, W, 3) uint8 RGB. JPEG compression is left to whoever writes the file.
    """
    drift = np.exp(rng.normal(0, 0.05)) * np.exp(rng.normal(0, 0.015, 3))
    gains = np.float32(camera.exposure * np.array(camera.white_balance) * drift)
    light = np.power(image / np.float32(255), np.float32(camera.gamma)) * gains
    grey = light.mean(axis=2, keepdims=True)
    light = grey + camera.saturation * (light - grey)
    light = light * (1 - camera.haze) + 0.6 * camera.haze
    light = cv2.GaussianBlur(light, (0, 0), max(camera.blur * len(image), 0.1))
    noise = rng.standard_normal(light.shape, np.float32) * np.float32(camera.noise)
    return np.clip(np.rint(light * 255 + noise), 0, 255).astype(np.uint8)
