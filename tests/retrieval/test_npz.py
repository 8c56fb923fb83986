"""Embedding sets and their files: what is read back, and every way a file is refused."""

from __future__ import annotations

import io
import zipfile
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError, StorageError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import (
    read_evaluation_npz,
    write_embeddings,
    write_evaluation_npz,
)


@pytest.fixture
def arrays():
    rng = np.random.default_rng(0)
    return {
        "query_embeddings": rng.standard_normal((3, 4)).astype(np.float32),
        "query_pids": np.array([1, 2, 3]),
        "query_camids": np.array([1, 1, 2]),
        "gallery_embeddings": rng.standard_normal((5, 4)).astype(np.float32),
        "gallery_pids": np.array([1, -1, 0, 3, -1]),
        "gallery_camids": np.array([2, 1, 3, 1, 2]),
    }


def refused(tmp_path, arrays, match):
    path = tmp_path / "bad.npz"
    np.savez(path, **arrays)
    with pytest.raises(InputError, match=match) as caught:
        read_evaluation_npz(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_junk_gallery_rows_are_dropped_and_counted(tmp_path, arrays):
    np.savez(tmp_path / "a.npz", **arrays)
    query, gallery, num_dropped = read_evaluation_npz(tmp_path / "a.npz")
    assert num_dropped == 2
    assert gallery.pids.tolist() == [1, 0, 3]
    assert gallery.camids.tolist() == [2, 3, 1]
    np.testing.assert_array_equal(gallery.embeddings, arrays["gallery_embeddings"][[0, 2, 3]])
    np.testing.assert_array_equal(query.embeddings, arrays["query_embeddings"])


@pytest.mark.parametrize("real", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("whole", [np.int16, np.uint8, np.int64])
def test_every_real_and_integer_type_is_accepted(tmp_path, arrays, real, whole):
    arrays["gallery_pids"] = np.abs(arrays["gallery_pids"])
    for name, array in arrays.items():
        arrays[name] = array.astype(real if name.endswith("embeddings") else whole)
    np.savez(tmp_path / "a.npz", **arrays)
    query, gallery, _ = read_evaluation_npz(tmp_path / "a.npz")
    for part in (query, gallery):
        assert part.embeddings.dtype == np.float32
        assert part.pids.dtype == part.camids.dtype == np.int64
    np.testing.assert_array_equal(query.embeddings, arrays["query_embeddings"].astype(np.float32))


def test_what_is_written_is_read_back(tmp_path, arrays):
    rng = np.random.default_rng(1)
    query = EmbeddingSet(arrays["query_embeddings"], np.arange(3), np.arange(3))
    gallery = EmbeddingSet(rng.standard_normal((7, 4)), np.arange(7), np.arange(7) % 2)
    write_evaluation_npz(tmp_path / "a.npz", query, gallery)
    for written, read in zip(
        (query, gallery), read_evaluation_npz(tmp_path / "a.npz")[:2], strict=True
    ):
        np.testing.assert_array_equal(written.embeddings, read.embeddings)
        np.testing.assert_array_equal(written.pids, read.pids)
        np.testing.assert_array_equal(written.camids, read.camids)

        assert read.paths is None

    write_embeddings(
        tmp_path / "b.npz", gallery.embeddings, [f"images/ö {i}.jpg" for i in "1234567"]
    )
    with np.load(tmp_path / "b.npz", allow_pickle=False) as archive:
        assert archive.files == ["embeddings", "paths"]
        np.testing.assert_array_equal(archive["embeddings"], gallery.embeddings)
        assert archive["embeddings"].dtype == np.float32
        assert archive["paths"].tolist() == [f"images/ö {i}.jpg" for i in "1234567"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "b.npz"]


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "a.npz"
    write_embeddings(path, np.ones((1, 2), dtype=np.float32), ["old"])

    def full_disk(stream, **arrays):
        stream.write(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full_disk)
    with pytest.raises(StorageError, match="cannot be written"):
        write_embeddings(path, np.ones((1, 2), dtype=np.float32), ["new"])
    with np.load(path, allow_pickle=False) as archive:
        assert archive["paths"].tolist() == ["old"]
    assert [item.name for item in tmp_path.iterdir()] == ["a.npz"]


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.npz: no such file"):
        read_evaluation_npz(tmp_path / "none.npz")


def test_files_that_are_no_archive_are_refused(tmp_path, arrays):
    text, single = tmp_path / "text.npz", tmp_path / "single.npz"
    text.write_text("pid,camid\n")
    with single.open("wb") as stream:
        np.save(stream, arrays["query_embeddings"])
    for path in (text, single):
        with pytest.raises(InputError, match=r"not an \.npz archive"):
            read_evaluation_npz(path)


@pytest.mark.parametrize("share", [0.05, 0.5, 0.95])
def test_a_truncated_file_is_refused(tmp_path, arrays, share):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match="truncated"):
        read_evaluation_npz(path)


def test_a_damaged_array_is_refused(tmp_path, arrays):
    path = tmp_path / "a.npz"
    np.savez(path, **arrays)
    content = bytearray(path.read_bytes())
    at = content.index(arrays["gallery_embeddings"].tobytes())
    content[at] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(InputError, match="cannot be read"):
        read_evaluation_npz(path)


def test_a_missing_array_is_named(tmp_path, arrays):
    del arrays["gallery_camids"]
    refused(tmp_path, arrays, "has no array gallery_camids")


def test_pickled_objects_are_not_opened(tmp_path, arrays):
    arrays["query_pids"] = np.array([1, "2", None], dtype=object)
    refused(tmp_path, arrays, "cannot be read")


@pytest.mark.parametrize(
    ("name", "value", "match"),
    [
        ("query_pids", np.array([1, 2]), "query: pids have 2 entries for 3 embeddings"),
        ("gallery_camids", np.arange(6), "gallery: camids have 6 entries for 5 embeddings"),
        ("query_embeddings", np.ones((3, 4), dtype=int), "query: embeddings have type int64"),
        ("query_embeddings", np.ones((3, 4), dtype=complex), "type complex128"),
        ("gallery_pids", np.ones(5), "gallery: pids are .* float64: give one integer"),
        ("gallery_pids", np.ones(5, dtype=bool), "bool: give one integer"),
        ("gallery_pids", np.ones((5, 1), dtype=int), r"shape \(5, 1\)"),
        (
            "gallery_pids",
            np.full(5, 2**63, dtype=np.uint64),
            "hold 9223372036854775808, beyond the range of int64",
        ),
        ("gallery_pids", np.full(5, -1), "every gallery pid is negative"),
        ("query_pids", np.array([1, -1, 2]), "query_pids row 1 is -1"),
        ("query_embeddings", np.ones((3, 5)), "5 dimensions and gallery embeddings 4"),
        ("query_embeddings", np.ones(3), r"shape \(3,\)"),
        ("query_embeddings", np.ones((0, 4)), r"query: .*shape \(0, 4\).*N and D above 0"),
        ("gallery_embeddings", np.ones((0, 4)), r"gallery: .*shape \(0, 4\)"),
    ],
)
def test_an_unusable_array_is_refused(tmp_path, arrays, name, value, match):
    refused(tmp_path, arrays | {name: value}, match)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e300])
