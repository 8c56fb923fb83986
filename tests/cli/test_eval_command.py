import json
from pathlib import Path

import numpy as np
import pytest
import torch

from reid_dhm.cli.eval import parse_people
from reid_dhm.cli.options.evaluation import parse_dataset_options
from reid_dhm.evaluation.thresholds import read_thresholds
from reid_dhm.models.torchreid import torchreid_module

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


def test_a_file_of_embeddings_is_evaluated(run, npz, tmp_path):
    figures = tmp_path / "figures.json"
    done = run("eval", "--embeddings", npz, "--json", figures)
    assert (done.code, done.err) == (0, "")
    found = json.loads(figures.read_text())
    seconds, index = found.pop("seconds"), found.pop("index")
    # Without the same camera's image: pid 0 first, then both correct ones, at ranks 2 and 3.
    assert found == {
        "mAP": pytest.approx((1 / 2 + 2 / 3) / 2),
        "mINP": pytest.approx(2 / 3),
        "cmc": {"1": 0, "5": 1, "10": 1, "20": 1},
        "num_queries": 1,
        "num_valid_queries": 1,
        "num_gallery": 4,
        "num_dropped": 1,
        "intervals": {"mAP": [0, 1], "mINP": [0, 1], "rank1": [0, 1]},  # one person tells nothing
        "device": "cpu" if not torch.cuda.is_available() else found["device"],
    }
    assert seconds.keys() >= {"embed", "rank", "search", "rerank"}
    assert seconds["embed"] is seconds["rerank"] is None
    assert min(seconds["rank"], seconds["search"]) > 0
    for shown in ("cosine", "own camera left out", "1 junk dropped", "58.33%", index):
        assert shown in done.out


def test_camera_rule_can_be_lifted(run, npz, tmp_path):
    found = evaluate(run, tmp_path, "--embeddings", npz, "--no-camera-rule")
    assert found["cmc"]["1"] == 1  # the same camera's image counts, and is first
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


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Path:
    """Forty people seen by three cameras, not all of them told apart."""
    rng = np.random.default_rng(0)
    directions = rng.standard_normal((41, 16))
    arrays = {}
    for side, count, cameras in (("query", 1, 3), ("gallery", 2, 3)):
        pids = np.repeat(np.arange(1, 41), count * cameras)
        arrays[f"{side}_pids"] = pids
        arrays[f"{side}_camids"] = np.tile(np.repeat(np.arange(cameras), count), 40)
        noise = rng.standard_normal((len(pids), 16))
        arrays[f"{side}_embeddings"] = (directions[pids] + 1.1 * noise).astype(np.float32)
    path = tmp_path_factory.mktemp("crowd") / "crowd.npz"
    np.savez(path, **arrays)
    return path


def test_figures_lie_within_their_intervals(run, crowd, tmp_path):
    found = evaluate(run, tmp_path, "--embeddings", crowd)
    for name, value in (("mAP", "mAP"), ("mINP", "mINP"), ("rank1", "cmc")):
        figure = found[value] if value != "cmc" else found["cmc"]["1"]
        low, high = found["intervals"][name]
        assert 0 < low < figure < high < 1
    again = evaluate(run, tmp_path, "--embeddings", crowd, "--seed", "1")
    assert again["intervals"] != found["intervals"]
    assert again["mAP"] == found["mAP"]


def test_reranked_figures_come_first_and_those_before_stay(run, crowd, tmp_path):
    plain = evaluate(run, tmp_path, "--embeddings", crowd)
    found = evaluate(run, tmp_path, "--embeddings", crowd, "--rerank", "--k1", "6", "--k2", "2")
    assert found["before_rerank"]["mAP"] == plain["mAP"]
    assert found["before_rerank"]["intervals"] == plain["intervals"]
    assert found["mAP"] != plain["mAP"]
    assert found["seconds"]["rerank"] > 0
    # All weight on the first distance leaves its ranking as it was.
    kept = evaluate(run, tmp_path, "--embeddings", crowd, "--rerank", "--k1", "6", "--lambda", "1")
    assert kept["mAP"] == pytest.approx(plain["mAP"], abs=1e-9)


def test_expansion_pooling_and_single_shot_reach_the_ranking(run, crowd, tmp_path):
    plain = evaluate(run, tmp_path, "--embeddings", crowd)
    expanded = evaluate(run, tmp_path, "--embeddings", crowd, "--query-expansion", "3")
    augmented = evaluate(run, tmp_path, "--embeddings", crowd, "--database-augmentation", "3")
    assert len({plain["mAP"], expanded["mAP"], augmented["mAP"]}) == 3
    single = evaluate(run, tmp_path, "--embeddings", crowd, "--single-shot")
    assert single["mAP"] == pytest.approx(single["mINP"])  # one correct image: both are 1 / rank
    pooled = evaluate(run, tmp_path, "--embeddings", crowd, "--multi-query", "mean")
    assert pooled["num_queries"] == plain["num_queries"]  # a person has one query a camera here


@pytest.mark.parametrize("other", [("--rerank",), ("--ap", "trapezoid")])
def test_single_shot_refuses_what_it_has_no_meaning_with(run, crowd, other):
    outcome = run("eval", "--embeddings", crowd, "--single-shot", *other)
    assert outcome.code == 1
    assert "single-shot" in outcome.err


