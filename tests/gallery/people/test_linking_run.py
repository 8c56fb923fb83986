"""Passes over a gallery: what users say while one runs, or before a kill, is never lost."""

import signal
import subprocess
import sys
import time
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError, LockedError, StorageError
from reid_dhm.gallery.people.linking import run as linking_run
from reid_dhm.gallery.people.linking.run import link_gallery
from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds
from reid_dhm.gallery.people.thresholds.stored import read_stored_thresholds, store_thresholds
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.store import audit, deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.people import different, members

USER = Path(__file__).with_name("user.py")


@pytest.fixture
def crowd(empty, keep) -> GalleryStore:
    """600 tracklets of 120 people, each with five of a small spread, in disorder."""
    rng = np.random.default_rng(0)
    people = rng.standard_normal((120, 32))
    rows = np.tile(people, (5, 1)) + 0.25 * rng.standard_normal((600, 32))
    keep(empty, rows[rng.permutation(600)])
    return empty


def ids(*tracks: int) -> list[TrackletId]:
    return [TrackletId(f"{0:016x}", track) for track in tracks]


def people_of(gallery: GalleryStore) -> dict[int, int]:
    keys, people, _ = members(gallery)
    return dict(zip(keys.tolist(), people.tolist(), strict=True))


def test_a_pass_is_repeatable_and_numbers_stay_when_footage_is_added(crowd, keep):
    link_gallery(crowd)
    before = people_of(crowd)
    assert link_gallery(crowd).moved == 0
    assert people_of(crowd) == before
    keep(crowd, np.random.default_rng(1).standard_normal((5, 32)))
    done = link_gallery(crowd)
    assert (done.gone, done.added) == (0, 5)
    after = people_of(crowd)
    assert sum(after[key] == person for key, person in before.items()) >= 0.98 * len(before)


def test_new_footage_joins_people_there_are_and_moves_nobody(crowd, keep):
    assert link_gallery(crowd, new_only=True).people > 50  # the first time it finds everybody
    before = people_of(crowd)
    means = np.concatenate([page.embeddings for page in crowd.pages()]).astype(np.float64)
    strangers = 3 * np.random.default_rng(2).standard_normal((2, 32))
    keep(crowd, np.concatenate([means[:3], strangers]))
    done = link_gallery(crowd, new_only=True)
    after = people_of(crowd)
    assert (done.moved, done.gone, done.added) == (0, 0, 5)
    assert {key: after[key] for key in before} == before
    assert [after[key] for key in (601, 602, 603)] == [before[key] for key in (1, 2, 3)]
    assert not {after[604], after[605]} & set(before.values())


def test_the_first_people_of_new_footage_are_found_with_the_thresholds_there_are(crowd):
    strict = PeopleThresholds({1: np.zeros(32, np.float32)}, link=5.0, join=5.0)
    store_thresholds(crowd, strict, 600, 0)
    assert link_gallery(crowd, new_only=True).people == 600  # nobody is as alike as that
    assert read_stored_thresholds(crowd).thresholds.link == 5.0


def test_a_new_camera_s_only_tracklet_joins_its_person(crowd, keep):
    link_gallery(crowd)
    mean = crowd.embeddings(limit=1).embeddings.astype(np.float64)
    keep(crowd, mean, "door")
    link_gallery(crowd, new_only=True)
    assert people_of(crowd)[601] == people_of(crowd)[1]


def test_travel_times_are_kept_for_later_passes(empty, keep):
    row = np.random.default_rng(0).standard_normal((1, 8))
    begin = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    others = np.random.default_rng(1).standard_normal((20, 8))
    for camera, seconds in (("gate", 0.0), ("door", 10.0)):
        keep(empty, row, camera, [seconds], begin)
        keep(empty, others, camera, 1000.0 + 10 * np.arange(20) + seconds, begin)
    assert link_gallery(empty).people < 41
    same = lambda: people_of(empty)[1] == people_of(empty)[22]  # noqa: E731
    assert same()
    link_gallery(empty, {("gate", "door"): 20.0})
    assert not same()
    link_gallery(empty)
    assert not same()
    assert audit.entries(empty)[1].detail["travel"] == [["gate", "door", 20.0]]
    link_gallery(empty, {("door", "gate"): 0.0})
    assert same()
    with pytest.raises(InputError, match="from camera 'gate' to itself"):
        link_gallery(empty, {("gate", "gate"): 1.0})


