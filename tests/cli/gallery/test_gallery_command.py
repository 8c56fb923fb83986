import csv
import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.gallery.detect.mot import MotDetections
from reid_dhm.gallery.footage.frames import Frame
from reid_dhm.gallery.records import (
    DETECTION,
    FRAME,
    Crop,
    NewTracklet,
    NewVideo,
    TrackletFilter,
    wall_clock,
)
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter

GATE, DOOR = f"{1:016x}", f"{2:016x}"
UNIT = np.array([0.6, 0.8], np.float16)


def tracklet(track: int, start: float) -> NewTracklet:
    boxes = np.zeros(2, DETECTION)
    boxes["time"] = start, start + 1
    boxes["frame"] = boxes["time"] * 10
    boxes["box"] = (1, 2, 3.5, 4)
    jpeg = cv2.imencode(".jpg", np.full((8, 4, 3), 20 * track, np.uint8))[1].tobytes()
    crop = Crop(int(boxes["frame"][0]), start, (1, 2, 3.5, 4), 0.5, jpeg, UNIT)
    return NewTracklet(track, boxes, [crop], UNIT)


@pytest.fixture
def folder(tmp_path) -> Path:
    """Tracklets 1, 2 and 3 at the gate from 8 o'clock, one every ten seconds; one at the door."""
    path = tmp_path / "gallery"
    with GalleryStore(path, create=True) as gallery:
        gallery.claim_model("a" * 64, 2, "model")
        start = wall_clock("2026-03-01T08:00:00Z")
        for camera, hash, begin, count in (("gate", GATE, start, 3), ("door", DOOR, None, 1)):
            video = NewVideo(hash, f"/footage/{camera}.avi", 10.0, 64, 48, begin)
            writer = VideoWriter.open(gallery, camera, video)
            writer.add([tracklet(number, 10.0 * number) for number in range(1, count + 1)])
            writer.finish()
    return path


def ids(folder: Path) -> list[str]:
    with GalleryStore(folder) as gallery:
        return [str(found.id) for found in gallery.tracklets()]


def test_videos_are_listed(run, folder):
    done = run("gallery", "list", "--gallery", folder)
    assert (done.code, done.err) == (0, "")
    for word in (GATE, DOOR, "gate", "door", "2026-03-01T08:00:00+00:00", "/footage/gate.avi"):
        assert word in done.out  # whole, however narrow the terminal


def test_lists_can_be_narrowed_down_and_read_by_machines(run, folder, tmp_path):
    figures = tmp_path / "list.json"
    options = ("gallery", "list", "tracklets", "--gallery", folder, "--json", figures)
    for conditions, expected in (
        ((), [f"{GATE}-1", f"{GATE}-2", f"{GATE}-3", f"{DOOR}-1"]),
        (("--camera", "door"), [f"{DOOR}-1"]),
        (("--video", GATE), [f"{GATE}-1", f"{GATE}-2", f"{GATE}-3"]),
        (("--after", "25"), [f"{GATE}-3"]),
        (("--before", "2026-03-01T08:00:15Z"), [f"{GATE}-1"]),
    ):
        assert run(*options, *conditions).code == 0
        assert [row["tracklet"] for row in json.loads(figures.read_text())] == expected
    outcome = run(*options, "--limit", "2")
    assert "the first 2 of 4" in outcome.err
    assert len(json.loads(figures.read_text())) == 2


@pytest.mark.parametrize(
    ("what", "expected"),
    [
        ("cameras", [{"camera": "door", "videos": 1, "tracklets": 1},
                     {"camera": "gate", "videos": 1, "tracklets": 3}]),
        ("people", [{"person": "Anna", "tracklets": 2}]),
    ],
)  # fmt: skip
def test_other_lists(run, folder, tmp_path, what, expected):
    run("gallery", "merge", f"{GATE}-1", f"{DOOR}-1", "--gallery", folder, "--person", "Anna")
    figures = tmp_path / "list.json"
    assert run("gallery", "list", what, "--gallery", folder, "--json", figures).code == 0
    assert json.loads(figures.read_text()) == expected


