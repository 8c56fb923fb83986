"""A shared gallery answers as the folder it was copied from, and deletes for good."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from dataclasses import replace
from datetime import datetime, timedelta, timezone
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import (
    InputError,
    LockedError,
    ModelMismatchError,
    NotFoundError,
    UnsupportedError,
)
from reid_dhm.gallery import opening
from reid_dhm.gallery.address import shared_address
from reid_dhm.gallery.opening import copy_gallery, in_folder, open_gallery
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.shared import leases, upkeep
from reid_dhm.gallery.store import audit, people
from reid_dhm.gallery.store.gallery import GalleryStore

pytestmark = pytest.mark.cluster

START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
FILTERS = (
    None,
    TrackletFilter(cameras=["it's a yard"]),
    TrackletFilter(person="O'Anna \\ 7"),
    TrackletFilter(after=5.0, before=12.0),
    TrackletFilter(after=START + timedelta(minutes=50)),
    TrackletFilter(before=START + timedelta(seconds=4), cameras=["gate"]),
)


def described(tracklet) -> dict:
    """What does not depend on the engine: numbers of people do."""
    facts = tracklet.to_dict()
    unnamed = facts["person"] == str(facts["person_id"])
    return {**facts, "person": "somebody" if unnamed else facts["person"], "person_id": None}


def by_id(gallery, where=None) -> dict:
    """Everything that a gallery holds of the tracklets that match."""
    return {
        str(found.id): (
            described(found),
            gallery.boxes(found.key).tobytes(),
            [replace(crop, embedding=crop.embedding.tobytes()) for crop in gallery.crops(found.key)]
            and [(crop.jpeg, crop.embedding.tobytes()) for crop in gallery.crops(found.key)],
        )
        for found in gallery.tracklets(where)
    }


def people_of(gallery) -> set:
    """Names, tracklets and confirmations of all people."""
    return {(p.name or "", p.num_tracklets, p.num_confirmed) for p in people.people(gallery)}


def files_with(place: Path, *needles: bytes) -> list[Path]:
    """Files below a folder that hold any of these bytes."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if any(n in path.read_bytes() for n in needles)]


@pytest.mark.parametrize("where", FILTERS)
def test_it_holds_what_the_folder_holds(folder, shared, where) -> None:
    there = by_id(shared, where)
    assert there == by_id(folder, where)
    assert len(there) == shared.count(where) == len(shared.keys(where)) > 0


@pytest.mark.parametrize("where", FILTERS)
def test_a_search_finds_the_same_with_the_same_similarity(folder, shared, where) -> None:
    query = np.random.default_rng(3).normal(size=(2, 32))
    shown = folder.tracklets(limit=1)[0].id
    found = [
        [(str(c.tracklet.id), c.similarity) for c in Searcher(g).search(query, 7, where, [shown])]
        for g in (folder, shared)
    ]
    assert found[0] == found[1]
    assert str(shown) not in dict(found[0])


def test_pages_follow_keys_and_leave_nobody_out(shared) -> None:
    keys, after = [], 0
    while page := shared.tracklets(after=after, limit=7):
        keys += [found.key for found in page]
        after = keys[-1]
    assert keys == sorted(set(keys)) == shared.keys().tolist()
    assert [found.key for found in shared.tracklets_by_key(keys[::-1])] == keys[::-1]


def test_people_come_along_and_back(folder, shared, tmp_path) -> None:
    assert people_of(shared) == people_of(folder)
    with GalleryStore(tmp_path / "back", create=True) as back:
        done = copy_gallery(shared, back)
        assert (done.videos, done.tracklets) == (3, 60)
        assert by_id(back) == by_id(folder)
        assert people_of(back) == people_of(folder)
        assert len(people.different(back)) == len(people.different(folder)) > 0
        assert [v.settings for v in back.videos()] == [v.settings for v in folder.videos()]
        again = copy_gallery(shared, back)
        assert (again.videos, again.known) == (0, 3)


def test_a_copy_by_filter_is_completed_by_a_whole_one(folder, tmp_path) -> None:
    with open_gallery(Path(f"lance:{tmp_path}/some"), create=True) as some:
        where = TrackletFilter(cameras=["gate"], before=3.0)
        assert copy_gallery(folder, some, where).tracklets == some.count() == folder.count(where)
        copy_gallery(folder, some)
        assert by_id(some) == by_id(folder)
        versions = some.tables.table("tracklets").version
        assert copy_gallery(folder, some).tracklets == 0
        assert some.tables.table("tracklets").version == versions


