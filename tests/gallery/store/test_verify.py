import numpy as np
import pytest

from reid_dhm.gallery.store.integrity import check_integrity


def break_it(gallery, statement: str, *values) -> list[str]:
    """The problems after a statement that no program of ours would run."""
    with gallery.reading() as db:
        db.execute("PRAGMA foreign_keys = OFF")
        db.execute(statement, values)
    return list(check_integrity(gallery))


def test_an_indexed_gallery_is_whole(indexed):
    told = []
    assert list(check_integrity(indexed, lambda done, total: told.append((done, total)))) == []
    assert told[-1] == (indexed.count(), indexed.count())
    assert indexed.count() >= 4  # two people before two cameras


@pytest.mark.parametrize(
    ("statement", "problem"),
    [
        ("DELETE FROM embeddings WHERE tracklet = 1", "the tracklet with key 1 has no embedding"),
        ("DELETE FROM boxes WHERE tracklet = 1", "the tracklet with key 1 has no boxes"),
        ("DELETE FROM crops WHERE tracklet = 1", "the tracklet with key 1 has no crops"),
        (
            "DELETE FROM crops WHERE tracklet = 1 AND rank = 0",
            "the tracklet with key 1 lacks some of its crops",
        ),
        ("DELETE FROM videos WHERE id = 1", "belongs to no row of videos"),
        ("UPDATE gallery SET dim = 5", "does not have the model's length"),
        ("UPDATE gallery SET dim = NULL", "gallery, row 1: a model without"),
        ("UPDATE videos SET fps = 1e300 WHERE id = 1", "videos.fps, row 1: 1e+300 is not from"),
        ("UPDATE videos SET height = -1 WHERE id = 1", "videos.height, row 1: -1 is not from"),
        ("UPDATE videos SET position = 5 WHERE id = 1", "videos.position, row 1: "),
        ("UPDATE videos SET position = -5 WHERE id = 1", "videos.position, row 1: -5 is not"),
        ("UPDATE crops SET x2 = 1e999 WHERE id = 1", "crops.x2, row 1: inf is not from"),
        ("UPDATE crops SET y1 = y2 + 1 WHERE id = 1", "crops, row 1: a box whose sides"),
        ("UPDATE tracklets SET start = 'x' WHERE key = 1", "tracklets.start, row 1: not of the"),
        ("UPDATE crops SET jpeg = x'ffd8' WHERE tracklet = 1", "cannot be decoded"),
        ("UPDATE tracklets SET num_boxes = 99 WHERE key = 1", "does not agree with its boxes"),
        ('UPDATE tracklets SET "end" = 99 WHERE key = 1', "with its boxes' times"),
        ("INSERT INTO chunks VALUES (1, 0, x'', x'')", "is complete but keeps unfinished work"),
    ],
)
def test_what_is_missing_or_damaged_is_named(indexed, statement, problem):
    found = break_it(indexed, statement)
    assert any(problem in line for line in found), found


@pytest.mark.parametrize("table", ["embeddings", "crops"])
def test_an_embedding_that_is_no_unit_vector_is_named(indexed, table):
    column = {"embeddings": "mean", "crops": "embedding"}[table]
    half = np.full(indexed.dim, 0.01, np.float16).tobytes()
    found = break_it(indexed, f"UPDATE {table} SET {column} = ? WHERE tracklet = 1", half)
    place = "embeddings.mean, row 1: " if table == "embeddings" else "key 1: not a unit vector"
    assert [line for line in found if place in line]


def test_damage_to_the_file_itself_is_found(indexed):
    indexed.empty_log()
    pages = bytearray(indexed.path.read_bytes())
    with indexed.reading() as db:
        (root,) = db.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'sqlite_autoindex_tracklets_1'"
        ).fetchone()
        (size,) = db.execute("PRAGMA page_size").fetchone()
    start = (root - 1) * size
    pages[start + 3 : start + 5] = b"\0\0"  # an index that holds nothing
    indexed.path.write_bytes(pages)
    assert any("the file is damaged" in line for line in check_integrity(indexed))
