"""Puts made-up people before made-up cameras: one call makes one image as a detector cuts it.

Every image has a random generator of its own, keyed by what it shows, so that none depends on
which others are made. File names and splits are left to ``synthetic``.
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
"""Height and width of every image, Market-1501's own."""

_SCENE_SIZE = (288, 768)

# What a generator is for comes first in its key, so that no two uses share a stream.
_PERSON, _CAMERA, _VISIT, _PORTRAIT, _STRANGER, _JUNK = range(6)


@dataclass(frozen=True, slots=True)
class Shot:
    """One image with what its file needs to be told.

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


class Studio:
    """The people and cameras of one seed."""

    def __init__(self, seed: int, num_cameras: int) -> None:
        self._seed = seed
        self.cameras = [
            draw_camera(self._rng(_CAMERA, camid)) for camid in range(1, num_cameras + 1)
        ]
        self._scenes = [render_scene(camera, _SCENE_SIZE) for camera in self.cameras]

    def person(self, pid: int) -> Person:
        """The person of a pid, the same in every set of this seed."""
        return draw_person(self._rng(_PERSON, pid))

    def portrait(self, pid: int, camid: int, index: int) -> Shot:
        """Image ``index`` of a person's one passage before a camera."""
        visit = self._rng(_VISIT, pid, camid)
        heading = self.cameras[camid - 1].heading + np.pi * visit.integers(2)
        frame = int(visit.integers(1, 90_000)) + 25 * index
        rng = self._rng(_PORTRAIT, pid, camid, index)
        return self._shoot(rng, camid, frame, self.person(pid), _walking(rng, heading))

    def stranger(self, index: int) -> Shot:
        """A distractor: mostly a passer-by who is nobody's match, else a box with nobody in it."""
        rng = self._rng(_STRANGER, index)
        camid = int(rng.integers(1, len(self.cameras) + 1))
        person = draw_person(rng) if rng.random() < 0.7 else None
        heading = self.cameras[camid - 1].heading + np.pi * rng.integers(2)
        return self._shoot(rng, camid, index + 1, person, _walking(rng, heading))

    def junk(self, pid: int, index: int) -> Shot:
        """A person in a box so bad that it counts as neither right nor wrong."""
        rng = self._rng(_JUNK, index)
        camid = int(rng.integers(1, len(self.cameras) + 1))
        pose = Pose(
            yaw=float(rng.uniform(-np.pi, np.pi)),
            phase=float(rng.uniform(0, 2 * np.pi)),
            scale=float(rng.uniform(1.2, 2.2)),
            shift=(float(rng.uniform(-0.2, 0.2)), float(rng.uniform(-0.8, 0.8))),
        )
        return self._shoot(rng, camid, index + 1, self.person(pid), pose)

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng(np.random.SeedSequence(self._seed, spawn_key=key))

    def _shoot(
        self, rng: np.random.Generator, camid: int, frame: int, person: Person | None, pose: Pose
    ) -> Shot:
        camera = self.cameras[camid - 1]
        image = _stand(self._scenes[camid - 1], rng)
        if person is not None:
            beside = _beside(rng, pose) if rng.random() < 0.25 else None
            in_front = rng.random() < 0.3
            if beside and not in_front:
                _paste(image, draw_person(rng), camera, beside)
            _paste(image, person, camera, pose)
            if beside and in_front:
                _paste(image, draw_person(rng), camera, beside)
            if rng.random() < 0.2:
                _obstruct(image, rng)
        recorded = photograph(camera, np.rint(image).astype(np.uint8), rng)
        return Shot(recorded, camid, frame, camera.jpeg_quality)


def _walking(rng: np.random.Generator, heading: float) -> Pose:
    """Someone on the way in a direction, in a detector's box that is a little off."""
    return Pose(
        yaw=float(heading + rng.normal(0, 0.3)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        stride=float(rng.uniform(0.12, 0.5)) if rng.random() < 0.85 else 0.03,
        scale=float(rng.uniform(0.88, 1.06)),
        shift=(float(rng.normal(0, 0.022)), float(rng.normal(0, 0.022))),
    )


def _beside(rng: np.random.Generator, pose: Pose) -> Pose:
    """Someone who passes at the edge of another's box."""
    side = rng.choice([-1, 1])
    return Pose(
        yaw=float(pose.yaw + np.pi * rng.integers(2)),
        phase=float(rng.uniform(0, 2 * np.pi)),
        scale=pose.scale * float(rng.uniform(0.85, 1.1)),
        shift=(pose.shift[0] + side * float(rng.uniform(0.17, 0.3)), float(rng.normal(0, 0.05))),
    )


def _stand(scene: NDArray[np.uint8], rng: np.random.Generator) -> NDArray[np.float32]:
    """A box somewhere in the scene, as large as a person there, at the size of the images."""
    tall = int(len(scene) * rng.uniform(0.5, 0.75))
    wide = tall * SIZE[1] // SIZE[0]
    top = int(rng.uniform(0.7, 1) * (len(scene) - tall))
    left = int(rng.uniform(0, 1) * (scene.shape[1] - wide))
    box = scene[top : top + tall, left : left + wide]
    return cv2.resize(box, SIZE[::-1], interpolation=cv2.INTER_AREA).astype(np.float32)


def _paste(image: NDArray[np.float32], person: Person, camera: Camera, pose: Pose) -> None:
    """Stand a person in the image, with a shadow at the feet, in place."""
    height, width = SIZE
    feet = height * (0.5 + pose.scale / 2 + pose.shift[1])
    middle = width / 2 + height * (pose.shift[0] - 0.08 * camera.light)
    down = (np.arange(height, dtype=np.float32)[:, None] - feet) / (0.035 * height)
    across = (np.arange(width, dtype=np.float32)[None, :] - middle) / (0.14 * height)
    image *= 1 - 0.45 * np.exp(-(down**2 + across**2))[..., None]
    figure, mask = render_person(person, camera, pose, SIZE)
    image += mask[..., None] * (figure - image)


def _obstruct(image: NDArray[np.float32], rng: np.random.Generator) -> None:
    """Put a post, a box or a bush before the person, in place."""
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
