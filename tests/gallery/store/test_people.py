"""People as sets of tracklets: what users say is kept whatever is found, and deleted with them."""

import json
import sqlite3
from datetime import timezone

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError, StorageError
from reid_dhm.gallery.people.answers.presence import summarise
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.store import audit, database, deletion, joining, schema
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.membership import Assignment, assign, revision
from reid_dhm.gallery.store.people import (
    Person,
    confirmations,
    different,
    find_person,
    members,
    people,
)
from reid_dhm.gallery.store.statements import label, link, merge, name, split


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Eight tracklets before one camera; key n is track n."""
    keep(empty, np.random.default_rng(0).standard_normal((8, 8)))
    return empty


def ids(*tracks: int) -> list[TrackletId]:
    return [TrackletId(f"{0:016x}", track) for track in tracks]


def found(gallery: GalleryStore, people_of: dict[int, tuple[int, ...]]) -> Assignment | None:
    """Makes keys people, by number, as a pass that found them would."""
    pairs = [(key, person) for person, keys in people_of.items() for key in keys]
    keys, persons = np.array(pairs).T
    return assign(gallery, keys, persons, revision(gallery))


def who(gallery: GalleryStore) -> dict[int, list[int]]:
    """Keys by person."""
    keys, numbers, _ = members(gallery)
    return {n: keys[numbers == n].tolist() for n in np.unique(numbers).tolist()}


class TestFound:
    def test_what_changed_is_counted(self, site):
        assert found(site, {1: (1, 2, 3), 2: (4, 5), 3: (6,)}) == Assignment(3, 3, 0, 0, 6)
        assert revision(site).next_person == 4
        again = found(site, {1: (1, 2), 3: (3, 4, 5, 6), 7: (7,)})
        assert again == Assignment(people=3, new=1, gone=1, moved=3, added=1)
        assert who(site) == {1: [1, 2], 3: [3, 4, 5, 6], 7: [7]}

    def test_numbers_are_never_used_again(self, site):
        found(site, {1: (1,), 2: (2,)})
        found(site, {1: (1, 2)})
        assert revision(site).next_person == 3

    def test_nothing_is_written_over_what_was_said_or_found_meanwhile(self, site):
        early = revision(site)
        link(site, ids(1, 2))
        between = revision(site)
        for old in (early, between):
            found(site, {1: (1, 2), 5: (5,)})
            assert assign(site, np.arange(1, 9), np.arange(11, 19), old) is None
        assert who(site) == {1: [1, 2], 5: [5]}

    def test_nothing_is_written_over_a_deletion_meanwhile(self, site):
        found(site, {1: (1,), 2: (2, 3)})
        early = revision(site)
        deletion.delete(site, deletion.select(site, TrackletFilter(tracklets=ids(1))))
        assert assign(site, np.array([2, 3]), np.array([1, 2]), early) is None
        assert who(site) == {2: [2, 3]}

    def test_a_number_is_not_taken_for_a_name(self, site):
        found(site, {1: (1,), 2: (2,)})
        with site.writing() as db:  # names of digits, as older releases took them
            db.execute("UPDATE people SET name = '2' WHERE id = 1")
        assert [t.id for t in site.tracklets(TrackletFilter(person=2))] == ids(2)
        assert [t.id for t in site.tracklets(TrackletFilter(person="2"))] == ids(1)

    def test_confirmed_tracklets_stay(self, site):
        link(site, ids(1, 2))
        found(site, {1: (1,), 2: (2, 3)})
        assert who(site) == {1: [1, 2], 2: [3]}

    def test_tracklets_deleted_meanwhile_are_left_out(self, site):
        deletion.delete(site, TrackletFilter(tracklets=ids(2)))
        assert found(site, {1: (1, 2), 2: (3,)}).added == 2
        assert who(site) == {1: [1], 2: [3]}


class TestSaid:
    def test_linked_tracklets_stay_one_person_whatever_is_found(self, site):
        found(site, {1: (1, 2), 2: (3, 4)})
        assert link(site, ids(1, 3)) == 1
        assert who(site) == {1: [1, 2, 3, 4]}
        found(site, {1: (1, 2), 2: (3,), 3: (4,)})
        one = find_person(site, "1")
        assert who(site)[1] == [1, 2, 3]
        assert (one.num_tracklets, one.num_confirmed) == (3, 2)

    def test_linking_joins_people_and_refuses_two_names(self, site):
        found(site, {1: (1, 2), 2: (3, 4)})
        name(site, find_person(site, "1"), "Anna")
        name(site, find_person(site, "2"), "Bert")
        with pytest.raises(InputError, match=r"1 \(Anna\) and 2 \(Bert\): reid-dhm people merge"):
            link(site, ids(2, 4))
        with pytest.raises(InputError, match="different names, 'Anna' and 'Bert': give"):
            merge(site, people(site))
        assert merge(site, people(site), "Bert") == 1
        assert [(p.id, p.name, p.num_tracklets) for p in people(site)] == [(1, "Bert", 4)]

    def test_split_tracklets_are_a_new_person_and_stay_apart(self, site):
        found(site, {1: (1, 2, 3, 4)})
        assert split(site, find_person(site, "1"), ids(3, 4)) == 2
        assert who(site) == {1: [1, 2], 2: [3, 4]}
        assert different(site).tolist() == [[1, 3], [1, 4], [2, 3], [2, 4]]
        with pytest.raises(InputError, match=r"are two people: reid-dhm people merge 1 2"):
            link(site, [*ids(1), *ids(3)])
        merge(site, people(site))
        assert who(site) == {1: [1, 2, 3, 4]}
        assert len(different(site)) == 0

    def test_linking_two_that_were_split_withdraws_what_was_said_of_that_pair(self, site):
        found(site, {1: (1, 2)})
        split(site, find_person(site, "1"), ids(2))
        link(site, ids(1, 2))
        assert len(different(site)) == 0

    def test_what_cannot_be_split_is_refused(self, site):
        found(site, {1: (1, 2), 2: (3,)})
        one = find_person(site, "1")
        with pytest.raises(InputError, match="does not belong to person 1"):
            split(site, one, ids(3))
        with pytest.raises(InputError, match="all tracklets of person 1"):
            split(site, one, ids(1, 2))
        assert who(site) == {1: [1, 2], 2: [3]}

    def test_a_named_person_lasts(self, site):
        found(site, {1: (1, 2), 2: (3, 4)})
        name(site, find_person(site, "2"), "Anna")
        found(site, {1: (1,), 2: (2, 3), 3: (4,)})  # 3 was confirmed: the name rests on it
        assert find_person(site, "Anna").id == 2
        assert who(site) == {1: [1], 2: [2, 3], 3: [4]}
        with pytest.raises(InputError, match="person 2 has the name 'Anna' already"):
            name(site, find_person(site, "1"), "Anna")
        with pytest.raises(InputError, match="digits alone are a person's number"):
            name(site, find_person(site, "1"), "7")

    def test_a_named_person_lasts_when_what_its_name_rests_on_is_split_off(self, site):
        found(site, {1: (1, 2, 3)})
        name(site, find_person(site, "1"), "Anna")
        split(site, find_person(site, "Anna"), ids(1))
        found(site, {2: (1, 3), 1: (2,)})
        anna = find_person(site, "Anna")
        assert (anna.num_confirmed, who(site)[anna.id]) == (1, [2])

    def test_a_name_lasts_when_the_tracklet_that_it_rests_on_is_deleted(self, site):
        found(site, {1: (1, 2, 3)})
        name(site, find_person(site, "1"), "Anna", "cleo")
        deletion.delete(site, TrackletFilter(tracklets=ids(1)))
        assert confirmations(site, 1)[2].by == "cleo"
        found(site, {2: (2, 3)})
        assert who(site) == {1: [2], 2: [3]}
        assert find_person(site, "Anna").id == 1

    def test_tracklets_that_were_linked_stay_linked_when_they_are_split_off(self, site):
        link(site, ids(1, 2))
        found(site, {1: (1, 2, 3, 4)})
        new = split(site, find_person(site, "1"), ids(1, 2, 3))
        found(site, {1: (4,), 7: (1,), 8: (2,), 9: (3,)})
        assert who(site) == {1: [4], new: [1, 2], 9: [3]}

    def test_a_split_goes_by_the_name_that_the_person_has_then(self, site):
        found(site, {1: (1, 2, 3)})
        early = find_person(site, "1")
        name(site, early, "Anna")
        split(site, early, ids(1))
        found(site, {2: (1, 2, 3)})
        assert find_person(site, "Anna").num_confirmed == 1
        with pytest.raises(InputError, match="has no person 99 any more"):
            split(site, Person(99, None, 1, 0), ids(1))

    def test_a_name_that_was_taken_away_does_not_come_back(self, site):
        label(site, ids(1, 2, 3), "Anna")
        assert label(site, ids(3, 4), None) == 1
        assert different(site).tolist() == [[1, 3], [2, 3]]
        assert [t.person for t in site.tracklets(TrackletFilter(tracklets=ids(3)))] == ["2"]
        assert label(site, ids(1, 2), None) == 2
        assert [p.name for p in people(site)] == [None, None]

    def test_everything_said_is_in_the_audit_log_with_who_said_it(self, site):
        found(site, {1: (1, 2), 2: (3, 4)})
        link(site, ids(5, 6), actor="anna")
        split(site, find_person(site, "1"), ids(2), actor="bert")
        name(site, find_person(site, "2"), "Cleo", actor="cleo")
        merge(site, [find_person(site, "1"), find_person(site, "2")], actor="dora")
        entries = [(entry.actor, entry.action) for entry in audit.entries(site)]
        assert entries == [("anna", "link"), ("bert", "split"), ("cleo", "name"), ("dora", "merge")]

    def test_a_refused_statement_leaves_nothing(self, site):
        before = revision(site), who(site), len(audit.entries(site))
        with pytest.raises(NotFoundError):
            link(site, [*ids(1), TrackletId("f" * 16, 1)])
        assert (revision(site), who(site), len(audit.entries(site))) == before


def test_deleting_tracklets_deletes_what_belongs_to_them(site):
    found(site, {1: (1, 2, 3), 2: (4, 5)})
    split(site, find_person(site, "1"), ids(3))
    name(site, find_person(site, "2"), "Anna Secret")
    with site.writing() as db:
        db.execute("UPDATE gallery SET thresholds = '{\"secret\": 1}'")
    deletion.delete(site, TrackletFilter(person="Anna Secret"))
    deletion.delete(site, TrackletFilter(tracklets=ids(3)))
    assert who(site) == {1: [1, 2]}
    assert len(different(site)) == 0
    assert list(check_integrity(site)) == []
    with site.reading() as db:
        (detail,) = db.execute("SELECT group_concat(detail) FROM audit").fetchone()
    assert "Anna Secret" not in detail
    site.empty_log()
    assert b"secret" not in site.path.read_bytes().lower()


def test_names_of_an_older_release_become_confirmed_people(tmp_path, keep, monkeypatch):
    folder = tmp_path / "old"
    with monkeypatch.context() as old:
        for module in (schema, database):
            old.setattr(module, "STEPS", schema.STEPS[:2])
        old.setattr(joining, "_SAID", "SELECT key FROM tracklets WHERE FALSE")  # a later table
        with GalleryStore(folder, create=True) as gallery:
            keep(gallery, np.random.default_rng(0).standard_normal((4, 8)))
            with gallery.writing() as db:
                db.execute("UPDATE tracklets SET person = 'Bert' WHERE key = 1")
                db.execute("UPDATE tracklets SET person = 'Anna' WHERE key IN (2, 3)")
            audit.record(gallery, "merge", {"tracklets": [], "person": "Anna"}, "cleo")
            audit.record(gallery, "search", {"person": "Gone Girl"}, "cleo")
    with GalleryStore(folder) as gallery:
        assert [(p.name, p.num_confirmed) for p in people(gallery)] == [("Anna", 2), ("Bert", 1)]
        assert [t.person for t in gallery.tracklets()] == ["Bert", "Anna", "Anna", None]
        with gallery.reading() as db:
            rows = db.execute("SELECT tracklet, confirmed_by FROM members").fetchall()
        assert rows == [(1, "unknown"), (2, "cleo"), (3, "cleo")]
        logged = [entry.detail["person"] for entry in audit.entries(gallery)]
        assert logged == [find_person(gallery, "Anna").id, None]
        gallery.empty_log()
        assert b"Gone Girl" not in gallery.path.read_bytes()
        assert list(check_integrity(gallery)) == []
        found(gallery, {1: (1, 2, 3, 4)})
        assert who(gallery)[find_person(gallery, "Bert").id] == [1]


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("INSERT INTO people (id) VALUES (9)", "person 9 has no tracklets"),
        ("UPDATE members SET confirmed_at = NULL WHERE tracklet = 1", "key 1 is confirmed by"),
        ("UPDATE members SET confirmed_at = 'noon' WHERE tracklet = 1", "members, row 1: "),
        ("INSERT INTO different VALUES (1, 2, 'a', '2026-01-01')", "key 1 is one person with"),
        ("UPDATE people SET name = x'ff'", "people.name, row 1: not of the type text"),
        ("UPDATE tracklets SET person = 'x' WHERE key = 1", "a label of an older release"),
    ],
)
def test_verify_finds_what_no_release_writes(site, statement, fault):
    link(site, ids(1, 2))
    assert list(check_integrity(site)) == []
    with sqlite3.connect(site.path) as db:
        db.execute(statement)
    assert any(fault in line for line in check_integrity(site))


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE people SET name = x'ff'", people),
        ("UPDATE people SET name = x'ff'", lambda site: find_person(site, "1")),
        ("UPDATE people SET name = x'ff'", GalleryStore.tracklets),
        ("UPDATE members SET confirmed_by = x'ff'", lambda site: confirmations(site, 1)),
        ("UPDATE members SET confirmed_at = 'noon'", lambda site: confirmations(site, 1)),
        ("UPDATE members SET person = 'x'", members),
        ("UPDATE members SET person = 99", summarise),
        ('UPDATE tracklets SET "end" = 9e18', summarise),
        ("UPDATE cameras SET id = id + 99", summarise),
    ],
)
def test_an_altered_value_is_one_sentence(site, statement, read):
    link(site, ids(1, 2))
    with sqlite3.connect(site.path) as db:
        db.execute(statement)
    with pytest.raises(StorageError, match=r"gallery\.sqlite: damaged \("):
        read(site)
    assert list(check_integrity(site))


def test_a_name_comes_before_a_number_and_unknown_people_are_errors(site):
    found(site, {1: (1, 2), 2: (3,)})
    with site.writing() as db:  # as older releases allowed
        db.execute("UPDATE people SET name = '1' WHERE id = 2")
    assert find_person(site, "1").id == 2
    assert [t.id.track for t in site.tracklets(TrackletFilter(person="1"))] == [3]
    for text in ("99", "Zoe", "9" * 50, "\udcff"):
        with pytest.raises(NotFoundError, match="has no person"):
            find_person(site, text)


def test_labelling_takes_just_these_tracklets(site):
    found(site, {1: (1, 2, 3)})
    assert label(site, ids(1, 2), "Anna") == 2
    assert label(site, ids(1, 2), "Anna") == 0
    assert label(site, ids(1), "Bert") == 1
    assert json.loads(json.dumps(who(site))) == {"1": [3], "2": [2], "3": [1]}
    assert [entry.time.tzinfo for entry in audit.entries(site)] == [timezone.utc] * 3
