"""Writers of a shared gallery beside each other, beside a clean-up, and killed."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import pytest

from reid_dhm.gallery import opening
from reid_dhm.gallery.opening import copy_gallery, open_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.shared import leases, upkeep, writing
from reid_dhm.gallery.store import audit

pytestmark = pytest.mark.cluster


def test_a_writer_keeps_its_lease_when_another_of_the_same_video_ends(shared, monkeypatch) -> None:
    monkeypatch.setattr(leases, "_PATIENCE", 0.1)
    with leases.writing(shared.tables, "a video"):
        with leases.writing(shared.tables, "a video"):
            pass
        assert not upkeep.clean(shared)
    assert upkeep.clean(shared)


@pytest.mark.parametrize("name", ["audit", "facts", "videos"])
def test_an_uncommitted_file_survives_a_clean_up(shared, name) -> None:
    import lance
    from lance.fragment import LanceFragment

    table = shared.tables.table(name)
    rows = table.to_table()
    count, version = len(rows), table.version
    if name == "audit":
        assert count
    with leases.writing(shared.tables, "it") if name == "videos" else nullcontext():
        fragment = LanceFragment.create(table.uri, rows)
        monkey = pytest.MonkeyPatch()
        monkey.setattr(leases, "_PATIENCE", 0.1)
        upkeep.clean(shared)
        monkey.undo()
        lance.LanceDataset.commit(
            table.uri, lance.LanceOperation.Append([fragment]), read_version=version
        )
    assert len(lance.dataset(table.uri).to_table()) == 2 * count


@pytest.mark.parametrize("everybody", [False, True])
def test_a_hand_over_killed_at_its_end_does_not_undo_a_deletion(
    folder, tmp_path, monkeypatch, everybody
) -> None:
    set_video = writing._set_video

    def killed(gallery, video, complete) -> None:
        if complete:
            raise KeyboardInterrupt
        set_video(gallery, video, complete)

    with open_gallery(Path(f"lance:{tmp_path}/killed"), create=True) as some:
        monkeypatch.setattr(writing, "_set_video", killed)
        with pytest.raises(KeyboardInterrupt):
            copy_gallery(folder, some)
        monkeypatch.setattr(writing, "_set_video", set_video)
        assert some.count() == 20
        assert not any(video.complete for video in some.videos())
        ids = [found.id for found in some.tracklets()][: 20 if everybody else 1]
        opening.delete_logged(some, TrackletFilter(tracklets=ids), {})
        assert copy_gallery(folder, some).tracklets == 40
        assert some.count() == 60 - len(ids)
        assert all(video.complete for video in some.videos())
        assert not some.count(TrackletFilter(tracklets=ids))


def test_a_limit_may_be_any_number(shared) -> None:
    assert len(shared.tracklets(limit=10**19)) == 60
    assert len(shared.embeddings(limit=10**19).keys) == 60
    assert len(audit.latest(shared, 10**19)) == 1