def test_videos_that_no_clock_time_reaches_are_counted(run, folder):
    asked = ("gallery", "list", "tracklets", "--gallery", folder)
    outcome = run(*asked, "--after", "2030-01-01T00:00:00Z")
    assert outcome.out == "no matching tracklets\n"
    assert "no wall-clock time: 1 of 2 videos" in outcome.err
    assert run(*asked, "--after", "0").err == ""


def test_an_empty_list_is_said(run, folder):
    assert "has no people" in run("gallery", "list", "people", "--gallery", folder).out


def test_show_tells_all_and_writes_the_images(run, folder, tmp_path):
    images, figures = tmp_path / "pictures", tmp_path / "facts.json"
    outcome = run(
        *("gallery", "show", f"{GATE}-2", "--gallery", folder),
        *("--crops", images, "--json", figures),
    )
    assert outcome.code == 0
    assert "2026-03-01T08:00:20+00:00" in outcome.out
    facts = json.loads(figures.read_text())
    assert (facts["tracklet"], facts["start"], facts["end"]) == (f"{GATE}-2", 20, 21)
    assert facts["crops"][0]["box"] == [1, 2, 3.5, 4]
    assert cv2.imread(str(images / f"{GATE}-2_0.jpg")).shape == (8, 4, 3)


def test_merge_names_people_and_takes_names_away(run, folder):
    run("gallery", "merge", f"{GATE}-1", f"{GATE}-2", "--gallery", folder, "--person", "Anna")
    with GalleryStore(folder) as gallery:
        assert gallery.count(TrackletFilter(person="Anna")) == 2
    taken = run("gallery", "merge", f"{GATE}-1", "--gallery", folder, "--unname")
    assert taken.out == "1 of 1 tracklet changed: no name\n"
    with GalleryStore(folder) as gallery:
        assert gallery.count(TrackletFilter(person="Anna")) == 1
        assert [entry.action for entry in audit.entries(gallery)] == ["merge", "merge"]


def test_merge_joins_under_a_name_that_is_there_or_a_new_one(run, folder):
    def merge(*tracks: str) -> str:
        return run("gallery", "merge", "--gallery", folder, *tracks).out

    assert "2 of 2 tracklets changed: the name person 1" in merge(f"{GATE}-1", f"{DOOR}-1")
    assert "1 of 1 tracklet changed: the name person 2" in merge(f"{GATE}-2")
    assert "1 of 2 tracklets changed: the name person 1" in merge(f"{GATE}-3", f"{DOOR}-1")
    with GalleryStore(folder) as gallery:
        assert gallery.count(TrackletFilter(person="person 1")) == 3
    assert "1 of 2 tracklets changed: the name person 2" in merge(f"{GATE}-2", f"{GATE}-1")
    both = ("--unname", "--person", "Anna")
    assert run("gallery", "merge", "--gallery", folder, f"{GATE}-1", *both).code == 2


def test_the_audit_log_is_listed_newest_first(run, folder, tmp_path):
    figures = tmp_path / "list.json"
    with GalleryStore(folder) as gallery:
        for number in range(3):
            audit.record(gallery, "search", {"number": number})
        middle = audit.entries(gallery)[1].time.isoformat()
    options = ("gallery", "list", "audit", "--gallery", folder, "--json", figures)
    for more, numbers in (
        ((), [2, 1, 0]),
        (("--limit", "2"), [2, 1]),
        (("--before", middle), [1, 0]),
        (("--after", middle), [2, 1]),
    ):
        outcome = run(*options, *more)
        assert [row["detail"]["number"] for row in json.loads(figures.read_text())] == numbers
        assert ("the newest 2: pass a higher --limit" in outcome.err) == ("--limit" in more)
    assert "give ISO 8601 times, not seconds" in run(*options, "--after", "5").err
    assert "these options filter tracklets" in run(*options, "--camera", "gate").err


