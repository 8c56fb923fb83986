"""Synthetic video with ground truth: people walk through the views of several cameras."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from reid_dhm.errors import StorageError
from reid_dhm.synthetic.cameras import Camera, draw_camera, photograph, render_scene
from reid_dhm.synthetic.people import Person, Pose, draw_person
from reid_dhm.synthetic.rendering import render_person

_PERSON, _CAMERA, _WALK, _NOISE = 100, 101, 102, 103  # distinct from the renderer's keys
_ROOM = 1.12  # height of the rendered image of a person, over the body height
_BREADTH = 0.9  # width of that image over its height
_PACE = 0.75  # body heights per second
_CYCLE = 1.5  # body heights per walking cycle
_SEEN = 0.6  # visible share of a body, below which it has no box
_NOISE_LEVEL = 2.0  # grey levels, standard deviation
_MEAN_HEIGHT = 1.71  # metres


@dataclass(frozen=True, slots=True)
class Walk:
    """The straight path of one person through the view of one camera.

    Attributes:
        pid: person.
        camid: camera, from 1.
        begin: seconds from the start of the clip to the first step.
        rightwards: direction; False walks to the left.
        feet: vertical position of the feet at the start and at the end, 0 (top) to 1.
    """

    pid: int
    camid: int
    begin: float
    rightwards: bool
    feet: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Clip:
    """The video of one camera, with its ground truth.

    Attributes:
        path: the video (Motion JPEG).
        truth: MOTChallenge's ``gt.txt``: frame from 1, pid, left, top, width, height, 1, 1, 1.
        camid: camera, from 1.
        frames: (N,) frame of each box, from 0, ascending.
        pids: (N,) person of each box.
        boxes: (N, 4) x1, y1, x2, y2 of the part of the body inside the frame, ignoring occlusion.
    """

    path: Path
    truth: Path
    camid: int
    frames: NDArray[np.int64]
    pids: NDArray[np.int64]
    boxes: NDArray[np.float64]

    def pid_of(self, frames: NDArray[np.integer], boxes: NDArray[np.floating]) -> int:
        """The person whom most of some boxes show.

        Args:
            frames: (N,) frame of each box.
            boxes: (N, 4) x1, y1, x2, y2.

        Returns:
            The pid with the most true boxes of IoU 0.5 or more; 0 where there is none.
        """
        row, own = np.nonzero(frames[:, None] == self.frames)
        a, b = np.asarray(boxes, np.float64)[row], self.boxes[own]
        sides = np.minimum(a[:, 2:], b[:, 2:]) - np.maximum(a[:, :2], b[:, :2])
        shared = np.maximum(sides, 0).prod(axis=1)
        union = (a[:, 2:] - a[:, :2]).prod(axis=1) + (b[:, 2:] - b[:, :2]).prod(axis=1) - shared
        votes = np.bincount(self.pids[own[shared >= 0.5 * union]], minlength=1)
        return int(votes.argmax())


def write_clips(
    folder: Path,
    *,
    num_people: int = 4,
    num_cameras: int = 2,
    pause: float = 3.0,
    fps: float = 10.0,
    size: tuple[int, int] = (240, 426),
    seed: int = 0,
    walks: Mapping[int, Sequence[Walk]] | None = None,
) -> list[Clip]:
    """Write one clip per camera, in which every person walks through the view once.

    Args:
        folder: receives ``camera1.avi``, ``camera1.gt.txt`` and so on; existing files of these
            names are replaced.
        num_people: number of people; their pids are 1, 2, 3 …
        num_cameras: 1 or more; each has its own scene, viewpoint and colours.
        pause: mean seconds between the first steps of two people.
        fps: frames per second.
        size: (height, width) of the frames in pixels.
        seed: fixes every byte, for one version of NumPy and OpenCV.
        walks: every camera's walks instead, by camid; see :mod:`.routes`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    people = {pid: draw_person(_rng(seed, _PERSON, pid)) for pid in range(1, num_people + 1)}
    clips = []
    for camid in range(1, num_cameras + 1):
        # No shear: the scene is not sheared, so leaning bodies would look wrong in it.
        camera = replace(draw_camera(_rng(seed, _CAMERA, camid)), shear=0.0)
        drawn = _draw_walks(_rng(seed, _WALK, camid), list(people), camid, pause)
        own = drawn if walks is None else list(walks[camid])
        clips.append(_write_clip(folder, camera, people, own, fps, size, _rng(seed, _NOISE, camid)))
    return clips


def _rng(seed: int, *key: int) -> np.random.Generator:
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=key))


def _draw_walks(rng: np.random.Generator, pids: list[int], camid: int, pause: float) -> list[Walk]:
    """The path of every person, in another order for every camera."""
    begins = 1 + np.cumsum(rng.uniform(0.5, 1.5, len(pids)) * pause)
    return [
        Walk(
            pid=pid,
            camid=camid,
            begin=float(begin),
            rightwards=bool(rng.random() < 0.5),
            feet=(float(rng.uniform(0.72, 0.96)), float(rng.uniform(0.72, 0.96))),
        )
        for pid, begin in zip(rng.permutation(pids).tolist(), begins, strict=True)
    ]


