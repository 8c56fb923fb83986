"""Writes a synthetic re-ID dataset in Market-1501's layout and file names, fixed by a seed.

The Market-1501 loader reads it. :mod:`reid_dhm.synthetic.renderer` makes the images.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from reid_dhm.errors import InputError, StorageError
from reid_dhm.files import temporary_folder
from reid_dhm.synthetic.renderer import Render, Renderer

RECORD = "synthetic.json"
"""File in the dataset that records its parameters."""

_RENDERER = 1  # version; increase it when the same parameters give other images


@dataclass(frozen=True, slots=True)
class _Parameters:
    num_train: int
    num_test: int
    num_cameras: int
    pictures_per_camera: int
    num_distractors: int
    num_junk: int
    seed: int
    renderer: int = _RENDERER

    def record(self) -> str:
        return json.dumps(asdict(self), indent=2) + "\n"


def write_synthetic(
    root: Path,
    *,
    num_train: int = 120,
    num_test: int = 80,
    num_cameras: int = 6,
    pictures_per_camera: int = 3,
    num_distractors: int = 300,
    num_junk: int = 100,
    seed: int = 0,
    overwrite: bool = False,
) -> Path:
    """Write the dataset, or keep an existing one made from the same parameters.

    Every person appears in every camera. Training people have odd pids and test people even ones.
    The first image of a test person in each camera is a query; the others are gallery images. The
    gallery also holds distractors (pid 0: other people, and boxes of background) and junk (pid -1:
    test people in badly placed boxes). The folder appears complete or not at all.

    Args:
        root: folder of the dataset; parent folders are created.
        num_train: training people.
        num_test: test people.
        num_cameras: 2 to 9.
        pictures_per_camera: images of each person in each camera, 2 or more.
        num_distractors: images with pid 0.
        num_junk: images with pid -1.
        seed: fixes every byte, for one version of NumPy and OpenCV.
        overwrite: replace a synthetic dataset made from other parameters.

    Returns:
        ``root``.

    Raises:
        InputError: if a number is out of range, or ``root`` holds anything but a dataset made from
            these parameters (``overwrite`` replaces a synthetic dataset, nothing else).
    """
    wanted = _Parameters(
        num_train, num_test, num_cameras, pictures_per_camera, num_distractors, num_junk, seed
    )
    _check(wanted)
    if _is_there(root, wanted, overwrite):
        return root
    with temporary_folder(root.parent, root.name) as scratch:
        fresh = scratch / "new"
        fresh.mkdir()
        for folder, pid, render in _renders(wanted):
            _write_jpeg(fresh / folder, pid, render)
        (fresh / RECORD).write_text(wanted.record())
        if root.exists():
            root.rename(scratch / "old")
        fresh.rename(root)
    return root


def _check(wanted: _Parameters) -> None:
    ranges = {
        "num_train": (1, 4999),
        "num_test": (1, 4999),
        "num_cameras": (2, 9),
        "pictures_per_camera": (2, 999),
        "num_distractors": (0, 99999),
        "num_junk": (0, 99999),
        "seed": (0, 2**63),
    }
    for name, (low, high) in ranges.items():
        value = getattr(wanted, name)
        if not low <= value <= high:
            raise InputError(f"{name} is {value}: give a number from {low} to {high}")


def _is_there(root: Path, wanted: _Parameters, overwrite: bool) -> bool:
    """Whether ``root`` already is the wanted dataset; refuse what may not be replaced."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / RECORD
    if not record.is_file():
        raise InputError(f"{root} is not a synthetic dataset: name another folder")
    if record.read_text() == wanted.record():
        return True
    if not overwrite:
        raise InputError(
            f"{root} holds a synthetic dataset made from other parameters ({record}): name another "
            "folder, or pass overwrite=True"
        )
    return False


def _renders(wanted: _Parameters) -> Iterator[tuple[str, int, Render]]:
    """Every image of the dataset with its folder and pid."""
    renderer = Renderer(wanted.seed, wanted.num_cameras)
    # Odd pids train and even ones test, so that changing either number changes no pid.
    train = [2 * number + 1 for number in range(wanted.num_train)]
    test = [2 * number + 2 for number in range(wanted.num_test)]
    for pid in train + test:
        for camid in range(1, wanted.num_cameras + 1):
            for index in range(wanted.pictures_per_camera):
                if pid % 2:
                    folder = "bounding_box_train"
                else:
                    folder = "bounding_box_test" if index else "query"
                yield folder, pid, renderer.portrait(pid, camid, index)
    for index in range(wanted.num_distractors):
        yield "bounding_box_test", 0, renderer.distractor(index)
    for index in range(wanted.num_junk):
        yield "bounding_box_test", -1, renderer.junk(test[index % len(test)], index)


def _write_jpeg(folder: Path, pid: int, render: Render) -> None:
    """Write an image under its Market-1501 name: pid, camera and sequence, frame, box."""
    number = "-1" if pid < 0 else f"{pid:04d}"
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}_c{render.camid}s1_{render.frame:06d}_00.jpg"
    bgr = cv2.cvtColor(render.image, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, render.jpeg_quality])
    if not encoded:
        raise StorageError(f"OpenCV could not encode {path}")
    path.write_bytes(data.tobytes())
