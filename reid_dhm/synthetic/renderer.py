"""Renders the images of a synthetic dataset: a person in front of a camera, cropped by a detector.

Every image has its own random generator, keyed by its content, so no image depends on which others
are made. :mod:`reid_dhm.synthetic.writer` chooses file names and splits.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.synthetic.cameras import Camera, draw_camera, photograph, render_scene
from reid_dhm.synthetic.people import Person, Pose, draw_person
from reid_dhm.synthetic.rendering import render_person

SIZE = (128, 64)
"""Height and width of every image, as in Market-1501."""

_SCENE_SIZE = (288, 768)

# First part of a generator's key, so that no two uses share a random stream.
_PERSON, _CAMERA, _VISIT, _PORTRAIT, _DISTRACTOR, _JUNK = range(6)


@dataclass(frozen=True, slots=True)
class Render:
    """A rendered image and the metadata of its file.

    Attributes:
        image: (128, 64, 3) uint8 RGB.
        camid: camera, from 1.
        frame: frame number in the camera's video.
        jpeg_quality: 0 … 100.
    """

    image: NDArray[np.uint8]
    camid: int
    frame: int
    jpeg_quality: int


class Renderer:
    """Renders the people and cameras of one seed.

    Args:
        seed: fixes every image.
        num_cameras: number of cameras.
    """

    def __init__(self, seed: int, num_cameras: int) -> None:
        self._seed = seed
        self.cameras = [
            draw_camera(self._rng(_CAMERA, camid)) for camid in range(1, num_cameras + 1)
        ]
        self._scenes = [render_scene(camera, _SCENE_SIZE) for camera in self.cameras]

    def person(self, pid: int) -> Person:
        """The person of a pid, the same in every set of this seed."""
        return draw_person(self._rng(_PERSON, pid))

    def portrait(self, pid: int, camid: int, index: int) -> Render:
        """Image ``index`` of a person in a camera."""
        visit = self._rng(_VISIT, pid, camid)
        heading = self.cameras[camid - 1].heading + np.pi * visit.integers(2)
        frame = int(visit.integers(1, 90_000)) + 25 * index
        rng = self._rng(_PORTRAIT, pid, camid, index)
        return self._render(rng, camid, frame, self.person(pid), _walking(rng, heading))

    def distractor(self, index: int) -> Render:
        """A distractor: another person (70 %), or a box of background."""
        rng = self._rng(_DISTRACTOR, index)
        camid = int(rng.integers(1, len(self.cameras) + 1))
        person = draw_person(rng) if rng.random() < 0.7 else None
        heading = self.cameras[camid - 1].heading + np.pi * rng.integers(2)
        return self._render(rng, camid, index + 1, person, _walking(rng, heading))

    def junk(self, pid: int, index: int) -> Render:
        """A person in a badly placed box, which an evaluation ignores."""
        rng = self._rng(_JUNK, index)
        camid = int(rng.integers(1, len(self.cameras) + 1))
        pose = Pose(
            yaw=float(rng.uniform(-np.pi, np.pi)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            scale=float(rng.uniform(1.2, 2.2)),
            shift=(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.8, 0.8))),
        )
        return self._render(rng, camid, index + 1, self.person(pid), pose)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))

    def _render(
        self, rng: np.random.Generator, camid: int, frame: int, person: Person | None, pose: Pose
    ) -> Render:
        camera = self.cameras[camid - 1]
        image = _background(self._scenes[camid - 1], rng)
        if person is not None:
            other = _passer_by(rng, pose) if rng.random() < 0.25 else None
            in_front = rng.random() < 0.3
            if other and not in_front:
                _paste(image, draw_person(rng), camera, other)
            _paste(image, person, camera, pose)
            if other and in_front:
                _paste(image, draw_person(rng), camera, other)
            if rng.random() < 0.2:
                _obstruct(image, rng)
        recorded = photograph(camera, np.rint(image).astype(np.uint8), rng)
        return Render(recorded, camid, frame, camera.jpeg_quality)


def _walking(rng: np.random.Generator, heading: float) -> Pose:
    """A walking person in a detector's box with small errors."""
    return Pose(
        yaw=float(heading + rng.normal(0, 0.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.12, 0.5)) if rng.random() < 0.85 else 0.03,
        scale=float(rng.uniform(0.88, 1.06)),
        shift=(float(rng.normal(0, 0.022)), float(rng.normal(0, 0.022))),
    )


def _passer_by(rng: np.random.Generator, pose: Pose) -> Pose:
    """A second person at the edge of the box."""
    side = rng.choice([-1, 1])
    return Pose(
        yaw=float(pose.yaw + np.pi * rng.integers(2)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        scale=pose.scale * float(rng.uniform(0.85, 1.1)),
        shift=(pose.shift[0] + side * float(rng.uniform(0.17, 0.3)), float(rng.normal(0, 0.05))),
    )


def _background(scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """A person-sized box of the scene, resized to the size of the images."""
    tall = int(len(scene) * rng.uniform(0.5, 0.75))
    wide = tall * SIZE[1] // SIZE[0]
    top = int(rng.uniform(0.7, 1) * (len(scene) - tall))
    left = int(rng.uniform(0, 1) * (scene.shape[1] - wide))
    box = scene[top : top + tall, left : left + wide]
    return cv2.resize(box, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)


def _paste(image: NDArray[np.float32], person: Person, camera: Camera, pose: Pose) -> None:
    """Paste a person with a shadow at the feet, in place."""
    height, width = SIZE
    feet = height * (0.5 + pose.scale / 2 + pose.shift[1])
    middle = width / 2 + height * (pose.shift[0] - 0.08 * camera.light)
    down = (np.arange(height, dtype=np.float32)[:, None] - feet) / (0.035 * height)
    across = (np.arange(width, dtype=np.float32)[None, :] - middle) / (0.14 * height)
    image *= 1 - 0.45 * np.exp(-(down**2 + across**2))[..., None]
    figure, mask = render_person(person, camera, pose, SIZE)
    image += mask[..., None] * (figure - image)


def _obstruct(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Paste a post, a box or a bush in front of the person, in place."""
    height, width = SIZE
    colour = rng.uniform(40, 190) + rng.normal(0, 15, 3)
    match rng.integers(3):
        case 0:
            left = int(rng.uniform(0.1, 0.8) * width)
            thick = int(rng.uniform(0.05, 0.16) * width)
            image[:, left : left + thick] = colour
            image[:, left : left + max(1, thick // 3)] *= 0.8
        case 1:
            top = int(rng.uniform(0.55, 0.85) * height)
            left, right = sorted(rng.uniform(-0.2, 1.2, 2))
            box = image[top:, max(0, int(left * width)) : max(0, int(right * width))]
            box[:] = colour
            box[:4] *= 1.15
        case _:
            centre = (int(rng.uniform(0, 1) * width), int(rng.uniform(0.85, 1.05) * height))
            leaves = np.zeros(SIZE, np.float32)
            for _ in range(14):
                spot = np.add(centre, rng.normal(0, 9, 2)).astype(int)
                cv2.circle(
                    leaves, spot.tolist(), int(rng.integers(4, 10)), float(rng.uniform(0.6, 1)), -1
                )
            bush = np.array([62, 92, 46], np.float32) * leaves[..., None]
            np.copyto(image, bush, where=leaves[..., None] > 0)