def _write_clip(
    folder: Path,
    camera: Camera,
    people: dict[int, Person],
    walks: list[Walk],
    fps: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Clip:
    camid = walks[0].camid
    path, truth = folder / f"camera{camid}.avi", folder / f"camera{camid}.gt.txt"
    partial = path.with_suffix(".partial.avi")
    codec = cv2.VideoWriter.fourcc(*"MJPG")
    video = cv2.VideoWriter(str(partial), codec, fps, (size[1], size[0]))
    if not video.isOpened():
        raise StorageError(
            f"{path} cannot be written as Motion JPEG: the folder is read-only, or OpenCV has no "
            "encoder for it"
        )
    rows: list[tuple[int, int, NDArray[np.float64]]] = []
    for number, (image, boxes) in enumerate(_frames(camera, people, walks, fps, size, rng)):
        video.write(cv2.cvtColor(image, cv2.COLOR_RGB2BGR))
        rows += [(number, pid, box) for pid, box in boxes.items()]
    video.release()
    partial.replace(path)
    frames = np.array([frame for frame, _, _ in rows], np.int64)
    pids = np.array([pid for _, pid, _ in rows], np.int64)
    corners = np.array([box for _, _, box in rows], np.float64).reshape(-1, 4)
    _write_truth(truth, frames, pids, corners)
    return Clip(path, truth, camid, frames, pids, corners)


def _frames(
    camera: Camera,
    people: dict[int, Person],
    walks: list[Walk],
    fps: float,
    size: tuple[int, int],
    rng: np.random.Generator,
) -> Iterator[tuple[NDArray[np.uint8], dict[int, NDArray[np.float64]]]]:
    """Recorded frames, each with its boxes by pid, until half a second after the last person."""
    scene = render_scene(camera, size)
    look = int(rng.integers(2**31))
    ends = [walk.begin + _seconds(walk, size) for walk in walks]
    for number in range(math.ceil((max(ends) + 0.5) * fps)):
        moment = number / fps
        image, boxes = scene.astype(np.float32), {}
        under_way = [w for w, end in zip(walks, ends, strict=True) if w.begin <= moment < end]
        for walk in sorted(under_way, key=lambda walk: _place(walk, moment, size)[1]):
            box = _draw(image, people[walk.pid], camera, walk, moment)
            if box is not None:
                boxes[walk.pid] = box
        # The exposure is drawn once per clip, the sensor noise anew in every frame.
        recorded = photograph(
            replace(camera, noise=0.0),
            np.rint(image).astype(np.uint8),
            np.random.default_rng(look),
        )
        noise = rng.standard_normal(recorded.shape, np.float32) * np.float32(_NOISE_LEVEL)
        yield np.clip(np.rint(recorded + noise), 0, 255).astype(np.uint8), boxes


def _tall(feet: float, size: tuple[int, int]) -> float:
    """Height in pixels of an average body with its feet there; lower in the frame is nearer."""
    return 0.6 * size[0] * feet


def _seconds(walk: Walk, size: tuple[int, int]) -> float:
    """Duration of a walk."""
    tall = _tall(sum(walk.feet) / 2, size)
    return (size[1] + tall) / (_PACE * tall)


def _place(walk: Walk, moment: float, size: tuple[int, int]) -> tuple[float, float]:
    """(column of the body's centre, row of its feet) in pixels."""
    share = (moment - walk.begin) / _seconds(walk, size)
    feet = walk.feet[0] + (walk.feet[1] - walk.feet[0]) * share
    reach = _tall(sum(walk.feet) / 2, size) / 2
    column = share * (size[1] + 2 * reach) - reach
    return (column if walk.rightwards else size[1] - column), feet * size[0]


def _draw(
    image: NDArray[np.float32], person: Person, camera: Camera, walk: Walk, moment: float
) -> NDArray[np.float64] | None:
    """Draw a person into the image in place; their box, or None if too little is visible."""
    height, width = image.shape[:2]
    column, feet = _place(walk, moment, (height, width))
    tall = _tall(feet / height, (height, width)) * person.height / _MEAN_HEIGHT
    room = round(tall * _ROOM), round(tall * _ROOM * _BREADTH)
    side = 1 if walk.rightwards else -1
    pose = Pose(
        yaw=side * math.pi / 2 - 0.4 * camera.heading,
        phase=2 * math.pi * _PACE / _CYCLE * (moment - walk.begin),
        stride=0.4,
        scale=1 / _ROOM,
    )
    figure, mask = render_person(person, camera, pose, room)
    left, top = round(column - room[1] / 2), round(feet - room[0] + (room[0] - tall) / 2)
    rows, own_rows = _overlap(top, room[0], height)
    columns, own_columns = _overlap(left, room[1], width)
    own = own_rows, own_columns
    under = image[rows, columns]
    cover = mask[own][..., None]
    under += cover * (figure[own] - under)
    inside, whole = mask[own] > 0.5, mask > 0.5
    if not inside.any() or inside.sum() < _SEEN * whole.sum():
        return None
    down, across = np.flatnonzero(inside.any(axis=1)), np.flatnonzero(inside.any(axis=0))
    corner = np.array([columns.start, rows.start, columns.start, rows.start])
    return corner + np.array([across[0], down[0], across[-1] + 1, down[-1] + 1], np.float64)


def _overlap(start: int, length: int, limit: int) -> tuple[slice, slice]:
    """The part of an interval that lies within 0 to limit: in the frame, and in the interval."""
    first = min(max(0, start), limit)
    last = max(first, min(limit, start + length))
    return slice(first, last), slice(first - start, last - start)


def _write_truth(
    path: Path, frames: NDArray[np.int64], pids: NDArray[np.int64], boxes: NDArray[np.float64]
) -> None:
    lines = [
        f"{frame + 1},{pid},{x1 + 1:g},{y1 + 1:g},{x2 - x1:g},{y2 - y1:g},1,1,1"
        for frame, pid, (x1, y1, x2, y2) in zip(frames, pids, boxes, strict=True)
    ]
    path.write_text("\n".join(lines) + "\n")
