"""Strings from outside, as commands print and store them."""

import errno
import json
import re
import shutil
import sqlite3
from pathlib import Path

import pytest

from reid_dhm.cli.output import count_of, printable
from reid_dhm.gallery.store import audit, database
from reid_dhm.gallery.store.gallery import GalleryStore

FIRST, SECOND = "49bcbb07d0d8ff8d-1", "49bcbb07d0d8ff8d-2"


@pytest.fixture
def folder(tmp_path) -> Path:
    """A gallery of two tracklets at the gate, and an unfinished video at the door."""
    source = Path(__file__).parents[2] / "data" / "gallery_of_version_0_1"
    return Path(shutil.copytree(source, tmp_path / "gallery"))


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Anna Müller", "Anna Müller"),
        ("[/blue]", "[/blue]"),
        ("\x1b[31mred\x07", "\\x1b[31mred\\x07"),
        ("two\nlines\r", "two\\nlines\\r"),
        ("\udcff", "\\xff"),
        ("\u202etxt", "\\u202etxt"),
        (None, "None"),
    ],
)
def test_text_is_shown_as_it_is(text, shown):
    assert printable(text) == shown


def test_long_text_is_shortened_in_the_middle():
    shown = printable("a" * 100_000 + "b")
    assert len(shown) < 1010
    assert (shown[0], shown[-1]) == ("a", "b")


def test_nouns_are_counted():
    assert [count_of(number, "tracklet") for number in (0, 1, 2)] == [
        "0 tracklets",
        "1 tracklet",
        "2 tracklets",
    ]


@pytest.mark.parametrize(
    "name", ["[/blue]", "gate [north]", "[bold]", ":smile:", "\x1b[31mred", "\\"]
)
def test_a_name_is_no_markup_in_any_command(run, folder, tmp_path, name):
    shown = printable(name)
    with sqlite3.connect(folder / database.FILE) as db:  # as older releases took names
        db.execute("UPDATE tracklets SET person = ?", (name,))
        db.execute("UPDATE cameras SET name = ? WHERE name = 'gate'", (name,))
    at = ("--gallery", folder)
    for words in (
        ("gallery", "list", "tracklets"),
        ("gallery", "list", "videos"),
        ("gallery", "list", "cameras"),
        ("gallery", "list", "people"),
        ("gallery", "show", FIRST),
        ("search", "--tracklet", FIRST),
    ):
        outcome = run(*words, *at)
        assert (outcome.code, shown in outcome.out) == (0, True), (words, outcome)
        assert "\x1b" not in outcome.out
    assert run("gallery", "list", "audit", *at).code == 0
    assert run("gallery", "export", *at, "--output", tmp_path / "all.csv").code == 0
    outcome = run("gallery", "delete", *at, "--person", name, "--yes")
    assert (outcome.code, shown in outcome.out) == (0, True)
    assert "2 tracklets deleted" in outcome.out
    outcome = run("gallery", "delete", *at, "--camera", name, "--yes")
    assert (outcome.code, f"camera {shown} deleted" in outcome.out) == (0, True)


@pytest.mark.parametrize("name", ["\x1b[31m", "a\nb", "\udcff", "x" * 100_000, ""])
def test_a_name_that_cannot_be_shown_is_refused_where_it_enters(run, folder, name):
    outcome = run("gallery", "merge", FIRST, "--gallery", folder, "--person", name)
    assert (outcome.code, outcome.err.count("\n")) == (1, 1)
    assert "is not allowed: give 1 to 200 printable characters" in outcome.err
    assert len(outcome.err) < 400


