"""Given distances are ranked as their sorted definition says, ties and all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.protocol import Protocol
from reid_dhm.retrieval.ranking import counting
from reid_dhm.retrieval.ranking import distance_rows as rows
from reid_dhm.retrieval.ranking.distance_rows import rank_rows
from reid_dhm.retrieval.ranking.whole_gallery import rank_gallery


def on_a_line(rng, num_query, num_gallery, people, cameras):
    """Whole numbers: their distances are exact in float32, and often equal."""

    def some(number, first_pid):
        return EmbeddingSet(
            rng.integers(-6, 7, (number, 1)).astype(np.float32),
            rng.integers(first_pid, people + 1, number),
            rng.integers(0, cameras, number),
        )

    return some(num_query, 1), some(num_gallery, 0)


def distances(query, gallery):
    def rows(start, stop):
        return np.abs(query.embeddings[start:stop] - gallery.embeddings.T)

    return rows


@settings(max_examples=200, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_query=st.integers(1, 8),
    num_gallery=st.integers(1, 40),
    people=st.integers(1, 5),
    cameras=st.integers(1, 3),
    camera_rule=st.booleans(),
    ap=st.sampled_from(["standard", "trapezoid"]),
    top_k=st.integers(1, 50),
    sizes=st.sampled_from([(1, 1), (90, 40), (2**23, 2**20)]),
    segment=st.sampled_from([1, 4, 128]),
)
def test_equals_the_definition_on_distances_full_of_ties(
    answers, seed, num_query, num_gallery, people, cameras, camera_rule, ap, top_k, sizes, segment
):
    rng = np.random.default_rng(seed)
    query, gallery = on_a_line(rng, num_query, num_gallery, people, cameras)
    ids = query.pids, query.camids, gallery.pids, gallery.camids
    expected = answers(query.embeddings, gallery.embeddings, "euclidean", ids, camera_rule)
    valid = [one for one in expected if one.hits]
    protocol = Protocol("euclidean", camera_rule, ap)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rows, "_BLOCK", sizes[0])
        patch.setattr(rows, "_SHARE", sizes[1])
        patch.setattr(counting, "SEGMENT", segment)
        patch.setattr(rows, "SEGMENT", segment)
        if not valid:
            with pytest.raises(InputError, match="no query has a correct gallery image"):
                rank_rows(distances(query, gallery), query, gallery, protocol)
            return
        result = rank_rows(
            distances(query, gallery), query, gallery, protocol, ranks=(1, 3, 60), top_k=top_k
        )
    aps = [one.ap if ap == "standard" else one.trapezoid_ap for one in valid]
    assert result.mAP == pytest.approx(np.mean(aps), abs=1e-12)
    assert result.mINP == pytest.approx(np.mean([one.inp for one in valid]), abs=1e-12)
    for k in (1, 3, 60):
        assert result.cmc[k] == pytest.approx(np.mean([one.hits[0] <= k for one in valid]))
    assert result.first_rank.tolist() == [one.hits[0] if one.hits else 0 for one in expected]
    for row, one in enumerate(expected):
        listed = one.order[:top_k]
        lacking = top_k - len(listed)
        assert result.topk_indices[row].tolist() == listed + [-1] * lacking
        between = np.abs(query.embeddings[row] - gallery.embeddings[listed, 0])
        assert result.topk_scores[row].tolist() == (-between).tolist() + [-np.inf] * lacking


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_distances_of_embeddings_rank_as_the_embeddings_do(metric):
    rng = np.random.default_rng(0)
    query, gallery = (
        EmbeddingSet(rng.standard_normal((n, 16)), rng.integers(1, 9, n), rng.integers(0, 3, n))
        for n in (30, 500)
    )
    left, right = query.embeddings.astype(np.float64), gallery.embeddings.astype(np.float64)
    if metric == "cosine":
        left, right = (one / np.linalg.norm(one, axis=1, keepdims=True) for one in (left, right))
    between = np.linalg.norm(left[:, None] - right, axis=2)
    protocol = Protocol(metric)
    found = rank_rows(lambda a, b: between[a:b], query, gallery, protocol, top_k=20)
    expected = rank_gallery(query, gallery, metric=metric, top_k=20)
    assert found.protocol == expected.protocol
    assert found.num_gallery == 500
    np.testing.assert_array_equal(found.first_rank, expected.first_rank)
    np.testing.assert_array_equal(found.topk_indices, expected.topk_indices)
    np.testing.assert_allclose(found.average_precision, expected.average_precision)
    np.testing.assert_allclose(found.inverse_negative_penalty, expected.inverse_negative_penalty)


def test_each_query_is_asked_for_once_and_in_order_whatever_the_threads():
    rng = np.random.default_rng(1)
    query, gallery = on_a_line(rng, 50, 120, 4, 3)
    found = []
    before = torch.get_num_threads()
    for number in (1, 2):
        torch.set_num_threads(number)
        asked = []

        def given_rows(start, stop, asked=asked):
            asked.append((start, stop))
            return distances(query, gallery)(start, stop)

        try:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(rows, "_BLOCK", 120 * 16)
                patch.setattr(rows, "_SHARE", 120 * 5)
                found.append(rank_rows(given_rows, query, gallery, Protocol("euclidean")))
        finally:
            torch.set_num_threads(before)
        assert asked == [(0, 16), (16, 32), (32, 48), (48, 50)]
    np.testing.assert_array_equal(found[0].topk_indices, found[1].topk_indices)
    np.testing.assert_array_equal(found[0].average_precision, found[1].average_precision)


def test_the_result_says_what_served_and_how_long_it_took():
    query, gallery = on_a_line(np.random.default_rng(2), 5, 30, 2, 3)
    protocol = Protocol("euclidean")
    result = rank_rows(distances(query, gallery), query, gallery, protocol)
    assert (result.index, result.device) == ("k-reciprocal re-ranking", "cpu")
    assert list(result.seconds) == ["rerank"]
    named = rank_rows(distances(query, gallery), query, gallery, protocol, index="two models")
    assert named.index == "two models"


def test_what_cannot_be_ranked_is_refused():
    query, gallery = on_a_line(np.random.default_rng(3), 5, 30, 2, 3)
    protocol = Protocol("euclidean")
    whole = distances(query, gallery)(0, 5)
    for value in (np.nan, np.inf, -np.inf):
        holed = whole.copy()
        holed[3, 29] = value
        with pytest.raises(InputError, match="query 3 has a distance that is not finite"):
            rank_rows(lambda a, b, d=holed: d[a:b], query, gallery, protocol)
    with pytest.raises(ValueError, match=r"rows 0 to 5 have shape \(5, 29\)"):
        rank_rows(lambda a, b: whole[a:b, 1:], query, gallery, protocol)
    with pytest.raises(InputError, match="top_k is 0"):
        rank_rows(distances(query, gallery), query, gallery, protocol, top_k=0)
    with pytest.raises(InputError, match="ranks is"):
        rank_rows(distances(query, gallery), query, gallery, protocol, ranks=(0,))
    junk = EmbeddingSet(gallery.embeddings, gallery.pids - 1, gallery.camids)
    with pytest.raises(InputError, match="gallery pid in row"):
        rank_rows(distances(query, junk), query, junk, protocol)
