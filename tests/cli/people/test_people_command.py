"""``reid-dhm people``: six people over two cameras, found, corrected, counted and exported."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person, members

GATE, DOOR = f"{1:016x}", f"{2:016x}"


@pytest.fixture
def folder(people_folder) -> Path:
    """All six at the gate, four of them again at the door."""
    return people_folder


@pytest.fixture
def linked(run, folder) -> Path:
    """The same with its people found."""
    assert run("people", "link", "--gallery", folder).code == 0
    return folder


def listed(run, folder: Path, *options: object) -> list[dict]:
    figures = folder.parent / "list.json"
    assert run("people", "list", "--gallery", folder, "--json", figures, *options).code == 0
    return json.loads(figures.read_text())


def test_people_are_found_over_all_cameras(run, folder):
    outcome = run("people", "link", "--gallery", folder)
    assert outcome.out.splitlines()[0] == "11 tracklets: 6 people"
    assert f"next: reid-dhm people list --gallery {folder}" in outcome.out
    people = listed(run, folder)
    assert [p["tracklets"] for p in people] == [3, 2, 2, 2, 1, 1]
    assert people[0]["cameras"] == ["gate", "door"]
    assert people[0]["first_seen"] == "2026-03-01T08:00:00+01:00"
    assert people[0]["last_seen"] == "2026-03-01T09:00:39.900000+01:00"
    assert people[0]["seconds"] == pytest.approx(3 * 9.9)
    again = run("people", "link", "--gallery", folder)
    assert "0 new, 0 gone; 0 tracklets added, 0 moved" in again.out
    assert listed(run, folder) == people


def test_the_list_can_be_narrowed_down(run, linked):
    for options, numbers in (
        (("--camera", "door"), [1, 2, 3, 4]),
        (("--min-cameras", "2"), [1, 2, 3, 4]),
        (("--before", "2026-03-01T08:00:05+01:00"), [1, 2, 3, 4, 5, 6]),
        (("--after", "2026-03-01T08:01:00+01:00", "--before", "2026-03-01T08:30:00+01:00"), [1]),
        (("--named",), []),
    ):
        assert [p["person_id"] for p in listed(run, linked, *options)] == numbers
    (row,) = listed(run, linked, "--video", GATE, "--after", "100")
    assert (row["tracklets"], row["cameras"]) == (1, ["gate"])  # of the tracklets that match
    outcome = run("people", "list", "--gallery", linked, "--limit", "2")
    assert "the first 2 of 6" in outcome.err
    assert max(map(len, outcome.out.splitlines())) <= 80


def test_what_is_said_outlasts_a_pass_and_is_shown(run, linked, tmp_path):
    assert (
        "person 3 (Anna): 2 tracklets, 1 confirmed"
        in run("people", "name", "--gallery", linked, "3", "Anna").out
    )
    split = run("people", "split", "--gallery", linked, "1", f"{GATE}-7").out.splitlines()
    assert split == ["new: person 7: 1 tracklet, 0 confirmed",
                     "left: person 1: 2 tracklets, 0 confirmed"]  # fmt: skip
    joined = run("people", "link", "--gallery", linked, f"{GATE}-5", f"{GATE}-3")
    assert joined.code == 0  # two who were seen at once: the user knows better
    assert "2 tracklets confirmed: person 3 (Anna): 3 tracklets, 2 confirmed" in joined.out
    assert run("people", "link", "--gallery", linked).code == 0
    with GalleryStore(linked) as gallery:
        who = {str(t.id): t.person for t in gallery.tracklets()}
        assert who[f"{GATE}-5"] == who[f"{GATE}-3"] == "Anna"
        assert who[f"{GATE}-7"] not in (who[f"{GATE}-1"], None)
        actions = [entry.action for entry in audit.entries(gallery)]
    assert actions == ["link", "name", "split", "link", "link"]
    figures = tmp_path / "anna.json"
    shown = run("people", "show", "--gallery", linked, "Anna", "--json", figures,
                "--crops", tmp_path / "crops")  # fmt: skip
    assert "person 3 (Anna): " in shown.out
    assert max(map(len, shown.out.splitlines()[:-1])) <= 80
    facts = json.loads(figures.read_text())
    origins = {a["tracklet"]: a["confirmed_by"] is not None for a in facts["appearances"]}
    assert origins[f"{GATE}-3"]
    assert origins[f"{GATE}-5"]
    assert all(Path(a["crop"]).is_file() for a in facts["appearances"])
    assert run("people", "name", "--gallery", linked, "Anna", "--unname").code == 0
    merged = run("people", "merge", "--gallery", linked, "1", "2")
    assert "person 1: 4 tracklets, 2 confirmed" in merged.out


def test_a_route_is_drawn_on_one_axis(run, linked):
    lines = run("people", "show", "--gallery", linked, "1").out.splitlines()
    assert lines[0] == ("person 1: 3 tracklets, 0 confirmed; 2 cameras, 3 visits, in view 29.7 s")
    gate, door, axis = lines[1:4]
    assert gate.startswith("  gate |=")
    assert door.rstrip().endswith("=|")
    assert axis.split() == ["2026-03-01", "08:00:00", "2026-03-01", "09:00:39"]


def test_people_are_counted(run, linked, tmp_path):
    figures, drawing = tmp_path / "counts.json", tmp_path / "ways.svg"
    outcome = run("people", "count", "--gallery", linked, "--json", figures, "--figure", drawing)
    assert max(map(len, outcome.out.splitlines()[:-1])) <= 80
    found = json.loads(figures.read_text())
    hours = {(each["camera"], each["hour"]): each["people"] for each in found["hours"]}
    assert hours == {
        ("gate", "2026-03-01T08:00:00+01:00"): 6,
        (None, "2026-03-01T08:00:00+01:00"): 6,
        ("door", "2026-03-01T09:00:00+01:00"): 4,
        (None, "2026-03-01T09:00:00+01:00"): 4,
    }
    ways = {(each["from"], each["to"]): each["count"] for each in found["flows"]}
    assert ways == {
        ("outside", "gate"): 6,
        ("gate", "gate"): 1,
        ("gate", "door"): 4,
        ("gate", "outside"): 2,
        ("door", "outside"): 4,
    }
    stays = {each["camera"]: (each["people"], each["visits"]) for each in found["stays"]}
    assert stays == {"gate": (6, 7), "door": (4, 4)}
    assert found["stays"][0]["median"] == pytest.approx(9.9)
    assert drawing.read_text().startswith("<svg")
    longer = run("people", "count", "--gallery", linked, "--gap", "200", "--json", figures)
    assert longer.code == 0
    assert {s["camera"]: s["visits"] for s in json.loads(figures.read_text())["stays"]} == {
        "gate": 6,
        "door": 4,
    }
    refused = run("people", "count", "--gallery", linked, "--figure", tmp_path / "ways.png")
    assert refused.code == 2


def test_people_are_exported_as_tables(run, linked, tmp_path):
    import pyarrow.parquet as pq

    run("people", "name", "--gallery", linked, "2", "=Anna")
    for name in ("people.csv", "people.json", "people.parquet"):
        outcome = run("people", "export", "--gallery", linked, "--output", tmp_path / name)
        assert outcome.out == f"11 tracklets: {tmp_path / name}\n"
    with (tmp_path / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [int(row["person_id"]) for row in rows] == [1, 1, 1, 2, 2, 3, 3, 4, 4, 5, 6]
    assert rows[3]["person"] == rows[3]["name"] == "'=Anna"
    assert bool(rows[3]["confirmed_by"]) != bool(rows[4]["confirmed_by"])
    people = json.loads((tmp_path / "people.json").read_text())
    assert [(p["person"], len(p["appearances"])) for p in people][:2] == [("1", 3), ("=Anna", 2)]
    table = pq.read_table(tmp_path / "people.parquet").to_pylist()
    assert [row["tracklet"] for row in table] == [row["tracklet"] for row in rows]
    only = run("people", "export", "--gallery", linked, "--output", tmp_path / "one.csv",
               "--person", "=Anna")  # fmt: skip
    assert only.out.startswith("2 tracklets")
    assert run("people", "export", "--gallery", linked, "--output", tmp_path / "a.txt").code == 1


def test_people_of_one_video_are_exported_as_motchallenge_lines(run, linked, tmp_path):
    path = tmp_path / "gate.txt"
    asked = ("people", "export", "--gallery", linked, "--format", "mot", "--output", path)
    refused = run(*asked)
    assert "lines are of one video, and 2 of the gallery's match: give --video" in refused.err
    assert not path.exists()
    assert run(*asked, "--video", GATE).out == f"700 boxes: {path}\n"
    lines = np.loadtxt(path, delimiter=",")
    assert lines.shape == (700, 10)
    assert (np.diff(lines[:, 0]) >= 0).all()
    assert lines[0].tolist() == [1, 1, 1, 6, 20, 60, 0.9, -1, -1, -1]
    of_first = lines[lines[:, 1] == 1]
    assert len(of_first) == 200  # both tracklets of the person who came back
    run("people", "link", "--gallery", linked, f"{GATE}-1", f"{GATE}-2")
    assert run(*asked, "--video", GATE).code == 0
    lines = np.loadtxt(path, delimiter=",")
    assert len(np.unique(lines[:, :2], axis=0)) == len(lines) == 600  # one box a frame and person


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("show", "99"), "has no person '99': give a number or a name"),
        (("link", f"{GATE}-1"), "fewer than two tracklets"),
        (("link", "--travel", "gate=3"), "is not two cameras and seconds"),
        (("link", "--travel", "gate,cellar=3"), "has no camera 'cellar'"),
        (("split", "1", f"{GATE}-2"), "does not belong to person 1"),
        (("name", "1", "12"), "digits alone are a person's number"),
        (("merge", "1"), "fewer than two people"),
        (("list", "--camera", "cellar"), "has no camera 'cellar'"),
    ],
)
def test_refusals_are_one_line_and_change_nothing(run, linked, words, message):
    with GalleryStore(linked) as gallery:
        before = [column.tolist() for column in members(gallery)]
    outcome = run("people", *words, "--gallery", linked)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    with GalleryStore(linked) as gallery:
        assert [column.tolist() for column in members(gallery)] == before


def test_nobody_gets_from_camera_to_camera_faster_than_said(run, folder):
    assert run("people", "link", "--gallery", folder, "--travel", "gate,door=7200").code == 0
    assert len(listed(run, folder)) == 10
    assert listed(run, folder, "--min-cameras", "2") == []


def test_an_empty_gallery_and_one_without_people_say_so(run, folder, tmp_path):
    for command in ("list", "count"):
        outcome = run("people", command, "--gallery", folder)
        assert outcome.out == "no people: reid-dhm people link finds them\n"
    GalleryStore(tmp_path / "new", create=True).close()
    assert run("people", "link", "--gallery", tmp_path / "new").out.startswith("0 tracklets")


def test_deleting_a_person_deletes_the_name(run, linked):
    run("people", "name", "--gallery", linked, "1", "Anna Secret")
    outcome = run("gallery", "delete", "--gallery", linked, "--person", "Anna Secret", "--yes")
    assert "3 tracklets deleted" in outcome.out
    assert b"Anna Secret" not in (linked / "gallery.sqlite").read_bytes()
    with GalleryStore(linked) as gallery, pytest.raises(Exception, match="has no person"):
        find_person(gallery, 1)


def test_people_are_watched_listed_and_watched_no_longer(run, linked):
    assert run("people", "watch", "--gallery", linked).out == "nobody is watched\n"
    run("people", "name", "--gallery", linked, "1", "Anna")
    assert "watched from now on: person " in run("people", "watch", "--gallery", linked, "Anna").out
    assert "Anna" in run("people", "watch", "--gallery", linked).out
    assert "no longer watched" in run("people", "unwatch", "--gallery", linked, "Anna").out
    assert "was not watched" in run("people", "unwatch", "--gallery", linked, "Anna").out
    assert run("people", "watch", "--gallery", linked, "Zoe").code == 1
