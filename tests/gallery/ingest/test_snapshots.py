"""Frames that are far apart: everybody in every frame is a tracklet, and found in the others."""

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.track.settings import TrackSettings

STEP = 12  # frames of the clip, which has ten a second


@pytest.fixture(scope="module")
def snapshots(clips, tmp_path_factory) -> list[tuple[str, str, list[tuple[int, int]]]]:
    """Per camera a folder of images, its detector, and (frame, person) of everybody in them."""
    found = []
    for clip in clips:
        folder = tmp_path_factory.mktemp("snapshots")
        capture = cv2.VideoCapture(str(clip.path))
        lines, people = [], []
        for number in range(int(clip.frames.max()) + 1):
            read, image = capture.read()
            assert read
            if number % STEP:
                continue
            cv2.imwrite(str(folder / f"{number}.png"), image)
            for row in np.flatnonzero(clip.frames == number):
                x1, y1, x2, y2 = clip.boxes[row]
                if x2 - x1 >= 10:
                    place = f"{x1 + 1},{y1 + 1},{x2 - x1},{y2 - y1}"
                    lines.append(f"{number // STEP + 1},-1,{place},0.9")
                    people.append((number // STEP, int(clip.pids[row])))
        (folder / "det.txt").write_text("\n".join(lines))
        found.append((str(folder / "*.png"), f"mot:{folder / 'det.txt'}", people))
    return found


def test_everybody_in_every_frame_is_a_tracklet_and_found_in_another_frame(
    tmp_path, snapshots, index
):
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        for camera, (images, detector, people) in enumerate(snapshots, 1):
            source = open_source(images, fps=0.5)
            summary = index(gallery, "", camera=f"{camera}", detector=detector, source=source)
            assert (summary.tracks.tracker, summary.people, summary.unkept) == (
                *("none", len(people)),
                len(people) - summary.tracklets,
            )
            assert summary.tracklets == len(people)
            where = TrackletFilter(cameras=[str(camera)])
            tracklets = gallery.tracklets(where)
            assert [found.first_frame for found in tracklets] == [frame for frame, _ in people]
            assert all(found.num_boxes == 1 and found.start == found.end for found in tracklets)
            means = gallery.embeddings(where).embeddings.astype(np.float32)
            frames, pids = np.array(people).T
            elsewhere = np.where(frames[:, None] == frames, -np.inf, means @ means.T)
            right = pids[elsewhere.argmax(axis=1)] == pids
            assert len(people) >= 6
            assert right.mean() >= 0.75
        assert list(check_integrity(gallery)) == []


def test_an_interruption_does_not_show(tmp_path, snapshots, index):
    images, detector, people = snapshots[0]

    class Interrupted:
        def __init__(self) -> None:
            self._source = open_source(images, fps=0.5)
            self.info, self.stop = self._source.info, self._source.stop

        def frames(self, span):
            yield from self._source.frames(span)
            raise KeyboardInterrupt

    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        with pytest.raises(KeyboardInterrupt):
            index(gallery, "", detector=detector, source=Interrupted(), chunk=1)
        summary = index(gallery, "", detector=detector, source=open_source(images, fps=0.5))
        assert summary.resumed
        assert [t.first_frame for t in gallery.tracklets()] == [frame for frame, _ in people]
        assert [t.id.track for t in gallery.tracklets()] == list(range(1, len(people) + 1))


def test_frames_close_together_are_followed_and_none_is_a_choice(tmp_path, clips, index):
    detector = f"mot:{clips[0].truth}"
    for name, tracks, chosen in (
        ("followed", TrackSettings(), "bytetrack"),
        ("alone", TrackSettings(tracker="none"), "none"),
    ):
        with GalleryStore(tmp_path / name, create=True) as gallery:
            summary = index(gallery, clips[0].path, detector=detector, tracks=tracks)
            assert summary.tracks.tracker == chosen
            assert (summary.tracklets > 50) == (chosen == "none")
