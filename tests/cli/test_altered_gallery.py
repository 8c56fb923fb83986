"""Galleries with single altered values: every command ends with an answer or with one line."""

import random
import shutil
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.gallery.people.calibration import PeopleThresholds
from reid_dhm.gallery.people.stored_thresholds import store_thresholds
from reid_dhm.gallery.store import statements
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.people import find_person

FOLDER = Path(__file__).parents[1] / "data" / "gallery_of_version_0_1"
VALUES = [
    *(None, 0, -1, 1, 2**31, 2**62, -(2**63), 0.5, -1.0, 1e300, float("inf")),
    *("", "x", "[/b]", "../../../x", "\x1b[31m", "2026-99-99", "{", "[]", "[1]", '{"a": 1}'),
    *("9" * 5000, "[" * 100_000, b"", b"\x00", b"\xff" * 36),
]  # fmt: skip
PEOPLE = [
    *(("list",), ("show", "1"), ("count",), ("export", "--output", "people.csv")),
    ("split", "1", "49bcbb07d0d8ff8d-1"),
    ("name", "1", "Cleo"),
    ("link",),
    ("merge", "1", "2"),
]
THRESHOLDS = PeopleThresholds({1: np.ones(18, np.float32)})


def alter(path: Path, rng: random.Random) -> str:
    """Change one cell, or one byte of the file, as no release does; returns what was changed."""
    if rng.random() < 0.1:
        content = bytearray(path.read_bytes())
        place = rng.randrange(len(content))
        content[place] ^= 1 << rng.randrange(8)
        path.write_bytes(content)
        return f"byte {place}"
    with sqlite3.connect(path, isolation_level=None) as db:
        db.execute("PRAGMA writable_schema = ON")
        tables = [row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type='table'")]
        while True:
            table = rng.choice([*tables, "sqlite_master"])
            rows = [row[0] for row in db.execute(f"SELECT rowid FROM {table}")]
            columns = [row[1] for row in db.execute(f"PRAGMA table_info({table})")]
            if not rows:
                continue
            row, column, value = rng.choice(rows), rng.choice(columns), rng.choice(VALUES)
            try:
                db.execute(f'UPDATE {table} SET "{column}" = ? WHERE rowid = ?', (value, row))
            except sqlite3.DatabaseError:  # SQLite itself refuses it
                continue
            return f"{table}.{column} of row {row} = {value!r:.60}"


def check(run, folder: Path, tmp_path: Path, monkeypatch, seed: int) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(FOLDER, folder)
    with GalleryStore(folder) as gallery:  # brought up to date, with a word about its people
        first, second = (found.id for found in gallery.tracklets())
        statements.link(gallery, [first, second])
        statements.split(gallery, find_person(gallery, 1), [second])
        store_thresholds(gallery, THRESHOLDS, 2, 0)
    change = alter(folder / "gallery.sqlite", random.Random(seed))
    before = {path for path in tmp_path.rglob("*") if folder not in path.parents}
    crops, table = tmp_path / "crops", tmp_path / "table.csv"
    monkeypatch.chdir(tmp_path)
    for words in (
        ("verify",),
        *(("list", what) for what in ("videos", "cameras", "people", "tracklets", "audit")),
        ("show", "49bcbb07d0d8ff8d-1", "--crops", crops),
        ("search", "--tracklet", "49bcbb07d0d8ff8d-1", "--top-k", "3"),
        ("export", "--output", table),
        ("merge", "49bcbb07d0d8ff8d-2", "--person", "Bert"),
        *(("people", *words) for words in PEOPLE),
        ("delete", "--camera", "gate", "--before", "3", "--yes"),
        ("delete", "--camera", "door", "--yes"),
        ("compact",),
    ):
        command = words if words[0] in ("search", "people") else ("gallery", *words)
        try:
            outcome = run(*command, "--gallery", folder)
        except Exception as error:
            raise AssertionError(f"{' '.join(map(str, words))} after {change}") from error
        assert outcome.code in (0, 1), change
        if outcome.code:
            assert outcome.err.splitlines()[-1].startswith("error: "), (change, words, outcome)
    left = {path for path in tmp_path.rglob("*") if folder not in path.parents} - before
    assert all(
        path in (crops, table, tmp_path / "people.csv") or path.parent == crops for path in left
    ), (change, left)


@pytest.mark.parametrize("seed", range(25))
def test_no_command_breaks_on_an_altered_value(run, tmp_path, monkeypatch, seed):
    check(run, tmp_path / "gallery", tmp_path, monkeypatch, seed)


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_no_command_breaks_on_a_thousand_altered_values(run, tmp_path, monkeypatch):
    for seed in range(1000, 2000):
        check(run, tmp_path / "gallery", tmp_path, monkeypatch, seed)
