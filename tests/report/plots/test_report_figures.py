"""Figures are the same bytes for the same input, and well-formed whatever a model is called."""

from __future__ import annotations

import re
from xml.etree import ElementTree

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.report.plots import evaluation as figures
from reid_dhm.report.plots.embedding_map import draw_map
from reid_dhm.report.scores import scores_of

NAMES = ["plain", "_hidden", "$x^2", '<b> & "q"', "1e-3"]


def drawings_of(evaluation, names):
    results = [(name, evaluation.result) for name in names]
    models = [(name, evaluation.pairs) for name in names]
    return [
        figures.cmc_curve(results),
        figures.precision_histogram(results),
        figures.roc_curve(models),
        figures.score_distributions(evaluation.pairs, scores_of(evaluation.settings.metric)),
    ]


def texts(svg):
    return {(element.text or "").strip() for element in ElementTree.fromstring(svg).iter()}


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_the_same_input_gives_the_same_bytes_and_no_date(make, metric):
    evaluation = make(metric=metric)
    first, again = (drawings_of(evaluation, [""]) for _ in range(2))
    assert [drawing.file for drawing in first] == [drawing.file for drawing in again]
    for drawing in first:
        assert not re.search(r"20\d\d-\d\d-\d\d", drawing.file)
        ElementTree.fromstring(drawing.file)


def test_every_model_is_in_the_legend_whatever_its_name(make):
    cmc, precision, roc, _ = drawings_of(make(), NAMES)
    for drawing in (cmc, precision, roc):
        assert set(NAMES) <= texts(drawing.svg)


def test_ids_of_figures_on_one_page_differ(make):
    ids = [
        identity
        for drawing in drawings_of(make(), ["one", "two"])
        for identity in set(re.findall(r'\bid="([^"]+)"', drawing.svg))
    ]
    assert len(ids) == len(set(ids)) > 0


def test_text_and_axes_take_the_colour_of_the_page(make):
    for drawing in drawings_of(make(), ["one", "two"]):
        assert "#010203" not in drawing.svg
        colours = {
            element.get("style", "").rpartition("fill: ")[2]
            for element in ElementTree.fromstring(drawing.svg).iter()
            if element.tag.endswith("}text")
        }
        assert colours == {"currentColor"}
        assert "prefers-color-scheme" in drawing.file
        assert "prefers-color-scheme" not in drawing.inline


def test_words_say_what_a_curve_shows(known):
    drawing = figures.cmc_curve([("", known.result)])
    assert drawing.words == "CMC curve: 50.0% at rank 1."
    drawing = figures.precision_histogram([("dhm", known.result)])
    assert "dhm 0 of 2 queries below 5%, 1 at 95% or above" in drawing.words


def test_distances_are_drawn_as_distances(make):
    evaluation = make(metric="euclidean")
    drawing = drawings_of(evaluation, [""])[3]
    assert "Distance of pairs" in drawing.title
    ticks = [text for text in texts(drawing.svg) if re.fullmatch(r"[−\d.]+", text)]
    assert ticks
    assert not any(text.startswith("−") for text in ticks)
    threshold = -evaluation.pairs.points[0].threshold
    assert f"{threshold:.3f} (rate 0.1)" in drawing.words


def test_a_map_is_fixed_by_its_people_and_names_them(make):
    evaluation = make()
    first, again = (draw_map(evaluation, [2, 5, 7], seed=0) for _ in range(2))
    assert first.file == again.file
    assert {"2", "5", "7", "person 2", "person 5", "person 7"} <= texts(first.svg)
    count = np.isin(evaluation.query.pids, [2, 5, 7]).sum()
    count += np.isin(evaluation.gallery.pids, [2, 5, 7]).sum()
    assert f"{count} embeddings of 3 people" in first.words


def test_a_map_of_nobody_is_refused(make):
    with pytest.raises(InputError, match="person 404 has no query image"):
        draw_map(make(), [2, 404], 0)


def test_a_map_of_a_few_images_is_refused(known):
    with pytest.raises(InputError, match="2 images are too few for a map"):
        draw_map(known, [1], 0)
