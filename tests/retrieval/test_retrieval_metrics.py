"""CMC, AP and INP against cases worked by hand."""

from __future__ import annotations

import numpy as np
import pytest

from reid_dhm.retrieval import metrics

# Query 0 has correct images at ranks 1, 3, 6; query 1 at rank 2; query 2 has none; query 3 at
# ranks 1 and 2.
QUERY = np.array([0, 0, 0, 1, 3, 3])
RANK = np.array([1, 3, 6, 2, 1, 2])


def test_standard_ap_is_the_mean_precision_at_the_hits():
    ap = metrics.average_precision(QUERY, RANK, 4)
    # (1/1 + 2/3 + 3/6) / 3 = 13/18
    np.testing.assert_allclose(ap, [13 / 18, 1 / 2, np.nan, 1], rtol=1e-15)


def test_trapezoid_ap_averages_with_the_precision_one_place_earlier():
    ap = metrics.average_precision(QUERY, RANK, 4, "trapezoid")
    # Query 0: ((1 + 1)/2 + (2/3 + 1/2)/2 + (1/2 + 2/5)/2) / 3 = (1 + 7/12 + 9/20) / 3 = 61/90.
    # Query 1: (1/2 + 0/1)/2 = 1/4.
    np.testing.assert_allclose(ap, [61 / 90, 1 / 4, np.nan, 1], rtol=1e-15)


def test_inp_is_the_number_of_correct_images_over_the_last_rank():
    inp = metrics.inverse_negative_penalty(QUERY, RANK, 4)
    np.testing.assert_allclose(inp, [3 / 6, 1 / 2, np.nan, 1], rtol=1e-15)


def test_first_rank_is_zero_without_a_correct_image():
    np.testing.assert_array_equal(metrics.first_rank(QUERY, RANK, 4), [1, 2, 0, 1])


def test_cmc_counts_only_queries_with_a_correct_image():
    cmc = metrics.cumulative_match(np.array([1, 2, 0, 1]), (1, 2, 50))
    assert cmc == pytest.approx({1: 2 / 3, 2: 1.0, 50: 1.0})
