"""Writes a made-up pedestrian set in Market-1501's layout and file names, wholly fixed by a seed.

Who the people are, how they are rendered and what the cameras see is left to ``people``,
``rendering`` and ``cameras``; reading the set back is the Market-1501 loader's work.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import cv2

from reid_dhm.errors import InputError
from reid_dhm.synthetic.renderer import Shot, Studio

RECORD = "synthetic.json"
"""File inside the set that records what it was made from."""

_RENDERER = 1  # raise it when the same parameters give other images


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
    """Write the set, or keep the one that is there if it was made from the same parameters.

    Every person passes every camera. Training people have odd pids and test people even ones; of
    a test person's images, the first of each camera is a query and the others are gallery. The
    gallery also holds distractors (pid 0: strangers, and boxes with nobody in them) and junk
    (pid -1: test people in bad boxes). The folder appears at once when it is complete.

    Args:
        root: folder of the set; its parents are made.
        num_train: people to train on.
        num_test: people to search for.
        num_cameras: 2 … 9.
        pictures_per_camera: images of each person by each camera, 2 or more.
        num_distractors: images with pid 0.
        num_junk: images with pid -1.
        seed: fixes every byte, with one release of NumPy and OpenCV.
        overwrite: replace a synthetic set made from other parameters.

    Returns:
        ``root``.

    Raises:
        InputError: if a number is out of range, or ``root`` holds anything but a complete set
            made from these parameters (``overwrite`` replaces a synthetic set, nothing else).
    """
    wanted = _Parameters(
        num_train, num_test, num_cameras, pictures_per_camera, num_distractors, num_junk, seed
    )
    _check(wanted)
    if _is_there(root, wanted, overwrite):
        return root
    root.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{root.name}-", dir=root.parent) as scratch:
        fresh = Path(scratch, "new")
        fresh.mkdir()
        for folder, pid, shot in _shots(wanted):
            _write_jpeg(fresh / folder, pid, shot)
        (fresh / RECORD).write_text(wanted.record())
        if root.exists():
            root.rename(Path(scratch, "old"))
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
            raise InputError(f"{name} is {value}, give a number from {low} to {high}.")


def _is_there(root: Path, wanted: _Parameters, overwrite: bool) -> bool:
    """Whether ``root`` already is the wanted set; refuse what may not be replaced."""
    if not root.exists() or (root.is_dir() and not any(root.iterdir())):
        return False
    record = root / RECORD
    if not record.is_file():
        raise InputError(f"{root} is there and is no synthetic set, name another folder.")
    if record.read_text() == wanted.record():
        return True
    if not overwrite:
        raise InputError(
            f"{root} holds a synthetic set made from other parameters ({record}), name another "
            "folder or pass overwrite=True."
        )
    return False


def _shots(wanted: _Parameters) -> Iterator[tuple[str, int, Shot]]:
    """Every image of the set with its folder and pid."""
    studio = Studio(wanted.seed, wanted.num_cameras)
    # Odd pids train and even ones test, so that changing either number renames nobody.
    train = [2 * number + 1 for number in range(wanted.num_train)]
    test = [2 * number + 2 for number in range(wanted.num_test)]
    for pid in train + test:
        for camid in range(1, wanted.num_cameras + 1):
            for index in range(wanted.pictures_per_camera):
                if pid % 2:
                    folder = "bounding_box_train"
                else:
                    folder = "bounding_box_test" if index else "query"
                yield folder, pid, studio.portrait(pid, camid, index)
    for index in range(wanted.num_distractors):
        yield "bounding_box_test", 0, studio.stranger(index)
    for index in range(wanted.num_junk):
        yield "bounding_box_test", -1, studio.junk(test[index % len(test)], index)


def _write_jpeg(folder: Path, pid: int, shot: Shot) -> None:
    """Write an image under Market-1501's name for it: pid, camera and sequence, frame, box."""
    number = "-1" if pid < 0 else f"{pid:04d}"
    folder.mkdir(exist_ok=True)
    path = folder / f"{number}_c{shot.camid}s1_{shot.frame:06d}_00.jpg"
    bgr = cv2.cvtColor(shot.image, cv2.COLOR_RGB2BGR)
    encoded, data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, shot.jpeg_quality])
    if not encoded:
        raise RuntimeError(f"OpenCV could not encode {path}.")
    path.write_bytes(data.tobytes())
