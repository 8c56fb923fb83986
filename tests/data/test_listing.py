import os

import cv2
import numpy as np
import pytest

from reid_dhm.data.classification import load_classification
from reid_dhm.data.datasets import load_dataset
from reid_dhm.data.listing import list_images, list_images_below, scan_folder
from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.footage.sources import open_source


def names(paths) -> list[str]:
    return [path.name for path in paths]


def test_hidden_and_system_files_are_skipped_and_the_rest_is_sorted(tmp_path):
    for name in ["b.jpg.jpg", "a.PNG", "c.webp", "Thumbs.db", "._a.png", ".hidden.jpg", "x.txt"]:
        (tmp_path / name).touch()
    (tmp_path / "folder.jpg").mkdir()
    content = scan_folder(tmp_path)
    assert names(content.images) == ["a.PNG", "b.jpg.jpg", "c.webp"]
    assert names(content.folders) == ["folder.jpg"]
    assert names(content.others) == ["x.txt"]
    assert list_images(tmp_path) == content.images


def test_folders_below_are_listed_links_and_rings_included(tmp_path, caplog):
    for name in [
        "here/b.jpg",
        "here/inside/a.jfif",
        "here/.git/c.jpg",
        "apart/d.gif",
        "here/e.heic",
    ]:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "apart")
    (tmp_path / "apart" / "ring").symlink_to(tmp_path / "here")
    found = [path.relative_to(tmp_path / "here") for path in list_images_below(tmp_path / "here")]
    assert list(map(str, found)) == ["b.jpg", "inside/a.jfif", "linked/d.gif"]
    assert "1 entries left out, as they are not images: 1 .heic (first: e.heic)" in caplog.text


def test_dead_links_are_counted(tmp_path):
    for name in ("a.jpg", "b", "c.png"):
        (tmp_path / name).symlink_to("/nowhere/at/all")
    message = "a.jpg is a dead link to /nowhere/at/all and 2 other dead links beside it: restore"
    with pytest.raises(NotFoundError, match=message):
        list_images(tmp_path)


def test_a_folder_that_cannot_be_listed_is_named(tmp_path):
    with pytest.raises(NotFoundError, match="gone does not exist"):
        scan_folder(tmp_path / "gone")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="file cannot be read"):
        scan_folder(tmp_path / "file")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_without_permission_is_named(tmp_path):
    (tmp_path / "closed").mkdir(mode=0)
    with pytest.raises(InputError, match=r"closed cannot be read .*permission"):
        scan_folder(tmp_path / "closed")


def test_a_published_set_counts_what_it_leaves_out(tmp_path, caplog):
    for folder, name in (
        ("bounding_box_train", "0002_c1s1_000451_03.jpg"),
        ("query", "0001_c1s1_001051_00.jpg"),
        ("bounding_box_test", "0001_c2s1_000301_00.jpg"),
    ):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / name).touch()
    (tmp_path / "query" / "0001_c3s1_001051_00.heic").touch()
    (tmp_path / "query" / "more").mkdir()
    load_dataset("market1501", tmp_path)
    assert "2 entries left out, as they are not images: 1 folders, 1 .heic" in caplog.text
    (tmp_path / "query" / "0001_c4s1_001051_00.jpg").symlink_to(tmp_path / "gone")
    with pytest.raises(NotFoundError, match="is a dead link to"):
        load_dataset("market1501", tmp_path)


def test_classes_count_what_they_leave_out(tmp_path, caplog):
    for name in ("train/cat/1.png", "val/cat/1.png", "val/2.png", "val/cat/3.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert len(load_classification(tmp_path).test) == 1
    assert "val: 2 entries left out, as they are not images: 1 .png, 1 .txt" in caplog.text
    (tmp_path / "val" / "cat" / "4.png").symlink_to(tmp_path / "gone")
    with pytest.raises(NotFoundError, match="is a dead link to"):
        load_classification(tmp_path)


@pytest.mark.parametrize("pattern", ["", "/*"])
def test_a_folder_of_frames_counts_what_it_leaves_out(tmp_path, caplog, pattern):
    for name in ("1.png", "2.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "3.heic").touch()
    open_source(f"{tmp_path}{pattern}", fps=5)
    assert "1 entries left out, as they are not images: 1 .heic (first: 3.heic)" in caplog.text
