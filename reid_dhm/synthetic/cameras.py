"""Synthetic cameras: viewpoint, scene, lens and sensor.

A camera's scene is one large still image. Other modules paste people into it, and
:func:`photograph` then applies the camera's lens and sensor.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.scenery import paint_scenery


@dataclass(frozen=True, slots=True)
class Camera:
    """The properties of a camera that are the same in all its images.

    Attributes:
        tilt: angle in radians by which it looks down.
        shear: sideways lean of vertical lines, to the right per unit of height.
        heading: yaw in radians of people who walk towards it (0 is straight towards it).
        light: direction of the light, -1 (left) to 1 (right).
        exposure: gain on linear light.
        white_balance: gains on red, green and blue.
        gamma: exponent on intensity; above 1 darkens the mid-tones.
        saturation: 1 keeps colours, 0 is greyscale.
        haze: share of uniform grey light added, 0 to 1.
        blur: standard deviation of the lens blur, as a fraction of the image height.
        noise: standard deviation of the sensor noise, in grey levels of 255.
        jpeg_quality: of the stored images, 0 to 100.
        scene_seed: fixes the scene.
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
    """The empty scene of a camera, (H, W, 3) uint8 RGB, without its lens and sensor."""
    return paint_scenery(np.random.default_rng(camera.scene_seed), size)


def photograph(
    camera: Camera, image: NDArray[np.uint8], rng: np.random.Generator
) -> NDArray[np.uint8]:
    """Apply a camera's exposure, colour cast, haze, blur and noise to an image.

    Args:
        camera: the camera.
        image: (H, W, 3) uint8 RGB.
        rng: draws the noise and small changes of exposure and white balance.

    Returns:
        (H, W, 3) uint8 RGB, without JPEG compression.
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
