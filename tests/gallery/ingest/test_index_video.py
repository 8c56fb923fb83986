"""Indexing in one call."""

import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.gallery.detect.motion import MotionDetector
from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore


class FakeEmbedder:
    """Grey values instead of a network."""

    fingerprint, dim = "ab" * 32, 2

    def __call__(self, images):
        rows = np.array([[image.mean(), 1] for image in images], np.float32)
        return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture
def video(tmp_path):
    path = tmp_path / "gate.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 48))
    for _ in range(10):
        writer.write(np.full((48, 64, 3), 90, np.uint8))
    writer.release()
    return path


def test_one_call_opens_the_source_and_leaves_a_gallery_with_its_model(tmp_path, video):
    summary = index_video(tmp_path / "g", video, "gate", FakeEmbedder(), "grey")
    assert summary.frames == 10
    with GalleryStore(tmp_path / "g") as gallery:
        assert (gallery.fingerprint, gallery.dim) == ("ab" * 32, 2)
        (entry,) = audit.entries(gallery)
        assert (entry.action, entry.detail["videos"]) == ("index", summary.videos)
        again = index_video(
            *(gallery, open_source(str(video)), "gate", FakeEmbedder(), "grey"),
            detector=MotionDetector(),
        )
        assert again.known
        assert len(audit.entries(gallery)) == 1


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"source": "gone.mp4"}, r"gone\.mp4"),
        ({"detector": "hog"}, "hog"),
        ({"camera": " "}, "camera name ' '"),
        ({"start": "noon"}, "noon"),
    ],
)
def test_bad_input_leaves_no_gallery(tmp_path, video, arguments, message):
    given = {"source": video, "camera": "gate", **arguments}
    with pytest.raises(InputError, match=message):
        index_video(tmp_path / "g", embedder=FakeEmbedder(), model="grey", **given)
    assert not (tmp_path / "g").exists()