def test_names_that_a_spreadsheet_would_compute_are_harmless(run, folder, tmp_path):
    name = '=HYPERLINK("http://evil")'
    run("gallery", "merge", f"{GATE}-1", "--gallery", folder, "--person", name)
    run("gallery", "export", "--gallery", folder, "--output", tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        assert next(csv.DictReader(file))["person"] == f"'{name}"


def test_export_to_csv(run, folder, tmp_path):
    path = tmp_path / "new" / "all.csv"
    assert run("gallery", "export", "--gallery", folder, "--output", path).code == 0
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["tracklet"] for row in rows] == ids(folder)
    assert rows[0]["start_time"] == "2026-03-01T08:00:10+00:00"
    assert (rows[3]["camera"], rows[3]["start_time"], rows[3]["x2"]) == ("door", "", "3.5")


def test_export_to_standard_output_is_the_table_alone(folder):
    command = [sys.executable, "-m", "reid_dhm", "gallery", "export", "--gallery", folder]
    done = subprocess.run(
        [*command, "--output", "/dev/stdout"], capture_output=True, text=True, check=True
    )
    rows = list(csv.DictReader(done.stdout.splitlines()))
    assert rows
    assert all(row["tracklet"] and None not in row for row in rows)
    assert f"{len(rows)} tracklets: /dev/stdout" in done.stderr


