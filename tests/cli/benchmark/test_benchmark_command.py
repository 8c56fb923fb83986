"""``reid-dhm benchmark rank`` and ``rerank``: what they ask for, print, write and refuse."""

from __future__ import annotations

import json

import pytest

from reid_dhm.benchmarks.retrieval import rank, rerank
from reid_dhm.benchmarks.retrieval.rank import RankingFigures
from reid_dhm.benchmarks.retrieval.rerank import RerankingFigures
from reid_dhm.retrieval.npz import read_evaluation_npz

RANKING = RankingFigures(9, 300, 8, 2, 3.0, 2.0, 0.5, 2**30, 0.25, 12.0, 4.0, 2**31, 0.25)
RERANKING = RerankingFigures(
    9, 300, 8, 2, 3.0, 0.5, 2**30, 2.0, 1.5, 0.4, 0.5, 2.0, 2.5, 30.0, 2**33, 2e-4, 5, 1
)


@pytest.fixture
def measured(monkeypatch):
    """Stand-ins for the measurements: what they were asked, and the sizes of the file given."""
    asked = []

    def answer(figures):
        def compare(path, **options):
            query, gallery, _ = read_evaluation_npz(path)
            asked.append(((len(query), len(gallery), query.dim), options))
            return figures

        return compare

    monkeypatch.setattr(rank, "compare_ranking", answer(RANKING))
    monkeypatch.setattr(rerank, "compare_reranking", answer(RERANKING))
    return asked


def test_rank_prints_and_writes_both_sides(run, tmp_path, measured):
    target = tmp_path / "rank.json"
    sizes = ["--queries", 9, "--gallery", 300, "--dim", 8]
    code, out, err = run("benchmark", "rank", *sizes, "--rounds", 4, "--json", target)
    assert (code, err) == (0, "")
    assert measured == [((9, 300, 8), {"device": "auto", "rounds": 4, "with_torchreid": True})]
    assert "9 x 300 x 8, 2 threads" in out
    assert "1.00 GiB" in out
    assert "ours without the product 1.00 s" in out
    assert "torchreid takes 4.0 times as long, 4.00 s of it for its distances" in out
    figures = json.loads(target.read_text())
    assert (figures["ours"], figures["over_product"], figures["times_faster"]) == (3.0, 1.5, 4.0)


def test_rerank_prints_and_writes_both_sides(run, tmp_path, measured):
    target = tmp_path / "rerank.json"
    sizes = ["--queries", 9, "--gallery", 300, "--dim", 8]
    code, out, err = run("benchmark", "rerank", *sizes, "--device", "cpu", "--json", target)
    assert (code, err) == (0, "")
    assert measured == [((9, 300, 8), {"device": "cpu", "rounds": 3, "with_torchreid": True})]
    assert "9 + 300, 8 dimensions, 2 threads" in out
    assert "torchreid takes 10.0 times as long" in out
    assert "differ by 2.0e-04 at most, by more than 1e-5 in 5 of 2700 pairs" in out
    assert "the ten nearest differ in 1 of 9 queries" in out
    assert "query expansion 0.50 s, 1.25 x the bare FAISS search of 0.40 s" in out
    figures = json.loads(target.read_text())
    assert (figures["over_product"], figures["over_half_product"]) == (1.5, 2.0)
    assert (figures["largest_difference"], figures["lists_differ"]) == (2e-4, 1)


def test_sizes_are_market_1501_s_unless_others_are_given(run, measured):
    assert run("benchmark", "rank", "--dim", 2, "--no-torchreid").code == 0
    assert measured[0][0] == (3368, 15913, 2)
    assert measured[0][1]["with_torchreid"] is False


@pytest.mark.parametrize("command", ["rank", "rerank"])
def test_what_makes_no_sense_is_refused(run, tmp_path, command):
    code, _, err = run("benchmark", command, "--embeddings", tmp_path, "--dim", 4)
    assert code == 2
    assert "--dim has no effect with --embeddings" in " ".join(err.replace("│", "").split())
    assert run("benchmark", command, "--queries", 0).code == 2


def test_a_file_that_is_not_there_is_one_line(run):
    code, _, err = run("benchmark", "rerank", "--embeddings", "gone.npz")
    assert (code, err.count("\n")) == (1, 1)
    assert "gone.npz: no such file" in err


@pytest.mark.parametrize("option", ["--num-images", "--pictures"])
def test_the_number_of_images_has_two_names(run, option):
    code, _, err = run("benchmark", "memory", option, 10)
    assert code == 2
    assert "Invalid value for '--num-images' / '--pictures'" in err


def test_people_needs_one_kind_of_footage(run, tmp_path):
    for options in ([], ["--rendered", 2, "--tracklets", 100], ["--gallery", tmp_path]):
        assert run("benchmark", "people", *options).code == 2


@pytest.mark.parametrize(
    ("mode", "foreign", "whose"),
    [
        (["--tracklets", 200], ["--truth", "gt.txt"], "--gallery"),
        (["--rendered", 2], ["--people", "people.txt"], "--gallery"),
        (["--gallery", "g", "--truth", "gt.txt"], ["--checkpoint", "m"], "--rendered"),
        (["--gallery", "g", "--truth", "gt.txt"], ["--seed", 1], "--rendered or --tracklets"),
    ],
)
def test_options_of_another_kind_of_footage_are_refused(run, mode, foreign, whose):
    code, _, err = run("benchmark", "people", *mode, *foreign)
    assert code == 2
    assert f"{foreign[0]} goes with {whose}, not with {mode[0]}" in " ".join(
        err.replace("│", " ").split()
    )


def test_people_among_many_tracklets(run, tmp_path):
    target = tmp_path / "people.json"
    code, out, err = run("benchmark", "people", "--tracklets", 200, "--json", target)
    assert code == 0, err
    (figures,) = json.loads(target.read_text())
    assert (figures["tracklets"], figures["people"]) == (200, 10)
    assert "200" in out
