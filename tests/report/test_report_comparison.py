"""A comparison shows every model's figures, their paired differences, and who wins what."""

from __future__ import annotations

import csv
import html
import json
import math
import re
from dataclasses import replace
from xml.etree import ElementTree

import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.comparison import Comparison
from reid_dhm.evaluation.confidence import Estimate, paired_differences
from reid_dhm.report.comparison_report import write_comparison


def exact(markup: str) -> list[float]:
    return [float(value) for value in re.findall(r'<data value="([^"]+)"', markup)]


def text_of(markup: str) -> str:
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", markup)).split())


@pytest.fixture(scope="module")
def models(make):
    return [
        make(noise=1.5, name="baseline"),
        make(noise=1.3, name="dsl"),
        make(noise=0.8, name="dhm"),
    ]


@pytest.fixture(scope="module")
def differences(models):
    return {
        (models[i].name, models[j].name): paired_differences(
            models[i].result, models[j].result, models[i].query.pids, resamples=50
        )
        for i, j in ((1, 0), (2, 0), (2, 1))
    }


@pytest.fixture(scope="module")
def written(models, differences, tmp_path_factory):
    folder = tmp_path_factory.mktemp("comparisons") / "comparison"
    assert write_comparison(folder, Comparison(models, differences), num_lists=4) == []
    results = json.loads((folder / "results.json").read_text())
    return folder, (folder / "index.html").read_text(), results


def test_the_table_holds_figures_intervals_and_differences_from_the_first(
    written, models, differences
):
    _, page, results = written
    table = re.search(r'<table class="models">.*?</table>', page, re.DOTALL)[0]
    expected = []
    for model in models:
        result = model.result
        values = {"mAP": result.mAP, "rank1": result.cmc[1], "mINP": result.mINP}
        for name, value in values.items():
            interval = model.intervals[name]
            expected += [value, interval.low, interval.high]
            if model is not models[0]:
                estimate = differences[model.name, "baseline"][name]
                expected += [estimate.value, estimate.low, estimate.high]
        expected += [result.cmc[k] for k in (5, 10, 20)]
    assert exact(table) == expected
    assert [model["mAP"] for model in results["models"]] == [m.result.mAP for m in models]
    assert results["differences"][1]["mAP"]["value"] == pytest.approx(
        models[2].result.mAP - models[0].result.mAP
    )


def test_thresholds_of_every_model_are_given(written, models):
    _, page, _ = written
    table = re.findall(r'<table class="models">.*?</table>', page, re.DOTALL)[1]
    rows = table.split('<th scope="row">')[1:]
    for row, model in zip(rows, models, strict=True):
        found = [point.true_positive_rate for point in model.pairs.points]
        assert exact(row) == [pytest.approx(1 - model.result.cmc[1]), *found]
        for point in model.pairs.points:
            assert f"≥ {math.ceil(point.threshold * 10**4) / 10**4:.4f}" in text_of(row)


def test_every_pair_of_models_shows_what_it_parts_over(written, models):
    folder, page, results = written
    right = [m.gallery.pids[m.result.topk_indices[:, 0]] == m.query.pids for m in models]
    sections = re.findall(r'<section aria-labelledby="pair\d">.*?</section>', page, re.DOTALL)
    for markup, (ours, theirs), stored in zip(
        sections, ((1, 0), (2, 0), (2, 1)), results["rank1"], strict=True
    ):
        won, lost = right[ours] & ~right[theirs], right[theirs] & ~right[ours]
        assert sorted(stored["won"]) == np.flatnonzero(won).tolist()
        assert sorted(stored["lost"]) == np.flatnonzero(lost).tolist()
        both, neither = (right[ours] & right[theirs]).sum(), (~right[ours] & ~right[theirs]).sum()
        assert (stored["both_right"], stored["both_wrong"]) == (both, neither)
        counts = re.search(r'<table class="counts">.*?</table>', markup, re.DOTALL)[0]
        assert re.findall(r"<td>(?:<strong>)?(\d+)", counts) == [
            str(count) for count in (both, won.sum(), lost.sum(), neither)
        ]
        heading = f"{models[ours].name} vs {models[theirs].name}"
        assert text_of(markup).startswith(heading)
        shown = [int(row) for row in re.findall(r">Query (\d+)<", markup)]
        assert shown == stored["won"][:4] + stored["lost"][:4]
        titles = re.findall(r'<p class="standing"><strong>(\w+)</strong>', markup)
        assert titles == [models[ours].name, models[theirs].name] * len(shown)
    assert (folder / "figures" / "cmc.svg").read_text().count("baseline") >= 1


