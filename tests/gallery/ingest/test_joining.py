"""People who are hidden for a moment: their pieces become one tracklet, whatever interrupts."""

from itertools import chain, pairwise
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.footage.sources import open_source
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.store import deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.track.settings import TrackSettings

HIDDEN = range(64, 73)  # frames; longer than a track waits
APART = TrackSettings(join=False)


@pytest.fixture(scope="module")
def detector(clips, tmp_path_factory) -> str:
    """The true boxes of the first clip, without those of a moment."""
    lines = clips[0].truth.read_text().splitlines()
    seen = [line for line in lines if int(line.split(",")[0]) - 1 not in HIDDEN]
    path: Path = tmp_path_factory.mktemp("hidden") / "det.txt"
    path.write_text("\n".join(seen))
    return f"mot:{path}"


def tracks(gallery: GalleryStore) -> list[list[int]]:
    """Frames of every tracklet, in the order of track numbers."""
    found = sorted(gallery.tracklets(), key=lambda tracklet: tracklet.id.track)
    return [gallery.boxes(tracklet.key)["frame"].tolist() for tracklet in found]


def interrupted(source, frames: int):
    """The source, until it has given so many frames."""

    class Source:
        info, stop = source.info, source.stop

        def frames(self, span):
            for count, frame in enumerate(source.frames(span)):
                if count == frames:
                    raise KeyboardInterrupt
                yield frame

    return Source()


def test_who_was_hidden_is_one_tracklet_with_the_first_ones_number(
    tmp_path, clips, index, detector
):
    with GalleryStore(tmp_path / "apart", create=True) as apart:
        index(apart, clips[0].path, detector=detector, tracks=APART)
        pieces = tracks(apart)
        numbers = [tracklet.id.track for tracklet in apart.tracklets()]
    with GalleryStore(tmp_path / "joined", create=True) as joined:
        summary = index(joined, clips[0].path, detector=detector)
        whole = tracks(joined)
        assert summary.tracklets == len(whole) < len(pieces)
        assert sorted(chain(*whole)) == sorted(chain(*pieces))
        assert {tracklet.id.track for tracklet in joined.tracklets()} < set(numbers)
        over_the_gap = [f for f in whole if f[0] < HIDDEN.start and f[-1] >= HIDDEN.stop]
        assert over_the_gap
        for tracklet in joined.tracklets():
            boxes, crops = joined.boxes(tracklet.key), joined.crops(tracklet.key)
            assert tracklet.num_boxes == len(boxes) == len(np.unique(boxes["frame"]))
            assert len(crops) <= 8
            times = sorted(crop.time for crop in crops)
            assert all(later - earlier >= 0.199 for earlier, later in pairwise(times))
        assert list(check_integrity(joined)) == []
        assert index(joined, clips[0].path, detector=detector).known


@pytest.mark.parametrize("frames", [70, 85])
def test_an_interruption_does_not_show(tmp_path, clips, index, detector, frames):
    with GalleryStore(tmp_path / "whole", create=True) as whole:
        index(whole, clips[0].path, detector=detector)
        expected = tracks(whole)
    with GalleryStore(tmp_path / "parts", create=True) as parts:
        source = interrupted(open_source(str(clips[0].path)), frames)
        with pytest.raises(KeyboardInterrupt):
            index(parts, clips[0].path, detector=detector, source=source, chunk=4)
        index(parts, clips[0].path, detector=detector, chunk=4)
        assert tracks(parts) == expected


def test_a_video_begun_without_joining_goes_on_without(tmp_path, clips, index, detector):
    with GalleryStore(tmp_path / "apart", create=True) as apart:
        index(apart, clips[0].path, detector=detector, tracks=APART)
        expected = tracks(apart)
    with GalleryStore(tmp_path / "parts", create=True) as parts:
        source = interrupted(open_source(str(clips[0].path)), 70)
        with pytest.raises(KeyboardInterrupt):
            index(parts, clips[0].path, detector=detector, source=source, tracks=APART)
        assert "join" not in parts.videos()[0].settings  # as an earlier version left it
        index(parts, clips[0].path, detector=detector)
        assert tracks(parts) == expected


def test_what_was_deleted_or_spoken_of_before_the_end_is_not_joined(
    tmp_path, clips, index, detector, monkeypatch
):
    from reid_dhm.gallery.ingest import indexing

    monkeypatch.setattr(indexing, "_BATCHES_AHEAD", 0)
    for said in (True, False):
        with GalleryStore(tmp_path / str(said), create=True) as gallery:
            source = interrupted(open_source(str(clips[0].path)), 85)
            with pytest.raises(KeyboardInterrupt):
                index(gallery, clips[0].path, detector=detector, source=source, chunk=4)
            first = gallery.tracklets()[0]
            boxes = gallery.boxes(first.key)
            if said:
                statements.label(gallery, [first.id], "Anna")
            else:
                deletion.delete(gallery, TrackletFilter(tracklets=[first.id]))
            index(gallery, clips[0].path, detector=detector, chunk=4)
            found = {tracklet.id: tracklet for tracklet in gallery.tracklets()}
            assert (first.id in found) == said
            if said:
                assert found[first.id].person == "Anna"
                assert gallery.boxes(found[first.id].key).tobytes() == boxes.tobytes()