def test_a_negative_seed_is_refused(run, crowd):
    outcome = run("eval", "--embeddings", crowd, "--seed", "-1")
    assert (outcome.code, outcome.err) == (1, "error: seed is -1: give 0 to 4294967295\n")


def test_lists_are_no_longer_than_the_gallery(run, crowd, tmp_path):
    plain = evaluate(run, tmp_path, "--embeddings", crowd)
    assert evaluate(run, tmp_path, "--embeddings", crowd, "--top-k", 10**9)["mAP"] == plain["mAP"]


def test_an_unknown_person_of_a_map_is_refused_with_nothing_written(run, crowd, tmp_path):
    options = ("--report", tmp_path / "r", "--thresholds", tmp_path / "t.json", "--map", "1,999")
    outcome = run("eval", "--embeddings", crowd, *options)
    assert outcome.code == 1
    assert "person 999 has no query image" in outcome.err
    assert not list(tmp_path.iterdir())


def test_a_run_keeps_the_thresholds_of_more_pairs(run, market, trained_run, tmp_path):
    options = ("--checkpoint", trained_run, "--dataset", "market1501", "--data-root", market)
    evaluate(run, tmp_path, *options)
    file = trained_run / "thresholds.json"
    content = json.loads(file.read_text())
    content["pairs"]["different"] += 1
    file.write_text(json.dumps(content))
    outcome = run("eval", *options)
    assert "keeps the thresholds of market1501" in outcome.err
    assert json.loads(file.read_text()) == content
    file.unlink()
    evaluate(run, tmp_path, *options, "--flip")
    assert not file.exists()  # a search does not average with the mirrored image


def test_run_folders_get_thresholds_and_files_where_they_are_asked_for(
    run, market, trained_run, crowd, tmp_path
):
    options = ("--checkpoint", trained_run, "--dataset", "market1501", "--data-root", market)
    evaluate(run, tmp_path, *options)
    stored = read_thresholds(trained_run / "thresholds.json")
    assert (stored.metric, stored.dataset) == ("cosine", "market1501")
    assert len(stored.model) == 64
    (trained_run / "thresholds.json").unlink()
    evaluate(run, tmp_path, *options, "--metric", "euclidean")
    assert not (trained_run / "thresholds.json").exists()  # a search compares by cosine
    evaluate(run, tmp_path, "--embeddings", crowd, "--thresholds", tmp_path / "t.json")
    assert read_thresholds(tmp_path / "t.json").model is None


def test_a_run_folder_that_cannot_take_thresholds_is_evaluated_all_the_same(
    run, market, trained_run, tmp_path
):
    stored = trained_run / "thresholds.json"
    stored.unlink(missing_ok=True)
    stored.mkdir()
    try:
        options = ("--checkpoint", trained_run, "--dataset", "market1501", "--data-root", market)
        outcome = run("eval", *options)
    finally:
        stored.rmdir()
    assert outcome.code == 0
    assert "thresholds.json was not written" in outcome.err
    assert "mAP" in outcome.out


def test_report_says_what_json_says(run, market, trained_run, tmp_path):
    figures = evaluate(
        *(run, tmp_path, "--checkpoint", trained_run, "--dataset", "market1501"),
        *("--data-root", market, "--report", tmp_path / "report", "--cam", "--map", "3,4"),
    )
    stored = json.loads((tmp_path / "report" / "results.json").read_text())
    assert {name: stored[name] for name in figures} == figures
    page = (tmp_path / "report" / "index.html").read_text()
    for shown in ("market1501", "resnet18", f"{100 * figures['mAP']:.1f}", "left out"):
        assert shown in page


def test_a_folder_that_is_no_report_is_refused_before_the_work(run, crowd, tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    outcome = run("eval", "--embeddings", crowd, "--report", tmp_path / "mine")
    assert outcome.code == 1
    assert "mine holds other files" in outcome.err
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


def test_people_of_a_map_are_ids_or_a_number_of_confused_ones():
    assert parse_people("12,45") == (12, 45)
    assert parse_people("confused:10") == 10


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
        ("--embeddings", "a.npz", "--cam", "--report", "out"),
        ("--embeddings", "a.npz", "--map", "1,2"),
        ("--embeddings", "a.npz", "--map", "some", "--report", "out"),
        ("--embeddings", "a.npz", "--multi-query", "median"),
        ("--embeddings", "a.npz", "--k1", "10"),
        ("--embeddings", "a.npz", "--alpha", "2"),
        ("--embeddings", "a.npz", "--thresholds", "t.json", "--multi-query", "mean"),
        ("--embeddings", "a.npz", "--json", "."),
        ("--compare", "a.npz", "b.npz", "--flip"),
        ("--compare", "a.npz", "./a.npz"),
        ("run", "--checkpoint", "run", "--dataset", "market1501"),
        ("--checkpoint", "run", "--dataset", "market1501", "--cam"),
        ("--compare", "a.npz"),
        ("--compare", "a.npz", "run"),
        ("--compare", "a.npz", "b.npz", "--dataset", "market1501"),
        ("--compare", "a.npz", "b.npz", "--embeddings", "c.npz"),
        ("--compare", "a.npz", "b.npz", "--thresholds", "t.json"),
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