def test_export_to_parquet_holds_the_embeddings(run, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    path = tmp_path / "gate.parquet"
    options = ("--gallery", folder, "--output", path, "--camera", "gate")
    assert run("gallery", "export", *options).code == 0
    rows = parquet.read_table(path).to_pylist()
    assert [row["tracklet"] for row in rows] == [f"{GATE}-{n}" for n in (1, 2, 3)]
    np.testing.assert_array_equal(rows[0]["embedding"], UNIT.astype(np.float32))
    assert rows[0]["person"] is None


def test_export_without_pyarrow_names_the_mend(run, folder, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    path = tmp_path / "all.parquet"
    outcome = run("gallery", "export", "--gallery", folder, "--output", path)
    assert outcome.code == 1
    assert "Parquet needs pyarrow, which is not installed: pip install" in outcome.err
    assert list(tmp_path.glob("all*")) == []


def test_export_to_another_kind_is_refused(run, folder, tmp_path):
    outcome = run("gallery", "export", "--gallery", folder, "--output", tmp_path / "all.xls")
    assert (outcome.code, "neither .csv nor .parquet" in outcome.err) == (1, True)


def test_export_for_tracking_tools_is_of_one_video_and_reads_back(run, folder, tmp_path):
    motmetrics = pytest.importorskip("motmetrics")
    path = tmp_path / "gate.txt"
    options = ("gallery", "export", "--gallery", folder, "--output", path, "--format", "mot")
    outcome = run(*options)
    assert (outcome.code, path.exists()) == (1, False)
    assert (
        "MOTChallenge lines are of one video, and 2 of the gallery's match: give --video HASH"
        in outcome.err
    )
    assert run(*options, "--video", GATE).code == 0
    assert path.read_text().splitlines()[0] == "101,1,2.00,3.00,2.50,2.00,0.0000,-1,-1,-1"
    read = motmetrics.io.loadtxt(str(path), fmt="mot15-2D", min_confidence=-1)
    assert list(read.index) == [(101, 1), (111, 1), (201, 2), (211, 2), (301, 3), (311, 3)]
    with GalleryStore(folder) as gallery:
        stored = np.concatenate([gallery.boxes(t.key) for t in gallery.tracklets(limit=3)])
    corners = read[["X", "Y"]].to_numpy()
    # motmetrics counts pixels from 0 as well; it takes 1 off what MOTChallenge counts from 1.
    np.testing.assert_allclose(corners, stored["box"][:, :2], atol=0.01)
    sizes = stored["box"][:, 2:] - stored["box"][:, :2]
    np.testing.assert_allclose(read[["Width", "Height"]].to_numpy(), sizes, atol=0.01)
    figures = tmp_path / "figures.json"
    assert run("benchmark", "tracking", path, "--truth", path, "--json", figures).code == 0
    assert json.loads(figures.read_text())["idf1"] == 1
    detections = MotDetections(path)
    found = detections.detect(Frame(100, 0.0, np.zeros((48, 64, 3), np.uint8)))
    np.testing.assert_allclose(found.xyxy, stored["box"][:1], atol=0.01)


def test_delete_shows_what_goes_and_needs_a_yes(run, folder):
    options = ("gallery", "delete", "--gallery", folder, "--tracklet", f"{GATE}-2")
    outcome = run(*options)
    assert outcome.code == 1
    assert f"{GATE}-2" in outcome.out
    assert "Delete 1 tracklet permanently? No terminal to answer on: pass --yes" in outcome.err
    assert len(ids(folder)) == 4
    assert run(*options, "--yes").code == 0
    assert ids(folder) == [f"{GATE}-1", f"{GATE}-3", f"{DOOR}-1"]
    with GalleryStore(folder) as gallery:
        asked, done = audit.entries(gallery)
    assert (asked.action, asked.detail) == (
        "delete",
        {"tracklets": [f"{GATE}-2"], "state": "asked"},
    )
    assert done.detail == {"tracklets": [f"{GATE}-2"], "state": "done", "deleted": 1}


@pytest.mark.parametrize(("answer", "left"), [(True, 1), (False, 4)])
def test_delete_asks_where_somebody_is_there(run, folder, monkeypatch, answer, left):
    asked = []
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: asked.append(question) or answer)
    outcome = run("gallery", "delete", "--gallery", folder, "--camera", "gate")
    assert asked == ["Delete 3 tracklets with camera gate permanently?"]
    assert ("3 tracklets deleted\n1 video deleted\ncamera gate deleted\n" in outcome.out) == answer
    assert (outcome.code, len(ids(folder))) == (0 if answer else 1, left)


def test_a_camera_alone_goes_whole_and_with_a_time_only_tracklets_go(run, folder):
    options = ("gallery", "delete", "--gallery", folder, "--yes", "--camera", "gate")
    assert run(*options, "--before", "2026-03-01T08:00:15Z").code == 0
    assert ids(folder) == [f"{GATE}-2", f"{GATE}-3", f"{DOOR}-1"]
    with GalleryStore(folder) as gallery:
        assert [camera.name for camera in gallery.cameras()] == ["door", "gate"]
    assert run(*options).code == 0
    with GalleryStore(folder) as gallery:
        assert [camera.name for camera in gallery.cameras()] == ["door"]


def test_a_video_alone_goes_whole(run, folder):
    assert run("gallery", "delete", "--gallery", folder, "--yes", "--video", GATE).code == 0
    with GalleryStore(folder) as gallery:
        assert [video.hash for video in gallery.videos()] == [DOOR]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "nothing selects what to delete"),
        (("--tracklet", f"{GATE}-9"), f"has no tracklet {GATE}-9"),
        (("--tracklet", "nine"), "'nine' is not a tracklet"),
        (("--camera", "roof"), "has no camera 'roof': it has door, gate"),
        (("--video", "ffff"), "has no video 'ffff'"),
        (("--after", "noon"), "'noon' is not an ISO 8601 time"),
        (("--after", "nan"), "'nan' is not a number of seconds from a video's start"),
        (("--before", "20260301"), "'20260301' is not a number of seconds"),
    ],
)
def test_what_cannot_be_deleted_is_named(run, folder, options, message):
    outcome = run("gallery", "delete", "--gallery", folder, "--yes", *options)
    assert outcome.code == 1
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert len(ids(folder)) == 4


