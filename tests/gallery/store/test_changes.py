"""What users say of people can be taken back, exactly, while nothing else depends on it."""

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.store import audit, changes, deletion, statement_rows, watching
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity
from reid_dhm.gallery.store.people import find_person, people
from reid_dhm.gallery.store.statements import hide, label, link, merge, name, split, tell_apart

TABLES = ("members", "people", "different", "watched")


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Eight tracklets before one camera; key n is track n. Two people are known."""
    keep(empty, np.random.default_rng(0).standard_normal((8, 8)))
    link(empty, ids(1, 2, 3))
    link(empty, ids(4, 5))
    return empty


def ids(*tracks: int) -> list[TrackletId]:
    return [TrackletId(f"{0:016x}", track) for track in tracks]


def rows(gallery: GalleryStore) -> dict[str, list]:
    with gallery.reading() as db:
        return {t: db.execute(f"SELECT * FROM {t} ORDER BY 1, 2").fetchall() for t in TABLES}


def last(gallery: GalleryStore) -> int:
    return changes.latest(gallery)[0].id


STATEMENTS = {
    "link": lambda g: link(g, ids(3, 5, 6), "anna"),
    "merge": lambda g: merge(g, people(g)[:2], "Bert", "anna"),
    "split": lambda g: split(g, find_person(g, 1), ids(2, 3), "anna"),
    "name": lambda g: name(g, find_person(g, 1), "Cleo", "anna"),
    "label": lambda g: label(g, ids(3, 7), "Dora", "anna"),
    "hide": lambda g: hide(g, find_person(g, 2), True, "anna"),
    "tell apart": lambda g: tell_apart(g, *people(g)[:2], "anna"),
}


@pytest.mark.parametrize("said", STATEMENTS.values(), ids=STATEMENTS.keys())
def test_every_statement_is_undone_exactly_and_said_again(site, said):
    before = rows(site)
    said(site)
    after = rows(site)
    assert before != after
    redo = changes.undo(site, last(site), "bert")
    assert rows(site) == before
    changes.undo(site, redo)
    assert rows(site) == after
    assert list(check_integrity(site)) == []
    assert [e.action for e in audit.entries(site)][-2:] == ["undo", "undo"]


def test_statements_are_undone_in_any_order_while_they_do_not_touch(site):
    before = rows(site)
    name(site, find_person(site, 1), "Cleo")
    first = last(site)
    link(site, ids(6, 7))
    second = last(site)
    changes.undo(site, first)
    changes.undo(site, second)
    assert rows(site) == before


def test_what_was_changed_again_is_not_undone(site):
    split(site, find_person(site, 1), ids(3))
    early = last(site)
    name(site, find_person(site, 3), "Cleo")
    kept = rows(site)
    with pytest.raises(InputError, match="was changed again; undo that first"):
        changes.undo(site, early)
    assert rows(site) == kept
    changes.undo(site, last(site))
    changes.undo(site, early)
    assert [p.num_tracklets for p in people(site)] == [3, 2]


def test_a_name_that_was_given_away_is_not_taken_back(site):
    name(site, find_person(site, 1), "Cleo")
    name(site, find_person(site, 1), None)
    early = last(site)
    name(site, find_person(site, 2), "Cleo")
    with pytest.raises(InputError, match="another person has the name 'Cleo'"):
        changes.undo(site, early)


def test_people_who_were_told_apart_stay_two_until_they_are_merged(site):
    tell_apart(site, *people(site))
    with pytest.raises(InputError, match="are two people"):
        link(site, ids(2, 5))
    merge(site, people(site))
    assert len(people(site)) == 1
    with pytest.raises(InputError, match="person 1 twice"):
        tell_apart(site, people(site)[0], people(site)[0])


def test_a_deletion_leaves_nothing_to_undo_and_no_name(site):
    name(site, find_person(site, 1), "Cleopatra")
    name(site, find_person(site, 1), None)
    early = last(site)
    deletion.delete(site, TrackletFilter(person=1))
    with pytest.raises(NotFoundError, match="can be undone"):
        changes.undo(site, early)
    site.empty_log()
    assert b"Cleopatra" not in site.path.read_bytes()


def test_a_kill_in_the_middle_leaves_nothing_recorded(site, monkeypatch):
    before = rows(site)
    monkeypatch.setattr(audit, "insert", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        name(site, find_person(site, 1), "Cleo")
    monkeypatch.undo()
    assert rows(site) == before
    name(site, find_person(site, 1), "Cleo")
    changes.undo(site, last(site))
    assert rows(site) == before


def test_a_change_of_tracklets_that_were_replaced_is_refused(site):
    name(site, find_person(site, 1), "Anna")
    link(site, ids(7, 8))
    redo = changes.undo(site, last(site))
    with site.writing(deleted=True) as db:  # as when a video is indexed to its end
        db.execute("DELETE FROM tracklets WHERE key = 7")
    with pytest.raises(InputError, match="cannot be undone: tracklets that it was about were"):
        changes.undo(site, redo)


@pytest.mark.parametrize("known", ["name", "hide", "watch"])
def test_whoever_is_known_keeps_a_confirmed_tracklet_after_a_split_and_an_undo(site, known):
    with site.writing() as db:
        db.execute("UPDATE members SET confirmed_by = NULL, confirmed_at = NULL WHERE person = 1")
    say = {
        "name": lambda: name(site, find_person(site, 1), "Anna"),
        "hide": lambda: hide(site, find_person(site, 1), True),
        "watch": lambda: watching.watch(site, find_person(site, 1)),
    }
    say[known]()
    with site.reading() as db:
        sql = "SELECT tracklet FROM members WHERE person = 1 AND confirmed_by IS NOT NULL"
        (only,) = db.execute(sql).fetchone()
    split(site, find_person(site, 1), ids(only))
    assert find_person(site, 1).num_confirmed == 1
    changes.undo(site, last(site))
    assert find_person(site, 1).num_confirmed == 1


def test_an_undo_leaves_a_watched_person_with_a_confirmed_tracklet(site):
    link(site, ids(6, 7))
    watching.watch(site, find_person(site, 3))
    said = changes.latest(site)[0].id
    with site.writing() as db:
        db.execute("DELETE FROM members WHERE tracklet = 8")
        db.execute("INSERT INTO members (tracklet, person) VALUES (8, 3)")  # found since
    changes.undo(site, said)
    assert (find_person(site, 3).num_tracklets, find_person(site, 3).num_confirmed) == (1, 1)


def test_a_split_of_very_many_pairs_is_refused_and_of_one_tracklet_never(site, monkeypatch):
    monkeypatch.setattr(statement_rows, "_MOST_PAIRS", 1)
    link(site, ids(1, 2, 3, 4, 5))
    before = rows(site)
    with pytest.raises(InputError, match=r"2 of 5 tracklets of person 1 .*split up to 1 at a time"):
        split(site, find_person(site, 1), ids(2, 3))
    assert rows(site) == before
    split(site, find_person(site, 1), ids(2))
