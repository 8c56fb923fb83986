"""Renders a synthetic person at any size, heading and walking phase, with a mask for pasting.

A body is a list of parts, each a solid of revolution between two joints, with a surface that gives
a colour for every angle and height. Parts are painted from far to near with analytic anti-aliasing,
so the cost follows the size of the image.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.bodies import Part, Point, body
from reid_dhm.synthetic.cameras import Camera
from reid_dhm.synthetic.people import Person, Pose
from reid_dhm.synthetic.surfaces import Floats, soft


def render_person(
    person: Person, camera: Camera, pose: Pose, size: tuple[int, int]
) -> tuple[NDArray[np.uint8], Floats]:
    """Render a person without background, from the viewpoint and in the light of a camera.

    Lens and sensor act on a whole image: see :func:`.photograph`.

    Args:
        person: the person.
        camera: its tilt, shear and light are used.
        pose: heading, walking phase, scale and position.
        size: (height, width) of the image in pixels.

    Returns:
        The image, (H, W, 3) uint8 RGB, and its mask, (H, W) float32 coverage from 0 to 1. Paste
        with ``background * (1 - mask) + image * mask``.
    """
    view = _View(camera, pose, size)
    paint = np.zeros((*size, 4), np.float32)  # colour times coverage, and coverage
    for part in sorted(body(person, pose), key=view.nearness):
        _paint(paint, part, view)
    mask = paint[..., 3]
    image = paint[..., :3] / np.maximum(mask, 1e-6)[..., None]
    return np.clip(np.rint(image), 0, 255).astype(np.uint8), mask.copy()


class _View:
    """Orthographic projection of body coordinates onto the image."""

    def __init__(self, camera: Camera, pose: Pose, size: tuple[int, int]) -> None:
        height, width = size
        self.pixels = pose.scale * height
        self.yaw = pose.yaw
        self.light = camera.light
        self._cos, self._sin = math.cos(pose.yaw), math.sin(pose.yaw)
        self._down, self._level = math.sin(camera.tilt), math.cos(camera.tilt)
        self._shear = camera.shear
        self._centre = (width / 2 + pose.shift[0] * height, height / 2 + pose.shift[1] * height)

    def project(self, point: Point) -> tuple[float, float]:
        """Column and row of a point, in pixels."""
        x, y, z = point.tolist()
        near = z * self._cos - x * self._sin
        right = x * self._cos + z * self._sin + self._shear * (y - 0.5)
        up = (y - 0.5) * self._level - near * self._down
        return self._centre[0] + self.pixels * right, self._centre[1] - self.pixels * up

    def nearness(self, part: Part) -> float:
        """Depth of the middle of a part, in body heights; higher is nearer to the camera."""
        x, _, z = (part.start + part.end) / 2
        return float(z * self._cos - x * self._sin + part.lift)

    def apparent_width(self, flat: float) -> float:
        """Apparent width of an ellipse 1 wide and ``flat`` deep."""
        return math.hypot(self._cos, flat * self._sin)


def _paint(paint: Floats, part: Part, view: _View) -> None:
    """Paint a part over the others, in place."""
    (left, top), (right, bottom) = view.project(part.start), view.project(part.end)
    girth = view.pixels * view.apparent_width(part.flat)
    reach = max(part.radii) * girth + 1
    height, width = paint.shape[:2]
    x0, x1 = max(0, int(min(left, right) - reach)), min(width, int(max(left, right) + reach + 2))
    y0, y1 = max(0, int(min(top, bottom) - reach)), min(height, int(max(top, bottom) + reach + 2))
    if x0 >= x1 or y0 >= y1:
        return

    # Pixel centres relative to the axis: along it, and across it (positive to the right of a part
    # that points down).
    length = max(math.hypot(right - left, bottom - top), 1e-3)
    axis_x, axis_y = (right - left) / length, (bottom - top) / length
    dx = np.arange(x0, x1, dtype=np.float32)[None, :] + (0.5 - left)
    dy = np.arange(y0, y1, dtype=np.float32)[:, None] + (0.5 - top)
    along = dx * axis_x + dy * axis_y
    across = dx * axis_y - dy * axis_x
    inside = np.minimum(np.maximum(along, 0), length)
    radius = _profile(part.radii, inside / length) * girth
    if part.rounded:
        distance = np.hypot(across, along - inside) - radius
    else:
        distance = np.maximum(np.abs(across) - radius, np.abs(along - length / 2) - length / 2)
    cover = soft(-distance)[..., None]

    side = np.minimum(np.maximum(across / np.maximum(radius, 0.5), -1), 1)
    shade = 0.62 + 0.32 * np.sqrt(1 - side * side) + 0.14 * view.light * side
    colour = part.surface(np.arcsin(side) - view.yaw, inside / view.pixels) * shade[..., None]
    patch = paint[y0:y1, x0:x1]
    patch *= 1 - cover
    patch[..., :3] += colour * cover
    patch[..., 3:] += cover


def _profile(radii: tuple[float, ...], share: Floats) -> Floats:
    """Radius at each position (0 to 1) on the axis, linear between evenly spaced values."""
    if len(radii) == 2:  # most parts; faster than np.interp
        return radii[0] + (radii[1] - radii[0]) * share
    return np.interp(share, np.linspace(0, 1, len(radii)), radii).astype(np.float32)
