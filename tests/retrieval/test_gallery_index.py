"""The FAISS index answers exactly, in a defined order, and says what it is."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.retrieval import index
from reid_dhm.retrieval import index as index_module
from reid_dhm.retrieval.index import GalleryIndex


@pytest.fixture
def nearest(answers):
    def nearest(query, gallery, metric, k):
        """The k closest, equal ones in gallery order."""
        return [answer.order[:k] for answer in answers(query, gallery, metric)]

    return nearest


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_neighbours_equal_the_definition(nearest, metric):
    rng = np.random.default_rng(0)
    query, gallery = (rng.standard_normal((n, 16)).astype(np.float32) for n in (6, 150))
    scores, indices = GalleryIndex(gallery, metric=metric).search(query, 10)
    assert indices.tolist() == nearest(query, gallery, metric, 10)
    if metric == "cosine":
        similarity = query @ gallery.T
        similarity /= np.linalg.norm(query, axis=1)[:, None] * np.linalg.norm(gallery, axis=1)
    else:
        similarity = -np.linalg.norm(query[:, None] - gallery, axis=2)
    np.testing.assert_allclose(scores, np.take_along_axis(similarity, indices, 1), atol=1e-5)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
@pytest.mark.parametrize("spread", [1e-3, 3e-6])
def test_neighbours_that_float32_cannot_tell_apart_are_still_exact(nearest, metric, spread):
    rng = np.random.default_rng(1)
    offset = rng.standard_normal(24)
    query, gallery = (
        (offset + spread * rng.standard_normal((n, 24))).astype(np.float32) for n in (5, 200)
    )
    _, indices = GalleryIndex(gallery, metric=metric).search(query, 7)
    assert indices.tolist() == nearest(query, gallery, metric, 7)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_equal_rows_stand_in_gallery_order_however_many_there_are(nearest, metric):
    rng = np.random.default_rng(2)
    gallery = rng.standard_normal((3, 40)).astype(np.float32)[rng.integers(0, 3, 900)]
    query = rng.standard_normal((4, 40)).astype(np.float32)
    _, indices = GalleryIndex(gallery, metric=metric).search(query, 100)
    assert indices.tolist() == nearest(query, gallery, metric, 100)


def test_blocks_do_not_change_the_answer():
    rng = np.random.default_rng(3)
    query, gallery = (rng.standard_normal((n, 32)).astype(np.float32) for n in (50, 700))
    gallery[350:] = gallery[:350]
    scores, indices = GalleryIndex(gallery).search(query, 20)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(index, "_QUERIES", 7)
        patch.setattr(index, "_ROWS", 64)
        patch.setattr(index, "_ADDED", 100)
        patch.setattr(index, "_TASK", 30)
        patch.setattr(index, "_SWEEP", 2000)
        again = GalleryIndex(gallery).search(query, 20)
    np.testing.assert_array_equal(scores, again[0])
    np.testing.assert_array_equal(indices, again[1])


def test_more_neighbours_than_the_gallery_has_are_padded():
    gallery = np.eye(3, dtype=np.float32)
    scores, indices = GalleryIndex(gallery).search(gallery[:1], 5)
    assert indices.tolist() == [[0, 1, 2, -1, -1]]
    assert scores.tolist() == [[1.0, 0.0, 0.0, -np.inf, -np.inf]]


def test_a_limit_on_candidates_is_made_up_by_the_sweep(nearest):
    rng = np.random.default_rng(4)
    query, gallery = (rng.standard_normal((n, 8)).astype(np.float32) for n in (3, 300))
    limited = GalleryIndex(gallery)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limited, "device", "cuda")  # where FAISS's limit on k holds
        patch.setattr(index, "_GPU_MAX_K", 10)
        _, indices = limited.search(query, 50)
    assert indices.tolist() == nearest(query, gallery, "cosine", 50)


def test_it_names_itself():
    served = GalleryIndex(np.eye(3, dtype=np.float32), device="cpu")
    assert (served.name, served.device, len(served)) == ("IndexFlat (inner product)", "cpu", 3)
    assert GalleryIndex(np.eye(3, dtype=np.float32), metric="euclidean").name.endswith("(L2)")


def test_bad_arguments_are_refused():
    gallery = np.eye(3, dtype=np.float32)
    with pytest.raises(InputError, match="metric is 'dot'"):
        GalleryIndex(gallery, metric="dot")
    with pytest.raises(InputError, match="k is 0"):
        GalleryIndex(gallery).search(gallery, 0)
    with pytest.raises(InputError, match="queries have 2 dimensions and the gallery 3"):
        GalleryIndex(gallery).search(gallery[:, :2], 1)
    with pytest.raises(InputError, match="gallery embeddings row 1 is zero"):
        GalleryIndex(np.array([[1, 0], [0, 0]], dtype=np.float32))


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_without_faiss_an_exhaustive_search_gives_the_same_lists(random_sets, metric, monkeypatch):
    rng = np.random.default_rng(3)
    query, gallery = random_sets(rng, 40, 300, 8, 20, 4, values=(-1.0, 0.5, 1.0))  # many ties
    with_faiss = GalleryIndex(gallery.embeddings, metric=metric).search(query.embeddings, 12)
    monkeypatch.setattr(index_module, "faiss", None)
    index = GalleryIndex(gallery.embeddings, metric=metric)
    assert (index.name, index.device) == ("exhaustive search", "cpu")
    for found, expected in zip(index.search(query.embeddings, 12), with_faiss, strict=True):
        np.testing.assert_array_equal(found, expected)
