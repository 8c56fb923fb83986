"""Market-1501 asked with its hand-drawn boxes."""

import logging
from pathlib import Path

import pytest

from reid_dhm.data.datasets import load_dataset
from reid_dhm.errors import InputError

NAMES = {
    "bounding_box_train": ["0002_c1s1_000451_03.jpg"],
    "query": ["0001_c1s1_001051_00.jpg", "0001_c2s1_000301_00.jpg", "0005_c3s1_000401_00.jpg"],
    "bounding_box_test": ["0001_c4s1_000301_00.jpg", "0005_c1s1_000301_00.jpg"],
    "gt_bbox": [
        "0001_c1s1_001051_00.jpg",
        "0001_c1s1_001076_00.jpg",
        "0001_c2s1_000301_00.jpg",
        "0001_c4s1_000301_00.jpg",  # a camera that query/ does not ask from
        "0002_c1s1_000451_00.jpg",  # a person to train on
        "0005_c3s1_000401_00.jpg",
    ],
}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Empty files: loading reads names, never pixels."""
    for folder, files in NAMES.items():
        (tmp_path / folder).mkdir()
        for file in files:
            (tmp_path / folder / file).touch()
    return tmp_path


def test_hand_drawn_boxes_are_those_of_the_persons_and_cameras_of_query(home, caplog):
    dataset = load_dataset("market1501", home, queries="gt_bbox")
    assert [sample.path.relative_to(home).as_posix() for sample in dataset.query] == [
        "gt_bbox/0001_c1s1_001051_00.jpg",
        "gt_bbox/0001_c1s1_001076_00.jpg",
        "gt_bbox/0001_c2s1_000301_00.jpg",
        "gt_bbox/0005_c3s1_000401_00.jpg",
    ]
    assert [(sample.pid, sample.camid) for sample in dataset.query] == [
        (1, 1),
        (1, 1),
        (1, 2),
        (5, 3),
    ]
    assert "gt_bbox" not in caplog.text
    plain = load_dataset("market1501", home)
    assert plain.query[0].path.parent == home / "query"
    assert (dataset.train, dataset.gallery) == (plain.train, plain.gallery)
    assert load_dataset("market1501", home, queries="query") == plain


def test_a_person_and_camera_without_a_hand_drawn_box_is_warned_of(home, caplog):
    (home / "gt_bbox/0005_c3s1_000401_00.jpg").unlink()
    with caplog.at_level(logging.WARNING):
        assert len(load_dataset("market1501", home, queries="gt_bbox").query) == 3
    assert "no image of 1 persons and cameras of query" in caplog.text
    assert "person 5 in camera 3" in caplog.text


def test_unusable_hand_drawn_boxes_are_refused(home):
    with pytest.raises(InputError, match=r"queries='gt_query' .* give query or gt_bbox"):
        load_dataset("market1501", home, queries="gt_query")
    stray = home / "gt_bbox/holiday.jpg"
    stray.touch()
    with pytest.raises(InputError, match=r"gt_bbox/holiday\.jpg is not named like"):
        load_dataset("market1501", home, queries="gt_bbox")
    stray.unlink()
    (home / "gt_bbox").rename(home / "boxes")
    with pytest.raises(InputError, match=r"gt_bbox does not exist; unpack Market-1501 again"):
        load_dataset("market1501", home, queries="gt_bbox")
    assert load_dataset("market1501", home, ["train"]).query