def test_a_row_that_is_not_finite_is_named(tmp_path, arrays, value):
    embeddings = arrays["gallery_embeddings"].astype(np.float64)
    embeddings[3, 1] = value
    refused(
        tmp_path,
        arrays | {"gallery_embeddings": embeddings},
        "gallery: embeddings row 3 holds a value that is not finite",
    )


def test_embeddings_are_written_with_one_path_each(tmp_path):
    path = tmp_path / "a.npz"
    with pytest.raises(InputError, match="paths have 1 entries"):
        write_embeddings(path, np.ones((2, 3), dtype=np.float32), ["a"])


def test_select_keeps_rows_and_paths_together():
    whole = EmbeddingSet(np.eye(3), np.arange(3), np.arange(3), ("a", "b", "c"))
    part = whole.select(np.array([2, 0]))
    assert part.pids.tolist() == [2, 0]
    assert part.paths == ("c", "a")
    assert part.embeddings.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_image_paths_are_carried_along_and_checked(tmp_path, arrays):
    paths = np.array([f"gallery/ö {i}.jpg" for i in range(5)])
    np.savez(tmp_path / "a.npz", **arrays, gallery_paths=paths)
    query, gallery, _ = read_evaluation_npz(tmp_path / "a.npz")
    assert query.paths is None
    assert gallery.paths == ("gallery/ö 0.jpg", "gallery/ö 2.jpg", "gallery/ö 3.jpg")  # no junk
    write_evaluation_npz(tmp_path / "b.npz", query, gallery)
    assert read_evaluation_npz(tmp_path / "b.npz")[1].paths == gallery.paths
    refused(tmp_path, {**arrays, "gallery_paths": paths[:4]}, "gallery: paths have 4 entries")
    refused(tmp_path, {**arrays, "query_paths": np.arange(3)}, "query: paths are an array of shape")


def with_header(tmp_path, arrays, name: str, shape: str) -> None:
    """An evaluation file in which the header of one array promises another shape."""
    np.savez(tmp_path / "good.npz", **arrays)
    with (
        zipfile.ZipFile(tmp_path / "good.npz") as good,
        zipfile.ZipFile(tmp_path / "bad.npz", "w") as bad,
    ):
        for entry in good.namelist():
            content = good.read(entry)
            if entry == f"{name}.npy":
                header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}"
                length = -(len(header) + 11) % 64 + len(header) + 1
                text = header.ljust(length - 1) + "\n"
                start = b"\x93NUMPY\x01\x00" + length.to_bytes(2, "little") + text.encode()
                content = start + arrays[name].tobytes()
            bad.writestr(entry, content)


@pytest.mark.parametrize("shape", ["(1000000000000, 4)", "(4, 10**30)", "(3, 5)", "(-3, -4)"])
def test_a_shape_that_the_file_does_not_hold_is_refused(tmp_path, arrays, shape):
    with_header(tmp_path, arrays, "query_embeddings", shape)
    with pytest.raises(InputError, match=r"bad\.npz: .*query_embeddings|cannot be read") as caught:
        read_evaluation_npz(tmp_path / "bad.npz")
    assert "\n" not in str(caught.value)


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_a_damaged_file_is_read_or_refused_in_one_line(tmp_path_factory, data):
    content = bytearray(_whole_file())
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content)
    message = ""
    try:
        read_evaluation_npz(path)
    except InputError as error:
        message = str(error)
    assert message == "" or message.startswith(str(path))
    assert "\n" not in message


@cache
def _whole_file() -> bytes:
    stream = io.BytesIO()
    rows = {"query": 2, "gallery": 3}
    arrays = {f"{side}_embeddings": np.ones((n, 2), np.float32) for side, n in rows.items()}
    for side, n in rows.items():
        arrays[f"{side}_pids"] = arrays[f"{side}_camids"] = np.arange(n)
    np.savez(stream, **arrays)
    return stream.getvalue()