def test_pages_and_table_of_queries_hold_every_model(written, models):
    folder, _, _ = written
    page = (folder / "queries" / "0003.html").read_text()
    assert re.findall(r'<p class="standing"><strong>(\w+)</strong>', page) == [
        model.name for model in models
    ]
    with (folder / "per_query.csv").open(newline="") as file:
        row = list(csv.DictReader(file))[3]
    for model in models:
        expected = model.result.average_precision[3]
        assert float(row[f"{model.name}: average_precision"]) == expected


def test_a_difference_is_settled_by_its_interval_alone(models, tmp_path):
    estimates = {
        "mAP": Estimate(0.05, 0.01, 0.09),
        "rank1": Estimate(-0.05, -0.09, -0.01),
        "mINP": Estimate(0.05, -0.01, 0.09),
    }
    write_comparison(tmp_path / "report", Comparison(models[:2], {("dsl", "baseline"): estimates}))
    page = (tmp_path / "report" / "index.html").read_text()
    table = text_of(re.search(r'<table class="models">.*?</table>', page, re.DOTALL)[0])
    assert "+5.0 +1.0 to +9.0 ▲ better" in table
    assert "−5.0 −9.0 to −1.0 ▼ worse" in table
    assert "+5.0 −1.0 to +9.0 ≈ not significant" in table


def test_without_differences_every_model_meets_the_first(models, tmp_path):
    write_comparison(tmp_path / "report", Comparison(models, {}))
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert [(pair["model"], pair["reference"]) for pair in results["rank1"]] == [
        ("dsl", "baseline"),
        ("dhm", "baseline"),
    ]


def test_the_last_result_of_a_model_is_compared(models, reranked, tmp_path, change):
    after = change(reranked, name="re-ranked")
    write_comparison(tmp_path / "report", Comparison([models[0], after], {}))
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["models"][1]["mAP"] == reranked.reranked.mAP
    page = (tmp_path / "report" / "queries" / "0000.html").read_text()
    assert "Below each answer: its similarity or distance." in page


def test_models_that_were_asked_otherwise_are_refused(models, known, tmp_path, change):
    one, two = models[:2]
    with pytest.raises(InputError, match="needs two or more"):
        write_comparison(tmp_path / "report", Comparison([one], {}))
    with pytest.raises(InputError, match="two models are called 'baseline'"):
        write_comparison(tmp_path / "report", Comparison([one, two, one], {}))
    with pytest.raises(InputError, match="known and baseline have different query images"):
        write_comparison(tmp_path / "report", Comparison([one, change(known, name="known")], {}))
    other = change(two, gallery=replace(two.gallery, camids=two.gallery.camids + 1))
    with pytest.raises(InputError, match="different gallery images"):
        write_comparison(tmp_path / "report", Comparison([one, other], {}))
    assert list(tmp_path.iterdir()) == []


def test_hostile_names_of_models_are_shown_as_data(models, change, tmp_path):
    evil = "=evil\x1b[31m\n$x^2<script>" + "y" * 100_000
    write_comparison(tmp_path / "report", Comparison([models[0], change(models[1], name=evil)], {}))
    page = (tmp_path / "report" / "index.html").read_text()
    assert len(page) < 2_000_000
    assert "\x1b" not in page
    assert "<script>y" not in page
    for figure in (tmp_path / "report" / "figures").iterdir():
        ElementTree.parse(figure)
    with (tmp_path / "report" / "per_query.csv").open(newline="") as file:
        header = next(csv.reader(file))
    assert all(len(name) < 1100 and name.isprintable() for name in header)
    assert not any(name.startswith("=") for name in header)