def test_a_deletion_leaves_no_byte(shared, tmp_path) -> None:
    who, other = shared.tracklets()[3], shared.tracklets()[4]
    page = shared.embeddings(TrackletFilter(tracklets=[who.id]))
    needles = [page.embeddings.tobytes(), str(who.id).encode()]
    kept = shared.embeddings(TrackletFilter(tracklets=[other.id])).embeddings.tobytes()
    place = tmp_path / "shared"
    upkeep.train(shared.tables, "IVF_HNSW_SQ", 2, 32)
    facts = {"kind": "IVF_HNSW_SQ", "partitions": 2, "nprobes": 2, "ef": 64, "depth": 2}
    shared.set_facts(index={**facts, "recall": 1.0, "rows": 60})
    indexes = set(place.rglob("_indices/*"))
    assert files_with(place, *needles)
    assert files_with(place, kept)
    done, clean = opening.delete_logged(shared, TrackletFilter(tracklets=[who.id]), {"why": "x"})
    assert (done.count, clean) == (1, True)
    assert not files_with(place, *needles)
    assert files_with(place, kept)
    assert not indexes & set(place.rglob("_indices/*"))
    with pytest.raises(NotFoundError):
        shared.tracklet(who.id)
    found = Searcher(shared).search(page.embeddings, 60)
    assert len(found) == 59
    states = [entry.detail.get("state") for entry in audit.latest(shared)[:2]]
    assert states == ["done", "asked"]


def test_a_camera_goes_with_its_videos(shared) -> None:
    where = TrackletFilter(cameras=["gate"])
    selected = opening.select(shared, where, whole=True)
    assert len(selected) == 40
    done, _ = opening.delete_logged(shared, selected, {}, whole=True)
    assert (done.count, done.videos, done.cameras) == (40, 2, ["gate"])
    assert [camera.name for camera in shared.cameras()] == ["it's a yard"]


def test_files_of_a_writer_at_work_are_not_taken_for_waste(shared, monkeypatch) -> None:
    monkeypatch.setattr(leases, "_PATIENCE", 0.1)
    with leases.writing(shared.tables, "somebody"):
        _, clean = opening.delete_logged(shared, TrackletFilter(before=1.0), {})
        assert not clean
    assert upkeep.clean(shared)
    writing = leases.writing(shared.tables, "somebody", patience=0.1)
    with leases.cleaning(shared.tables), pytest.raises(LockedError, match="cleaned up"), writing:
        pass


def test_the_audit_log_is_kept_and_read_newest_first(shared) -> None:
    for number in range(3):
        audit.record(shared, "search", {"hits": number}, "ann")
    found = audit.latest(shared, 2)
    assert [entry.detail["hits"] for entry in found] == [2, 1]
    assert not audit.latest(shared, before=START)


def test_the_index_finds_nearly_all_and_scores_exactly(folder, shared, monkeypatch) -> None:
    from reid_dhm.gallery.index import shared_training

    monkeypatch.setattr(shared_training, "LEAST_ROWS", 10)
    shared_training.maintain(shared)
    index = Searcher(shared).index.opened(shared)
    assert (index.kind, index.exact) == ("IVF_HNSW_SQ", False)
    assert index.recall >= 0.985
    query = np.random.default_rng(5).normal(size=(1, 32))
    where = TrackletFilter(cameras=["gate"], after=3.0)
    found = [
        [(str(c.tracklet.id), c.similarity) for c in Searcher(g).search(query, 5, where)]
        for g in (folder, shared)
    ]
    assert found[0] == found[1]
    monkeypatch.setattr(shared_training, "LEAST_ROWS", 1000)
    shared_training.maintain(shared)
    assert shared.index_facts() is None
    assert Searcher(shared).index.opened(shared).exact
    indexes = shared.tables.table("tracklets").describe_indices()
    assert indexes
    assert all(index.field_names != ["mean"] for index in indexes)


def test_writers_at_once_hand_over_each_video_once(folder, tmp_path) -> None:
    target = f"lance:{tmp_path}/many"
    program = textwrap.dedent(f"""
        from pathlib import Path
        from reid_dhm.gallery.opening import copy_gallery, open_gallery
        with open_gallery(Path({str(folder.folder)!r})) as a:
            with open_gallery(Path({target!r}), create=True) as b:
                copy_gallery(a, b)
    """)
    running = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(3)]
    assert [each.wait(120) for each in running] == [0, 0, 0]
    with open_gallery(Path(target)) as there:
        ids = there.tables.rows("tracklets", ["id"])["id"].to_pylist()
        assert len(ids) == len(set(ids)) == 60
        assert by_id(there) == by_id(folder)


