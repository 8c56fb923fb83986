"""The synthetic set: its layout and names, its repeatability, and what may be replaced."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.data.datasets import load_dataset
from reid_dhm.errors import InputError
from reid_dhm.synthetic import RECORD, write_synthetic, writer

SMALL = {
    "num_train": 2,
    "num_test": 2,
    "num_cameras": 2,
    "pictures_per_camera": 2,
    "num_distractors": 3,
    "num_junk": 2,
}
# Zhang et al.: pid, camera and sequence, frame, detection. Junk has pid -1.
NAME = re.compile(r"(-1|\d{4})_c(\d)s(\d)_(\d{6})_(\d\d)\.jpg")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_synthetic(tmp_path_factory.mktemp("sets") / "small", **SMALL)


def digests(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*.jpg"))
    }


def labels(folder: Path) -> list[tuple[int, int]]:
    matches = [NAME.fullmatch(path.name) for path in sorted(folder.iterdir())]
    assert all(matches)
    return [(int(match[1]), int(match[2])) for match in matches if match]


def test_every_person_passes_every_camera_in_the_right_split(small: Path) -> None:
    cameras, train, test = (1, 2), (1, 3), (2, 4)
    assert labels(small / "bounding_box_train") == [
        (pid, camid) for pid in train for camid in cameras for _ in range(2)
    ]
    assert labels(small / "query") == [(pid, camid) for pid in test for camid in cameras]
    gallery = labels(small / "bounding_box_test")
    assert [label for label in gallery if label[0] > 0] == [
        (pid, camid) for pid in test for camid in cameras
    ]
    assert sum(pid == 0 for pid, _ in gallery) == 3
    assert sum(pid == -1 for pid, _ in gallery) == 2


def test_the_loader_reads_it_without_the_junk(small: Path) -> None:
    dataset = load_dataset("synthetic", small)
    assert (len(dataset.train), len(dataset.query), len(dataset.gallery)) == (8, 4, 4 + 3)
    assert {sample.pid for sample in dataset.train} == {1, 3}
    assert {sample.pid for sample in dataset.gallery} == {0, 2, 4}


def test_images_are_market_sized_colour_jpegs(small: Path) -> None:
    for path in small.rglob("*.jpg"):
        assert path.read_bytes().startswith(b"\xff\xd8\xff")
        image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        assert image.shape == (128, 64, 3)
        assert image.std() > 5


def test_a_seed_fixes_every_byte(small: Path, tmp_path: Path) -> None:
    np.random.seed(99)  # noqa: NPY002 - the global generator must not matter
    assert digests(write_synthetic(tmp_path / "again", **SMALL)) == digests(small)


def test_another_seed_gives_other_images(small: Path, tmp_path: Path) -> None:
    other = digests(write_synthetic(tmp_path / "other", **SMALL, seed=1))
    assert not set(other.values()) & set(digests(small).values())


def test_a_larger_set_keeps_the_images_of_the_smaller(small: Path, tmp_path: Path) -> None:
    more = {name: count + 1 for name, count in SMALL.items()}
    kept = {
        name: digest
        for name, digest in digests(small).items()
        if not re.search(r"/(0000|-1)_", name)  # distractors may be of the new camera
    }
    assert kept.items() <= digests(write_synthetic(tmp_path / "more", **more)).items()


def test_a_set_that_is_there_is_kept_as_it_is(small: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in small.rglob("*")}
    assert write_synthetic(small, **SMALL) == small
    assert {path: path.stat().st_mtime_ns for path in small.rglob("*")} == before


def test_a_set_of_other_parameters_is_replaced_only_on_request(small: Path, tmp_path: Path) -> None:
    root = shutil.copytree(small, tmp_path / "set")
    before = digests(root)
    with pytest.raises(InputError, match=r"set holds a synthetic dataset.*overwrite=True"):
        write_synthetic(root, **SMALL, seed=5)
    assert digests(root) == before

    write_synthetic(root, **SMALL, seed=5, overwrite=True)
    assert not set(digests(root).values()) & set(before.values())
    assert json.loads((root / RECORD).read_text())["seed"] == 5


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_folder_of_something_else_is_never_touched(tmp_path: Path, overwrite: bool) -> None:
    (tmp_path / "query").mkdir()
    with pytest.raises(InputError, match="not a synthetic dataset"):
        write_synthetic(tmp_path, **SMALL, overwrite=overwrite)
    assert [path.name for path in tmp_path.iterdir()] == ["query"]


def test_an_interrupted_run_leaves_what_was_there(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = shutil.copytree(small, tmp_path / "set")

    def interrupt(folder: Path, pid: int, shot: object) -> None:
        if pid == 0:
            raise KeyboardInterrupt

    monkeypatch.setattr(writer, "_write_jpeg", interrupt)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(root, **SMALL, seed=1, overwrite=True)
    with pytest.raises(KeyboardInterrupt):
        write_synthetic(tmp_path / "new", **SMALL)
    assert digests(root) == digests(small)
    assert list(tmp_path.iterdir()) == [root]


@pytest.mark.parametrize(
    ("name", "value"),
    [("num_train", 0), ("num_cameras", 10), ("pictures_per_camera", 1), ("seed", -1)],
)
def test_a_number_out_of_range_is_named(tmp_path: Path, name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name} is {value}"):
        write_synthetic(tmp_path / "set", **{**SMALL, name: value})
    assert not (tmp_path / "set").exists()