def test_a_pass_stores_everything_or_nothing(crowd, monkeypatch):
    def fails(*_):
        raise StorageError("disk")

    monkeypatch.setattr(audit, "record", fails)
    with pytest.raises(StorageError):
        link_gallery(crowd, {})
    assert people_of(crowd) == {}
    assert read_stored_thresholds(crowd) is None


def test_what_is_said_while_a_pass_computes_is_obeyed(crowd, monkeypatch):
    computed, told = linking_run.link, []

    def link(*arguments, **options):
        found = computed(*arguments, **options)
        if not told:  # somebody says something before the first result is stored
            with GalleryStore(crowd.folder) as other:
                told.append(statements.link(other, ids(1, 2)))
        return found

    monkeypatch.setattr(linking_run, "link", link)
    link_gallery(crowd)
    who = people_of(crowd)
    assert who[1] == who[2] == told[0]


def test_a_pass_gives_up_when_people_never_stop_changing(crowd, monkeypatch):
    computed, tracks = linking_run.link, iter(range(1, 100, 2))

    def link(*arguments, **options):
        first = next(tracks)
        with GalleryStore(crowd.folder) as other:
            statements.link(other, ids(first, first + 1))
        return computed(*arguments, **options)

    monkeypatch.setattr(linking_run, "link", link)
    with pytest.raises(LockedError, match="are being changed: try again"):
        link_gallery(crowd)


def test_after_a_deletion_a_running_pass_starts_again_without_the_deleted(crowd, monkeypatch):
    computed, calls = linking_run.link, []

    def link(*arguments, **options):
        found = computed(*arguments, **options)
        if not calls:
            with GalleryStore(crowd.folder) as other:
                deletion.delete(other, TrackletFilter(tracklets=ids(1, 2, 3)))
        calls.append(len(found.persons))
        return found

    monkeypatch.setattr(linking_run, "link", link)
    link_gallery(crowd)
    assert set(people_of(crowd)) == set(range(4, 601))
    assert calls == [600, 597]
    assert read_stored_thresholds(crowd).num_tracklets == 597
    assert list(check_integrity(crowd)) == []


@pytest.mark.parametrize("seconds", [0.4, 1.5])
def test_nothing_said_is_lost_by_kills_while_a_pass_runs(crowd, seconds):
    crowd.close()
    running = [
        subprocess.Popen(
            [sys.executable, USER, crowd.folder, role], stdout=subprocess.PIPE, text=True
        )
        for role in ("say", "find")
    ]
    for process in running:
        assert process.stdout.readline() == "ready\n"
    time.sleep(seconds)
    for process in running:
        process.send_signal(signal.SIGKILL)
    # Not communicate(), which leaves out what readline() has already taken from the pipe.
    said = [line.split(maxsplit=2) for line in running[0].stdout.read().splitlines()]
    for process in running:
        process.stdout.close()
        process.wait()
    assert len(said) >= 3
    with GalleryStore(crowd.folder) as gallery:
        assert list(check_integrity(gallery)) == []
        for _ in range(2):
            _check(gallery, said)
            link_gallery(gallery)  # and no later pass loses it
        logged = [entry for entry in audit.entries(gallery, limit=10**6) if entry.actor == "anna"]
        assert len(logged) >= len(said)


def _check(gallery: GalleryStore, said: list[list[str]]) -> None:
    by_id = {str(tracklet.id): tracklet for tracklet in gallery.tracklets(limit=10**6)}
    apart = {tuple(pair) for pair in different(gallery).tolist()}
    for kind, one, other in said:
        if kind == "same":
            assert by_id[one].person_id == by_id[other].person_id is not None
        elif kind == "named":
            assert by_id[one].person == other
        else:
            keys = sorted((by_id[one].key, by_id[other].key))
            assert tuple(keys) in apart
            assert by_id[one].person_id != by_id[other].person_id
