import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_dhm.cli.eval import parse_dataset_options
from reid_dhm.models.torchreid import torchreid_module

TOOL = Path(__file__).parents[2] / "tools" / "eval.py"

# Similarities of the one query to the gallery: 1, 0.6, 0.8, 0 and -1; the last row is junk.
HAND_WORKED = {
    "query_embeddings": np.array([[2, 0]], np.float32),
    "query_pids": np.array([7]),
    "query_camids": np.array([1]),
    "gallery_embeddings": np.array([[9, 0], [3, 4], [4, 3], [0, 1], [-1, 0]], np.float32),
    "gallery_pids": np.array([7, 7, 0, 7, -1]),
    "gallery_camids": np.array([1, 2, 1, 3, 2]),
}


@pytest.fixture
def npz(tmp_path) -> Path:
    np.savez(tmp_path / "hand.npz", **HAND_WORKED)
    return tmp_path / "hand.npz"


def evaluate(run, tmp_path, *options: object) -> dict:
    outcome = run("eval", *options, "--json", tmp_path / "out" / "figures.json")
    assert outcome.code == 0, outcome.err
    return json.loads((tmp_path / "out" / "figures.json").read_text())


def test_tool_evaluates_a_file_of_embeddings(npz, tmp_path):
    figures = tmp_path / "figures.json"
    done = subprocess.run(
        [sys.executable, TOOL, "--embeddings", npz, "--json", figures],
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")
    found = json.loads(figures.read_text())
    seconds, index = found.pop("seconds"), found.pop("index")
    # Without the same camera's picture: pid 0 first, then both correct ones, at ranks 2 and 3.
    assert found == {
        "mAP": pytest.approx((1 / 2 + 2 / 3) / 2),
        "mINP": pytest.approx(2 / 3),
        "cmc": {"1": 0, "5": 1, "10": 1, "20": 1},
        "num_queries": 1,
        "num_valid_queries": 1,
        "num_gallery": 4,
        "num_dropped": 1,
        "device": "cpu" if not torch.cuda.is_available() else found["device"],
    }
    assert seconds.keys() == {"embed", "rank", "search", "rerank"}
    assert seconds["embed"] is seconds["rerank"] is None
    assert min(seconds["rank"], seconds["search"]) > 0
    for shown in ("cosine, camera rule, standard AP", "1 junk dropped", "58.33%", index):
        assert shown in done.stdout


def test_camera_rule_can_be_lifted(run, npz, tmp_path):
    found = evaluate(run, tmp_path, "--embeddings", npz, "--no-camera-rule")
    assert found["cmc"]["1"] == 1  # the same camera's picture counts, and is first
    assert found["mAP"] == pytest.approx((1 + 2 / 3 + 3 / 4) / 3)


def test_metric_and_kind_of_ap_are_passed_on(run, npz, tmp_path):
    # Euclidean distances 4.12 and 2.24 of the correct ones, and 3.61 of pid 0 between them.
    found = evaluate(run, tmp_path, "--embeddings", npz, "--metric", "euclidean")
    assert found["mAP"] == pytest.approx((1 + 2 / 3) / 2)
    # Ranks 2 and 3: the mean of precision at each hit and one place before it.
    found = evaluate(run, tmp_path, "--embeddings", npz, "--ap", "trapezoid")
    assert found["mAP"] == pytest.approx(((1 / 2 + 0) / 2 + (2 / 3 + 1 / 2) / 2) / 2)


@pytest.mark.parametrize("metric", ["cosine", "euclidean"])
def test_checkpoint_on_a_dataset_and_its_saved_embeddings_agree(
    run, market, trained_run, tmp_path, metric
):
    saved = tmp_path / "saved" / "market.npz"
    of_model = evaluate(
        *(run, tmp_path, "--checkpoint", trained_run, "--dataset", "market1501"),
        *("--data-root", market, "--metric", metric, "--save-embeddings", saved, "--flip"),
    )
    assert of_model["num_queries"] == of_model["num_valid_queries"] == 6
    assert of_model["num_gallery"] == 9
    assert of_model["cmc"]["1"] > 0.5  # people here are patterns that any network keeps apart
    assert of_model["seconds"].pop("embed") > 0
    of_file = evaluate(run, tmp_path, "--embeddings", saved, "--metric", metric)
    del of_model["seconds"], of_file["seconds"]
    assert of_file == of_model


def test_torchreid_weights_are_evaluated_with_what_they_do_not_say(run, market, tmp_path):
    model = torchreid_module("models").build_model("osnet_x0_25", 5, pretrained=False)
    torch.save(model.state_dict(), tmp_path / "zoo.pth")
    options = ("--checkpoint", tmp_path / "zoo.pth", "--dataset", "market1501")
    outcome = run("eval", *options, "--data-root", market)
    assert outcome.code == 1
    assert "--backbone osnet_x0_25 --size 256x128" in outcome.err
    words = ("--backbone", "osnet_x0_25", "--size", "64x32", "--neck", "none")
    found = evaluate(run, tmp_path, *options, "--data-root", market, *words)
    assert found["num_gallery"] == 9


def test_dataset_options_reach_the_dataset_as_yaml_scalars(run, market, trained_run):
    words = ["with_val=true", "boxes=labeled", "n=3", r"camera_regex=[a-z]+=(\d", "list=[a]"]
    assert parse_dataset_options(words) == {
        "with_val": True,
        "boxes": "labeled",
        "n": 3,
        "camera_regex": r"[a-z]+=(\d",
        "list": "[a]",
    }
    options = ("--checkpoint", trained_run, "--dataset", "market1501", "--data-root", market)
    outcome = run("eval", *options, "--dataset-option", "boxes=labeled")
    assert outcome.code == 1
    assert "market1501 cannot be loaded" in outcome.err
    assert "'boxes'" in outcome.err


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("--checkpoint", "run"),
        ("--dataset", "market1501"),
        ("--embeddings", "a.npz", "--checkpoint", "run"),
        ("--embeddings", "a.npz", "--flip"),
        ("--embeddings", "a.npz", "--precision", "float32"),
        ("--embeddings", "a.npz", "--dataset-option", "boxes=labeled"),
        ("--checkpoint", "run", "--dataset-option", "boxes=labeled"),
        ("--checkpoint", "run", "--dataset", "folder", "--dataset-option", "boxes"),
        ("--checkpoint", "run", "--dataset", "folder", "--precision", "half"),
        ("--embeddings", "a.npz", "--size", "256x128"),
        ("--embeddings", "a.npz", "--metric", "manhattan"),
        ("--checkpoint", "a.pth", "--dataset", "market1501", "--size", "256"),
        ("--checkpoint", "a.pth", "--dataset", "market1501", "--neck", "gem"),
    ],
    ids=" ".join,
)
def test_wrong_usage_exits_with_two(run, arguments):
    outcome = run("eval", *arguments)
    assert outcome.code == 2
    assert "Usage: reid-dhm eval" in outcome.err


def test_missing_data_and_checkpoint_are_named(run, market, trained_run, tmp_path):
    dataset = ("--dataset", "market1501", "--data-root")
    outcome = run("eval", "--checkpoint", tmp_path / "gone", *dataset, market)
    assert outcome.code == 1
    assert "gone does not exist" in outcome.err
    outcome = run("eval", "--checkpoint", trained_run, *dataset, tmp_path / "nowhere")
    assert outcome.code == 1
    assert "nowhere does not exist" in outcome.err
