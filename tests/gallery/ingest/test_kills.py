"""SIGKILL at random moments of indexing: the next process goes on, and nothing shows."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity

INDEXER = Path(__file__).with_name("killed_indexer.py")


class Indexer:
    """A process that indexes one video, or embeds galleries again, in processes of its own."""

    def __init__(self, *arguments: object) -> None:
        command = [sys.executable, str(INDEXER), *map(str, arguments)]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout.readline() == "ready\n"

    def run(self, folder: Path, seconds: float = -1) -> bool:
        """Work on a folder, killed after so many seconds; whether it was done before."""
        self._process.stdin.write(f"{folder} {seconds}\n")
        self._process.stdin.flush()
        status = int(self._process.stdout.readline())
        assert status in (0, 9)
        return status == 0

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait(timeout=30)


@pytest.fixture(params=["motion", "mot"])
def indexer(request, clips):
    detector = "motion" if request.param == "motion" else f"mot:{clips[0].truth}"
    indexer = Indexer(clips[0].path, detector)
    yield indexer
    indexer.close()


def test_a_few_kills_do_not_show(tmp_path, indexer):
    check_kills(tmp_path, indexer, kills=4)


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_fifty_kills_with_either_detector_do_not_show(tmp_path, indexer):
    check_kills(tmp_path, indexer, kills=50)


def check_kills(tmp_path: Path, indexer: Indexer, kills: int) -> None:
    """Kill processes until there were so many kills, galleries begun anew as they are finished."""
    rng = np.random.default_rng(0)
    begin = time.perf_counter()
    assert indexer.run(tmp_path / "whole")
    whole_seconds = time.perf_counter() - begin
    killed = interrupted = number = 0
    while killed < kills:
        folder = tmp_path / f"killed{number}"
        number += 1
        # From before the first commit to after the last one.
        while not indexer.run(folder, rng.uniform(0, 1.1) * whole_seconds):
            killed += 1
            interrupted += left_a_part(folder)
            if killed >= kills:
                assert indexer.run(folder)
                break
        with GalleryStore(tmp_path / "whole") as whole, GalleryStore(folder) as gallery:
            assert_same(gallery, whole)
            assert list(check_integrity(gallery)) == []
    assert interrupted or kills < 10  # some kills must have left a part behind


def left_a_part(folder: Path) -> bool:
    """Whether a killed process left a part of the video behind; what it left must be whole."""
    if not (folder / "gallery.sqlite").is_file():
        return False
    with GalleryStore(folder, create=True) as gallery:  # making the file may have been killed
        assert list(check_integrity(gallery)) == []
        return any(video.position > 0 and not video.complete for video in gallery.videos())


def assert_same(gallery: GalleryStore, whole: GalleryStore) -> None:
    """Ids, boxes and times are equal; embeddings are, to a cosine of 0.9999."""
    found, expected = gallery.tracklets(), whole.tracklets()
    assert [tracklet.id for tracklet in found] == [tracklet.id for tracklet in expected]
    assert found
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours.start, ours.end) == (theirs.start, theirs.end)
        boxes, others = gallery.boxes(ours.key), whole.boxes(theirs.key)
        assert boxes.tobytes() == others.tobytes()
        for crop, other in zip(gallery.crops(ours.key), whole.crops(theirs.key), strict=True):
            assert (crop.frame, crop.box) == (other.frame, other.box)
            assert cosine(crop.embedding, other.embedding) >= 0.9999
    means = [np.concatenate([page.embeddings for page in g.pages()]) for g in (gallery, whole)]
    assert all(cosine(a, b) >= 0.9999 for a, b in zip(*means, strict=True))


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