def test_options_that_are_not_utf_8_find_nothing_in_one_line(run, folder):
    at = ("--gallery", folder)
    outcome = run("gallery", "list", "tracklets", *at, "--person", "\udcff")
    assert (outcome.code, outcome.out) == (0, "no matching tracklets\n")
    for option in ("--camera", "--video"):
        outcome = run("gallery", "list", "tracklets", *at, option, "\udcff")
        assert (outcome.code, outcome.err.count("\n")) == (1, 1)


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("gallery", "list", "tracklets", "--limit", "1" + 20 * "0"), 0),
        (("gallery", "list", "audit", "--limit", "1" + 20 * "0"), 0),
        (("search", "--tracklet", FIRST, "--top-k", "1" + 20 * "0"), 0),
        (("search", "--tracklet", FIRST, "--by-person", "--top-k", "1" + 20 * "0"), 0),
        (("gallery", "show", "a-" + "9" * 5000), 1),
        (("gallery", "delete", "--tracklet", "9" * 5000, "--yes"), 1),
        (("gallery", "list", "tracklets", "--after", "9999-12-31T23:59:59Z"), 1),
        (("gallery", "list", "audit", "--before", "0001-01-01T00:00:00+14:00"), 1),
        (("gallery", "list", "tracklets", "--before", "9" * 5000), 1),
    ],
)
def test_numbers_of_any_size_end_in_an_answer_or_one_line(run, folder, words, code):
    outcome = run(*words, "--gallery", folder)
    assert outcome.code == code
    if code:
        assert outcome.err.count("\n") == 1
        assert len(outcome.err) < 400


def test_show_writes_no_crop_outside_its_folder(run, folder, tmp_path):
    with sqlite3.connect(folder / database.FILE) as db:
        db.execute("UPDATE videos SET hash = '../../../x' WHERE id = 1")
    (tmp_path / "a" / "b").mkdir(parents=True)
    id = "../../../x-1"
    outcome = run("gallery", "show", id, "--gallery", folder, "--crops", tmp_path / "a" / "b" / "c")
    assert outcome.code == 1
    assert "is not the hash of a video" in outcome.err
    assert not list(tmp_path.rglob("*.jpg"))


def test_a_full_disk_leaves_no_half_crop(run, folder, tmp_path, monkeypatch):
    write = Path.write_bytes

    def write_half(self, data):
        write(self, data[: len(data) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", write_half)
    crops = tmp_path / "crops"
    outcome = run("gallery", "show", FIRST, "--gallery", folder, "--crops", crops)
    assert outcome.code == 1
    assert "No space left on device" in outcome.err
    assert list(crops.iterdir()) == []


def test_an_export_that_cannot_be_audited_leaves_no_file(run, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(database, "_PATIENCE_MS", 50)
    table = tmp_path / "all.csv"
    table.write_text("before")
    other = sqlite3.connect(folder / database.FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    outcome = run("gallery", "export", "--gallery", folder, "--output", table)
    assert outcome.code == 1
    assert "locked by another process" in outcome.err
    assert table.read_text() == "before"
    other.execute("ROLLBACK")
    assert run("gallery", "export", "--gallery", folder, "--output", table).code == 0
    assert len(table.read_text().splitlines()) == 3
    with GalleryStore(folder) as gallery:
        entry = audit.latest(gallery, 1)[0]
    assert (entry.action, json.dumps(entry.detail)) == (
        "export",
        json.dumps({"file": str(table), "tracklets": 2}),
    )


@pytest.mark.parametrize(
    "words",
    [
        ("eval", "--embeddings", "a.npz", "--", "VALUE"),
        ("gallery", "list", "--gallery", "gone", "--VALUE"),
        ("export", "--checkpoint", "gone", "--output", "a.onnx", "--format", "VALUE"),
        ("VALUE",),
        ("--VALUE",),
    ],
    ids=lambda words: words[0],
)
def test_wrong_usage_shows_what_was_typed_as_text_of_bounded_length(run, words):
    values = {"\u202etxt\x1b[31m": "txt", "[/blue]": "[/blue]", "a" * 100_000: "aaaa"}
    for value, shown in values.items():
        code, _, err = run(*(word.replace("VALUE", value) for word in words))
        assert code == 2
        assert not {"\u202e", "\x1b"} & set(err)
        assert len(err) < 5000
        assert shown in re.sub(r"[│\s]", "", err)  # without the frame around it
