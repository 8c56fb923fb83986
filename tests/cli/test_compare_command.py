"""Several models on the same queries, by the command and by ``eval --compare``."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def models(tmp_path) -> list[Path]:
    """The same thirty people under much, little and no noise."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((31, 8))
    query_noise, gallery_noise = rng.standard_normal((60, 8)), rng.standard_normal((120, 8))
    paths = []
    for name, noise in (("poor", 2.0), ("fair", 1.0), ("perfect", 0.0)):
        query_pids, gallery_pids = np.repeat(np.arange(1, 31), 2), np.repeat(np.arange(1, 31), 4)
        paths.append(tmp_path / f"{name}.npz")
        np.savez(
            paths[-1],
            query_embeddings=directions[query_pids] + noise * query_noise,
            query_pids=query_pids,
            query_camids=np.tile([1, 2], 30),
            gallery_embeddings=directions[gallery_pids] + noise * gallery_noise,
            gallery_pids=gallery_pids,
            gallery_camids=np.tile([1, 2, 3, 4], 30),
        )
    return paths


def compared(run, tmp_path, *arguments: object) -> dict:
    outcome = run(*arguments, "--json", tmp_path / "out.json")
    assert outcome.code == 0, outcome.err
    return json.loads((tmp_path / "out.json").read_text())


def test_models_stand_side_by_side_with_paired_differences(run, models, tmp_path):
    found = compared(run, tmp_path, "compare", *models)
    assert list(found["models"]) == ["poor", "fair", "perfect"]
    assert found["reference"] == "poor"
    figures = found["models"]
    assert figures["perfect"]["mAP"] == 1
    for name in ("fair", "perfect"):
        difference = found["differences"][name]["mAP"]
        assert difference["value"] == pytest.approx(figures[name]["mAP"] - figures["poor"]["mAP"])
        low, high = difference["interval"]
        assert 0 < low < difference["value"] < high


def test_eval_compares_as_well(run, models, tmp_path):
    ours = compared(run, tmp_path, "compare", *models)
    theirs = compared(run, tmp_path, "eval", "--compare", *models)
    assert ours["differences"] == theirs["differences"]


def test_a_report_shows_all_of_them(run, models, tmp_path):
    compared(run, tmp_path, "compare", *models, "--report", tmp_path / "report")
    page = (tmp_path / "report" / "index.html").read_text()
    for name in ("poor", "fair", "perfect"):
        assert name in page


def test_checkpoints_are_embedded_on_one_dataset(run, market, trained_run, tmp_path):
    saved = tmp_path / "saved.npz"
    data = ("--dataset", "market1501", "--data-root", market)
    outcome = run("eval", "--checkpoint", trained_run, *data, "--save-embeddings", saved)
    assert outcome.code == 0, outcome.err
    found = compared(run, tmp_path, "compare", trained_run, saved, *data)
    assert found["differences"]["saved"]["mAP"] == {"value": 0, "interval": [0, 0]}


def test_models_of_one_name_are_told_apart_by_their_paths(run, models, tmp_path):
    other = tmp_path / "other" / "poor.npz"
    other.parent.mkdir()
    other.write_bytes(models[0].read_bytes())
    found = compared(run, tmp_path, "compare", models[0], other)
    assert list(found["models"]) == [str(models[0]), str(other)]


def test_models_on_other_queries_are_refused(run, models, tmp_path):
    arrays = dict(np.load(models[1]))
    arrays["query_camids"] = arrays["query_camids"][::-1]
    np.savez(tmp_path / "turned.npz", **arrays)
    outcome = run("compare", models[0], tmp_path / "turned.npz")
    assert outcome.code == 1
    assert "turned and poor have different query images" in outcome.err
