"""Expansion and augmentation equal their definition, image by image."""

from __future__ import annotations

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.refinement.expansion import augment_gallery, expand_queries


def some(rng, number, dim=8, paths=None):
    return EmbeddingSet(
        rng.standard_normal((number, dim)) * rng.uniform(0.1, 10, (number, 1)),
        rng.integers(0, 9, number),
        rng.integers(0, 3, number),
        paths,
    )


def unit(vector):
    return vector / np.linalg.norm(vector)


def averaged(own, others, k, alpha):
    """The definition for one image, in float64."""
    own, others = unit(own), [unit(other) for other in others]
    near = sorted(others, key=lambda other: -(own @ other))[:k]
    return unit(own + sum(max(own @ other, 0) ** alpha * other for other in near))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 6),
    num_gallery=st.integers(1, 30),
    k=st.integers(1, 40),
    alpha=st.sampled_from([1.0, 3.0, 0.5]),
)
def test_queries_equal_the_definition(seed, num_query, num_gallery, k, alpha):
    rng = np.random.default_rng(seed)
    query, gallery = some(rng, num_query), some(rng, num_gallery)
    found = expand_queries(query, gallery, k=k, alpha=alpha, device="cpu")
    left, right = (one.embeddings.astype(np.float64) for one in (query, gallery))
    expected = [averaged(own, right, k, alpha) for own in left]
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-5)


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    number=st.integers(1, 30),
    k=st.integers(1, 40),
    alpha=st.sampled_from([1.0, 3.0]),
)
def test_gallery_images_equal_the_definition_over_the_others(seed, number, k, alpha):
    gallery = some(np.random.default_rng(seed), number)
    found = augment_gallery(gallery, k=k, alpha=alpha, device="cpu")
    rows = gallery.embeddings.astype(np.float64)
    expected = [averaged(own, np.delete(rows, i, axis=0), k, alpha) for i, own in enumerate(rows)]
    np.testing.assert_allclose(found.embeddings, expected, atol=1e-5)


def test_alpha_zero_is_the_average_of_the_neighbours_on_the_query_s_side():
    query = EmbeddingSet(np.array([[1.0, 0.0]]), np.array([1]), np.array([1]))
    rows = np.array([[0.8, 0.6], [0.0, 1.0], [-1.0, 0.0]])
    gallery = EmbeddingSet(rows, np.array([1, 1, 1]), np.array([2, 2, 2]))
    found = expand_queries(query, gallery, k=3, alpha=0, device="cpu")
    np.testing.assert_allclose(found.embeddings[0], unit(np.array([1.8, 0.6])), atol=1e-6)


def test_many_images_of_one_embedding_do_not_displace_the_image_itself():
    rng = np.random.default_rng(0)
    copies = np.tile(rng.standard_normal(8), (12, 1))
    gallery = EmbeddingSet(
        np.concatenate([copies, rng.standard_normal((5, 8))]),
        np.arange(17),
        np.zeros(17, dtype=np.int64),
    )
    found = augment_gallery(gallery, k=3, device="cpu").embeddings
    np.testing.assert_allclose(found[:12], np.tile(unit(copies[0]), (12, 1)), atol=1e-6)


def test_who_and_where_stay_and_rows_are_unit_float32():
    rng = np.random.default_rng(1)
    query = some(rng, 3, paths=("a", "b", "c"))
    gallery = some(rng, 20)
    kept = query.embeddings.copy()
    expanded = expand_queries(query, gallery, k=4, device="cpu")
    augmented = augment_gallery(gallery, k=4, device="cpu")
    for before, after in ((query, expanded), (gallery, augmented)):
        np.testing.assert_array_equal(before.pids, after.pids)
        np.testing.assert_array_equal(before.camids, after.camids)
        assert before.paths == after.paths
        assert after.embeddings.dtype == np.float32
        np.testing.assert_allclose(np.linalg.norm(after.embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_array_equal(query.embeddings, kept)


def test_lengths_of_embeddings_have_no_say():
    rng = np.random.default_rng(2)
    query, gallery = some(rng, 4), some(rng, 15)
    longer = EmbeddingSet(gallery.embeddings * np.float32(1e30), gallery.pids, gallery.camids)
    np.testing.assert_allclose(
        expand_queries(query, longer, k=3, device="cpu").embeddings,
        expand_queries(query, gallery, k=3, device="cpu").embeddings,
        atol=1e-6,
    )


def test_bad_arguments_are_refused():
    rng = np.random.default_rng(3)
    query, gallery = some(rng, 2), some(rng, 5)
    with pytest.raises(InputError, match="under the metric 'euclidean' is not defined"):
        expand_queries(query, gallery, k=3, metric="euclidean")
    with pytest.raises(InputError, match="under the metric 'euclidean' is not defined"):
        augment_gallery(gallery, k=3, metric="euclidean")
    with pytest.raises(InputError, match="k of expansion is 0"):
        expand_queries(query, gallery, k=0)
    for alpha in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match="alpha of expansion is"):
            augment_gallery(gallery, k=1, alpha=alpha)
    zero = EmbeddingSet(np.eye(8)[:2] * [[1], [0]], np.array([1, 2]), np.array([1, 1]))
    with pytest.raises(InputError, match="query embeddings row 1 is zero"):
        expand_queries(zero, gallery, k=3)
    with pytest.raises(InputError, match="gallery embeddings row 1 is zero"):
        augment_gallery(zero, k=3)
    with pytest.raises(InputError, match="queries have 4 dimensions and the gallery 8"):
        expand_queries(some(rng, 2, dim=4), gallery, k=3)


@pytest.mark.gpu
@pytest.mark.skipif(not faiss.get_num_gpus(), reason="FAISS sees no GPU")
def test_a_gpu_finds_the_same_neighbours():
    rng = np.random.default_rng(4)
    query, gallery = some(rng, 300, dim=64), some(rng, 5000, dim=64)
    for work in (
        lambda device: expand_queries(query, gallery, k=10, device=device),
        lambda device: augment_gallery(gallery, k=10, device=device),
    ):
        found, expected = work("cuda").embeddings, work("cpu").embeddings
        np.testing.assert_allclose(found, expected, atol=1e-6)