def test_who_came_while_somebody_read_stays(run, folder, monkeypatch):
    def confirm(question: str) -> bool:
        with GalleryStore(folder) as gallery:
            late = NewVideo(f"{3:016x}", "/footage/late.avi", 10.0, 64, 48)
            VideoWriter.open(gallery, "late", late).add([tracklet(1, 10.0)])
        return True

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", confirm)
    outcome = run("gallery", "delete", "--gallery", folder, "--before", "15")
    assert "2 tracklets deleted" in outcome.out
    assert ids(folder) == [f"{GATE}-2", f"{GATE}-3", f"{3:016x}-1"]


def test_people_in_view_where_indexing_stopped_go_with_their_span(run, folder):
    with GalleryStore(folder) as gallery:
        writer = VideoWriter.open(
            gallery, "roof", NewVideo(f"{3:016x}", "/footage/roof.avi", 10.0, 64, 48)
        )
        seen = np.zeros(1, FRAME)
        boxes = np.zeros(0, DETECTION)
        writer.commit(Progress(Chunk(seen, boxes), 1, {1: tracklet(1, 0.0).crops}))
    options = ("gallery", "delete", "--gallery", folder, "--yes", "--after", "0", "--before", "5")
    outcome = run(*options)
    assert "and 1 unfinished track: people in view" in outcome.out
    assert "1 tracklet deleted" in outcome.out
    assert "no matching tracklets" in run(*options).out


def test_nothing_to_delete_is_said(run, folder):
    outcome = run("gallery", "delete", "--gallery", folder, "--yes", "--after", "1000")
    assert (outcome.code, "no matching tracklets" in outcome.out) == (0, True)
    with GalleryStore(folder) as gallery:
        assert audit.entries(gallery) == []


def test_verify_says_what_is_wrong(run, folder):
    outcome = run("gallery", "verify", "--gallery", folder)
    assert (outcome.code, outcome.out) == (0, f"{folder} is intact: 4 tracklets\n")
    with GalleryStore(folder) as gallery, gallery.reading() as db:
        db.execute("DELETE FROM embeddings WHERE tracklet = 2")
    outcome = run("gallery", "verify", "--gallery", folder)
    assert outcome.code == 1
    assert outcome.out == "embeddings, row 2: the tracklet with key 2 has no embedding\n"
    assert "is damaged (1 fault)" in outcome.err


def test_compact_says_what_it_gained(run, folder):
    outcome = run("gallery", "compact", "--gallery", folder)
    assert outcome.code == 0
    assert " MB before, " in outcome.out


def test_a_gallery_that_is_not_there_is_named(run, tmp_path):
    for command in ("list", "verify", "compact"):
        outcome = run("gallery", command, "--gallery", tmp_path / "nowhere")
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)
        assert "nowhere holds no gallery" in outcome.err


def test_a_gallery_is_embedded_with_another_model(run, folder, trained_run, tmp_path):
    result = tmp_path / "result.json"
    done = run("gallery", "reembed", "--gallery", folder, "--checkpoint", trained_run,
               "--json", result)  # fmt: skip
    assert done.code == 0, done.err
    assert f"{folder}: 4 tracklets embedded with {trained_run} in" in done.out
    assert f"next: reid-dhm search --gallery {folder} --query PERSON.jpg --checkpoint" in done.out
    with GalleryStore(folder) as gallery:
        assert gallery.model() == (json.loads(result.read_text())["fingerprint"],
                                   str(trained_run), 512)  # fmt: skip
    again = run("gallery", "reembed", "--gallery", folder, "--checkpoint", trained_run)
    assert f"{folder} holds the embeddings of {trained_run} already: nothing to do" in again.out
    assert json.loads(result.read_text())["tracklets"] == 4
