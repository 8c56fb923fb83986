"""Opens galleries with one altered cell by every command and endpoint: python tests/soak/cells.py.

Every column of every table takes every value below: another type, a null, a number at an edge,
damaged JSON, text that is not UTF-8. An answer, or a refusal in one line, is right; so is a status
500 that says in one sentence that the gallery is damaged.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import sys
from functools import cache
from pathlib import Path
from random import Random

from calls import call
from harness import main

sys.path.insert(0, str(Path(__file__).parents[1] / "service"))

from conftest import ColourEmbedder, build_site, jpeg, person_image

VALUES = (
    *(None, 0, -1, 1, 2**31, 2**53, 2**63 - 1, -(2**63), 0.5, -1.0, 1e300, -1e300, 5e-324),
    *(float("inf"), float("-inf"), "", "x", "0", "[/b]", "../../../x", "\x1b[31m", "2026-99-99"),
    *("9999-12-31T23:59:59Z", "{", "[]", "[1]", '{"a": 1}', "9" * 5000, "[" * 100_000, "\x00"),
    *(b"", b"\x00", b"\xff" * 36, b"\xff" * 12, b"\xfe text that is not UTF-8"),
)
DAMAGED_TEXT = "CAST(x'fffe' AS TEXT)"


@cache
def columns() -> list[tuple[str, str]]:
    """Every column of a gallery, by table and name."""
    from reid_dhm.gallery.store.schema import upgrade

    with sqlite3.connect(":memory:") as db:
        upgrade(db)
        tables = [
            name
            for (name,) in db.execute(
                "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"
            )
        ]
        return [
            (table, row[1])
            for table in sorted(tables)
            for row in db.execute(f"PRAGMA table_info({table})")
        ]


def write_site(folder: Path) -> dict[str, str]:
    """A gallery with a row in every table; ids of people by camera and name."""
    import numpy as np

    from reid_dhm.gallery.people.thresholds.calibration import PeopleThresholds
    from reid_dhm.gallery.people.thresholds.stored import store_thresholds
    from reid_dhm.gallery.records import DETECTION, FRAME, Crop, NewVideo, TrackletId
    from reid_dhm.gallery.store.cases import Content, Mark, create
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.writing import Chunk, Progress, VideoWriter

    embedder = ColourEmbedder()
    site = build_site(folder, embedder)
    with GalleryStore(site.folder) as gallery:
        video = NewVideo("f" * 16, str(folder / "gate.avi"), 10.0, 320, 240, None, settings={})
        writer = VideoWriter.open(gallery, "gate", video)
        frames = np.zeros(3, FRAME)
        frames["frame"], frames["time"] = range(3), np.arange(3) / 10
        found = np.zeros(3, DETECTION)
        found["frame"], found["time"] = range(3), np.arange(3) / 10
        found["box"], found["score"] = (10, 20, 42, 100), 0.9
        image = jpeg(person_image("anna"))
        row = embedder([person_image("anna")])[0].astype(np.float16)
        crop = Crop(1, 0.1, (10.0, 20.0, 42.0, 100.0), 0.8, image, row)
        writer.commit(Progress(Chunk(frames, found), 3, {1: [crop]}))
        with gallery.writing() as db:
            db.execute("INSERT INTO forgotten SELECT id, 0.0, 1.0 FROM videos WHERE NOT complete")
    ids = {f"{camera} {name}": id for (camera, name), id in site.ids.items()}
    people = ("people", "link", "--gallery", site.folder)
    assert call(*people, ids["gate anna"], ids["yard anna"])[0] == 0
    assert call(*people, ids["gate bert"], ids["yard cleo"])[0] == 0
    split = ("people", "split", "--gallery", site.folder, "2", ids["yard cleo"])
    code, printed = call(*split)
    assert code == 0, printed
    with GalleryStore(site.folder) as gallery:
        store_thresholds(gallery, PeopleThresholds({1: np.ones(embedder.dim, np.float32)}), 2, 0)
        with gallery.writing() as db:  # another model's embeddings, of which some are there
            db.execute("INSERT INTO new_model VALUES (1, 'ab', 'another', 6)")
            db.execute("INSERT INTO new_means SELECT * FROM embeddings WHERE tracklet < 3")
            db.execute("INSERT INTO new_crops SELECT id, rank, embedding FROM crops WHERE id < 4")
        marks = [Mark(TrackletId.parse(ids["gate anna"]), True, 0.9, 0.8, "a red shirt")]
        create(gallery, Content("Red shirt", "at the gate", {"cameras": ["gate"]}, marks), [image])
    (folder / "ids.json").write_text(json.dumps(ids))
    return ids


def alter(path: Path, number: int, random: Random) -> str:
    """Change the cell that a number stands for, past all constraints; which and to what."""
    table, column = columns()[number // (len(VALUES) + 1)]
    place = number % (len(VALUES) + 1)
    value = VALUES[place] if place < len(VALUES) else None
    sql = "?" if place < len(VALUES) else f"coalesce(?, {DAMAGED_TEXT})"
    db = sqlite3.connect(path, isolation_level=None)
    try:
        db.execute("PRAGMA ignore_check_constraints = ON")
        rows = [row for (row,) in db.execute(f"SELECT rowid FROM {table}")]
        if not rows:
            raise RuntimeError(f"{table} has no row to alter")
        row = random.choice(rows)
        try:
            db.execute(f'UPDATE {table} SET "{column}" = {sql} WHERE rowid = ?', (value, row))
        except sqlite3.DatabaseError as error:  # SQLite itself refuses it
            return f"nothing ({error})"
        return f"{table}.{column} of row {row} = {value!r:.60}"
    finally:
        db.close()


class Cells:
    """Altered cells, read by all commands or by all endpoints."""

    cases = len(columns()) * (len(VALUES) + 1)

    def prepare(self, folder: Path) -> None:
        """Write the gallery."""
        write_site(folder)

    def attempt(self, number: int, random: Random, prepared: Path, folder: Path) -> str:
        """Alter a cell and read the gallery; -1 leaves it as it is."""
        site = folder / "site"
        shutil.copytree(prepared / "site", site)
        ids = json.loads((prepared / "ids.json").read_text())
        change = "nothing" if number < 0 else alter(site / "gallery.sqlite", number, random)
        try:
            refused = self.read(site, ids)
        except Exception as error:
            raise RuntimeError(f"after {change}") from error
        if refused and number < 0:
            raise RuntimeError(f"a sound gallery is refused: {refused}")
        return "refused" if refused else "accepted"

    def read(self, site: Path, ids: dict[str, str]) -> str:
        """Read it in every way; what was refused first."""
        raise NotImplementedError


class Commands(Cells):
    """Every command that opens a gallery."""

    def read(self, site: Path, ids: dict[str, str]) -> str:
        """See :meth:`Cells.read`."""
        refused = ""
        anna, bert, dora = ids["gate anna"], ids["gate bert"], ids["yard dora"]
        for words in (
            ("gallery verify",),
            *((f"gallery list {what}",) for what in ("videos", "cameras", "people", "tracklets")),
            ("gallery list audit",),
            ("gallery show", anna, "--crops", "crops"),
            ("search --top-k 3 --report report --json found.json --tracklet", anna),
            ("gallery export --output table.csv",),
            ("gallery export --output table.parquet",),
            ("people list",),
            ("people show 1",),
            ("people count",),
            ("people export --output people.csv",),
            ("people link",),
            ("people name 1 carl",),
            ("people merge 1 2",),
            ("people split 1", anna),
            ("gallery merge --person dora", dora),
            ("gallery delete --yes --tracklet", bert),
            ("gallery delete --yes --camera gate --before 3",),
            ("gallery delete --yes --camera yard",),
            ("gallery compact",),
            ("gallery verify",),
        ):
            arguments = [*words[0].split(), *words[1:]]
            code, printed = call(*arguments, "--gallery", site)
            refused = refused or (printed if code else "")
        return refused


class Endpoints(Cells):
    """Every endpoint of the service."""

    def read(self, site: Path, ids: dict[str, str]) -> str:
        """See :meth:`Cells.read`."""
        from fastapi.testclient import TestClient

        from reid_dhm.errors import ReidError
        from reid_dhm.service.app import create_app
        from reid_dhm.service.auth import Tokens
        from reid_dhm.service.state import Service

        try:
            service = Service.open(site, ColourEmbedder(), Tokens({}))
        except ReidError as error:
            return str(error)
        app = create_app(service, "127.0.0.1", ())
        refused = ""
        with TestClient(app, base_url="http://127.0.0.1:8000") as client:
            for method, path, body in _requests(ids):
                answer = client.request(method, path, **body)
                if answer.status_code >= 500:
                    detail = answer.json()["detail"]
                    if "\n" in detail or answer.status_code not in (500, 503):
                        raise RuntimeError(f"{method} {path}: {answer.status_code} {detail}")
                refused = refused or ("" if answer.status_code < 400 else answer.text)
        return refused


def _requests(ids: dict[str, str]) -> list[tuple[str, str, dict]]:
    anna, cleo = ids["gate anna"], ids["yard cleo"]
    video = anna.split("-")[0]
    picture = {"files": {"pictures": jpeg(person_image("anna"))}}
    box = {"video": video, "frame": 12, "box": [94, 20, 126, 100]}
    pages = ("gallery", "cameras", "videos", "tracklets", "tracklets?camera=gate&from=1")
    of_one = ("", "/thumbnail", "/crops/0")
    frames = (f"{frame}{more}" for frame in (0, 12, 39) for more in ("", "?boxes=true", "/people"))
    return [
        *(("GET", path, {}) for path in ("/", "/health", "/metrics", "/api/session")),
        *(("GET", f"/api/{page}", {}) for page in pages),
        *(("GET", f"/api/tracklets/{id}{more}", {}) for id in (anna, cleo) for more in of_one),
        ("GET", f"/api/videos/{video}", {}),
        *(("GET", f"/api/videos/{video}/frames/{frame}", {}) for frame in frames),
        ("POST", "/api/search/tracklets", {"json": {"tracklets": [anna]}}),
        ("POST", "/api/search/frame", {"json": box}),
        ("POST", "/api/search/pictures", picture),
        *(("GET", f"/api/{path}", {}) for path in ("people?hidden=true", "people/1", "questions")),
        *(
            ("GET", f"/api/{path}", {})
            for path in ("changes", "cases", "cases/1", "cases/1/report")
        ),
        ("GET", "/api/cases/1/pictures/1", {}),
        ("GET", f"/api/tracklets/{anna}/clip", {}),
        ("POST", "/api/undo", {"json": {"change": 3}}),
        ("POST", "/api/differences", {"json": {"people": [1, 2]}}),
        ("POST", "/api/deletions", {"json": {"cameras": ["gate"], "dry_run": True}}),
        ("DELETE", f"/api/tracklets/{cleo}", {}),
        ("POST", "/api/deletions", {"json": {"after": 1}}),
        ("DELETE", f"/api/videos/{video}", {}),
        ("DELETE", "/api/cameras/2", {}),
    ]


SUBJECTS = {"commands": Commands(), "endpoints": Endpoints()}

if __name__ == "__main__":
    sys.exit(main(__file__))