def test_a_gallery_whose_creation_was_killed_is_completed(folder, tmp_path) -> None:
    from reid_dhm.gallery.shared import schema
    from reid_dhm.gallery.shared.tables import Tables

    place = Path(f"lance:{tmp_path}/begun")
    Tables(shared_address(place)).create("facts", schema.FACTS)
    with pytest.raises(NotFoundError, match="holds no gallery"):
        open_gallery(place)
    with open_gallery(place, create=True) as gallery:
        assert copy_gallery(folder, gallery).tracklets == 60


def test_another_model_is_refused(shared, tmp_path, keep) -> None:
    with GalleryStore(tmp_path / "other", create=True) as other:
        other.claim_model("bead" * 16, 32, "another")
        with pytest.raises(ModelMismatchError, match="another model"):
            copy_gallery(other, shared)


def test_what_it_cannot_do_is_refused_in_one_line(shared, tmp_path) -> None:
    place = Path(f"lance:{tmp_path}/shared")
    with pytest.raises(UnsupportedError, match="reid-dhm gallery copy lance:"):
        GalleryStore(place)
    with pytest.raises(UnsupportedError, match="copy it first"):
        in_folder(shared)
    with pytest.raises(UnsupportedError, match="leave out --index HNSW32"):
        Searcher(shared, "HNSW32")
    with pytest.raises(InputError, match="one has to be a folder"):
        copy_gallery(shared, shared)


def test_an_address_without_a_gallery_is_told(tmp_path) -> None:
    with pytest.raises(NotFoundError, match="holds no gallery"):
        open_gallery(Path(f"lance:{tmp_path}/nothing"))
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "a.txt").write_text("a")
    with pytest.raises(InputError, match="is not a gallery"):
        open_gallery(Path(f"lance:{tmp_path}/letters"), create=True)
    for text in ("lance:", "s3://bucket"):
        with pytest.raises(InputError, match=text):
            open_gallery(Path(text))


def test_a_later_schema_is_refused(shared, tmp_path) -> None:
    import json

    import pyarrow as pa

    from reid_dhm.gallery.shared import schema

    row = {"name": "schema", "value": json.dumps(schema.VERSION + 1)}
    shared.tables.merge("facts", pa.Table.from_pylist([row], schema.FACTS), "name")
    with pytest.raises(UnsupportedError, match="newer release"):
        open_gallery(Path(f"lance:{tmp_path}/shared"))


def test_a_full_copy_into_a_folder_completes_a_filtered_one(folder, shared, tmp_path) -> None:
    with GalleryStore(tmp_path / "part", create=True) as part:
        where = TrackletFilter(before=3.0)
        assert 0 < copy_gallery(shared, part, where).tracklets < 60
        copy_gallery(shared, part)
        assert by_id(part) == by_id(folder)
        assert people_of(part) == people_of(folder)
        again = copy_gallery(shared, part)
        assert (again.videos, again.known, again.tracklets) == (0, 3, 0)


def test_upkeep_leaves_no_condition_of_a_killed_deletion(shared, tmp_path) -> None:
    row = shared.tables.rows("different").to_pylist()[0]
    who = row["first"]
    shared.tables.delete("different", f"first = '{who}' OR second = '{who}'")
    shared.tables.delete("tracklets", f"id = '{who}'")
    assert files_with(tmp_path / "shared", who.encode())
    from reid_dhm.gallery.index.shared_training import maintain

    maintain(shared)
    assert not files_with(tmp_path / "shared", who.encode())


def test_a_part_on_shared_storage_is_copied_back_and_called_a_part(folder, tmp_path) -> None:
    where = TrackletFilter(cameras=["gate"], before=3.0)
    with (
        open_gallery(Path(f"lance:{tmp_path}/some"), create=True) as some,
        GalleryStore(tmp_path / "back", create=True) as back,
    ):
        copy_gallery(folder, some, where)
        done = copy_gallery(some, back)
        assert by_id(back) == by_id(folder, where)
        assert len(done.partial) == done.videos > 0
        assert not done.unfinished
