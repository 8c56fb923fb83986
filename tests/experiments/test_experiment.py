import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from reid_dhm.config import Config, load_config
from reid_dhm.data.augmentation import TestTransform
from reid_dhm.data.classification import load_classification
from reid_dhm.errors import InputError, NonFiniteLossError
from reid_dhm.experiments.build import build_criterion, build_model, build_sampler
from reid_dhm.experiments.run import run_experiment
from reid_dhm.models.card import load_model
from reid_dhm.training import loop
from reid_dhm.training.run_folder import read_metrics

TIMING = {"train/seconds", "train/pictures_per_second", "train/input_share", "test/seconds"}


class KilledError(Exception):
    """Stands for a kill."""


def outcome(config: Config) -> tuple[dict[str, Tensor], list[dict[str, float]], dict]:
    """Every tensor, logged figure and kept fact of a run, times left out."""
    folder = Path(config.output)
    files = [*sorted((folder / "last").glob("*.safetensors")), folder / "best.safetensors"]
    tensors = {f"{f.stem}.{name}": value for f in files for name, value in load_file(f).items()}
    records = [
        {name: value for name, value in record.items() if name not in TIMING}
        for record in read_metrics(folder)
    ]
    return tensors, records, json.loads((folder / "last" / "state.json").read_text())


def assert_same(first: Config, second: Config) -> None:
    (tensors, *facts), (others, *other_facts) = outcome(first), outcome(second)
    assert tensors.keys() == others.keys()
    assert [name for name in tensors if not torch.equal(tensors[name], others[name])] == []
    assert facts == other_facts


def die_in_an_epoch(monkeypatch) -> dict[str, object]:
    def progress(epoch: int, step: int, steps: int, figures: dict[str, float]) -> None:
        if (epoch, step) == (2, 3):
            raise KilledError

    return {"progress": progress}


def die_between_epochs(monkeypatch) -> dict[str, object]:
    def report(record: dict[str, float]) -> None:
        if record["epoch"] == 1:
            raise KilledError

    return {"report": report}


def die_before_the_checkpoint(monkeypatch) -> dict[str, object]:
    save = loop.save_state

    def fail(folder, modules, optimizer, progress) -> None:
        if progress["epoch"] == 3:
            raise KilledError
        save(folder, modules, optimizer, progress)

    monkeypatch.setattr(loop, "save_state", fail)
    return {}


def die_between_the_renames(monkeypatch) -> dict[str, object]:
    rename, renamed = Path.rename, []

    def fail(path: Path, target: Path) -> Path:
        renamed.append(path.name)
        if renamed.count("last.partial") == 3 and path.name == "last.partial":
            raise KilledError
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", fail)
    return {}


@pytest.mark.parametrize(
    "die",
    [die_in_an_epoch, die_between_epochs, die_before_the_checkpoint, die_between_the_renames],
)
def test_a_run_cut_off_anywhere_resumes_bit_for_bit(config_of, die):
    whole = config_of("whole")
    run_experiment(whole)
    with pytest.MonkeyPatch.context() as monkeypatch, pytest.raises(KilledError):
        run_experiment(config_of("cut"), **die(monkeypatch))
    cut = config_of("cut", "resume=true")
    assert len(read_metrics(Path(cut.output))) < 4
    result = run_experiment(cut)
    assert_same(whole, cut)
    assert (
        result
        == json.loads((Path(cut.output) / "last" / "state.json").read_text())["progress"]["best"]
    )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_every_optimizer_resumes_bit_for_bit(config_of, optimizer):
    whole = config_of("whole", f"train.optimizer={optimizer}", "train.ema=null")
    run_experiment(whole)
    with pytest.raises(KilledError):
        run_experiment(
            config_of("cut", f"train.optimizer={optimizer}", "train.ema=null"),
            **die_in_an_epoch(None),
        )
    cut = config_of("cut", f"train.optimizer={optimizer}", "train.ema=null", "resume=true")
    run_experiment(cut)
    assert_same(whole, cut)


def test_the_seed_fixes_everything(config_of):
    first, again, other = config_of("first"), config_of("again"), config_of("other", "seed=1")
    for config in (first, again, other):
        config_of("")  # forgets what the run before left in the process
        torch.rand(3)  # what happened before must not matter
        np.random.rand(3)  # noqa: NPY002
        run_experiment(config)
    assert_same(first, again)
    first_weights, other_weights = outcome(first)[0], outcome(other)[0]
    name = "model.backbone.stages.first.0.0.weight"
    assert not torch.equal(first_weights[name], other_weights[name])


def test_a_run_folder_tells_all(config_of, tmp_path):
    config = config_of("run")
    best = run_experiment(config)
    folder = tmp_path / "run"
    assert load_config(folder / "config.yaml") == config
    assert json.loads((folder / "environment.json").read_text())["packages"]["torch"]
    assert [record["epoch"] for record in read_metrics(folder)] == [0, 1, 2, 3]
    assert any((folder / "tensorboard").iterdir())
    assert {"mAP", "mINP", "rank1", "epoch"} <= best.keys()
    assert best["mAP"] == max(record["test/mAP"] for record in read_metrics(folder))
    allowed = {".yaml", ".json", ".jsonl", ".safetensors"}
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in files if path.parent.name != "tensorboard"} == allowed


def test_the_best_weights_open_as_a_plain_model(config_of, tmp_path):
    config = config_of("run")
    run_experiment(config)
    model, card = load_model(tmp_path / "run" / "best.safetensors")
    assert (card.branches, card.embedding, len(model.side_branches)) == ((), "main", 0)
    assert not any(name.startswith("branches") for name in model.state_dict())
    assert card.training["method"] == "dhm"
    plain, _ = build_model(
        load_config(tmp_path / "experiment.yaml", ["method=baseline"]), 8, (32, 16)
    )
    assert model.state_dict().keys() == plain.state_dict().keys()


def test_branches_are_kept_for_an_ensemble(config_of, tmp_path):
    run_experiment(config_of("run", "test.ensemble=true", "train.epochs=1"))
    model, card = load_model(tmp_path / "run" / "best.safetensors")
    assert [branch.after for branch in card.branches] == ["first", "middle"]
    assert card.embedding == "ensemble"
    images = torch.zeros(1, 3, 32, 16)
    assert model.embed_ensemble(images).shape[1] == sum(
        o.embeddings.shape[1] for o in model(images)
    )


@pytest.mark.parametrize(
    ("override", "key", "old", "new"),
    [
        ("train.lr=0.1", "train.lr", "0.003", "0.1"),
        ("method=dsl", "method", "dhm", "dsl"),
        ("seed=5", "seed", "0", "5"),
        ("model.branches=[{after: first}]", "model.branches", "first", "first"),
        ("train.milestones=[3]", "train.milestones", "40", "3"),
    ],
)
def test_a_run_is_not_continued_under_another_configuration(config_of, override, key, old, new):
    run_experiment(config_of("run", "train.epochs=1"))
    changed = config_of("run", "train.epochs=1", "resume=true", override)
    with pytest.raises(InputError, match=f"was trained with {key}=.*{old}.*, not .*{new}"):
        run_experiment(changed)


def test_what_changes_no_weight_may_change_on_resume(config_of, people, tmp_path):
    with pytest.raises(KilledError):
        run_experiment(config_of("run"), **die_between_epochs(None))
    people.rename(tmp_path / "elsewhere")
    moved = f"data.root={tmp_path / 'elsewhere'}"
    run_experiment(config_of("run", "resume=true", moved, "train.evaluate_every=2"))
    assert len(read_metrics(tmp_path / "run")) == 4


def test_a_run_is_not_overwritten(config_of):
    run_experiment(config_of("run", "train.epochs=1"))
    with pytest.raises(InputError, match=r"already holds a run: continue it with resume=true"):
        run_experiment(config_of("run", "train.epochs=1"))


def test_resuming_nothing_starts_anew(config_of):
    whole, fresh = config_of("whole"), config_of("fresh", "resume=true")
    run_experiment(whole)
    config_of("")
    run_experiment(fresh)
    assert_same(whole, fresh)


def test_workers_give_the_weights_of_memory(config_of):
    memory, workers = (
        config_of("memory"),
        config_of("workers", "data.cache_limit=0", "data.workers=1"),
    )
    run_experiment(memory)
    config_of("")
    run_experiment(workers)
    assert_same(memory, workers)


def test_a_loss_that_is_no_number_names_the_files_of_its_batch(config_of, people):
    with pytest.raises(NonFiniteLossError) as caught:
        run_experiment(config_of("run", "train.lr=1e30", "train.optimizer=sgd"))
    named = [Path(name) for name in str(caught.value).partition("the batch: ")[2].split(", ")]
    train = people / "synthetic" / "bounding_box_train"
    assert len(set(named)) == 8
    assert all(path.is_file() and path.parent == train for path in named)


def test_gradient_agreement_is_logged_for_every_method(config_of, tmp_path):
    for method in ("baseline", "dsl", "dhm"):
        run_experiment(
            config_of(method, f"method={method}", "train.epochs=1", "train.diagnose_every=1")
        )
        (record,) = read_metrics(tmp_path / method)
        found = {name for name in record if name.startswith("gradient/")}
        expected = {f"gradient/variance/{stage}" for stage in ("first", "middle", "late")}
        if method != "baseline":
            pairs = ("first/1", "first/2", "middle/2")
            expected |= {f"gradient/{f}/{p}" for f in ("cosine", "cosine_variance") for p in pairs}
        assert found == expected
        assert (record["train/mimic"] > 0) == (method == "dhm")


def test_diagnosis_changes_no_weight(config_of):
    plain, diagnosed = config_of("plain"), config_of("diagnosed", "train.diagnose_every=1")
    run_experiment(plain)
    config_of("")
    run_experiment(diagnosed)
    first, second = outcome(plain)[0], outcome(diagnosed)[0]
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_several_sets_are_joined_and_measured_each(config_of, people, tmp_path, write_set):
    write_set(people / "Market-1501", count=5, seed=3)
    best = run_experiment(config_of("run", "data.name=[synthetic, market1501]", "train.epochs=1"))
    card = json.loads((tmp_path / "run" / "best.json").read_text())
    assert card["num_classes"] == 8 + 5
    assert card["training"]["data"] == ["synthetic", "market1501"]
    each = [best[f"{name}/mAP"] for name in ("synthetic", "market1501")]
    assert each[0] != each[1]
    assert best["mAP"] == pytest.approx(sum(each) / 2)
    assert best["rank1"] == pytest.approx((best["synthetic/rank1"] + best["market1501/rank1"]) / 2)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("train.num_identities=9", "num_identities=9"),
        ("model.branches=[]", "method dhm needs branches"),
        ("model.branches=[{after: nowhere}]", "no stage 'nowhere'"),
        ("data.name=market1502", "market1502"),
        ("data.options={camera_regex: x}", "camera_regex"),
        ("loss.metric=tripplet", "tripplet"),
        ("loss.head_weights=[1, 2]", "2 values for 3 heads"),
        ("data.root=/nowhere", "/nowhere"),
    ],
)
def test_what_cannot_be_trained_is_refused_before_the_first_step(config_of, override, message):
    def progress(*told: object) -> None:
        raise AssertionError

    with pytest.raises(InputError, match=message):
        run_experiment(config_of("run", override), progress)


@pytest.mark.parametrize("task", ["reid", "classification"])
def test_a_batch_must_divide_by_the_processes(config_of, task):
    config = config_of("run", f"task={task}", "train.num_identities=3", "train.batch_size=9")
    labels = [row // 4 for row in range(32)]
    with pytest.raises(InputError, match="multiple of the 2 processes"):
        build_sampler(config, labels, rank=0, world_size=2)


def test_the_three_methods_are_one_switch(config_of):
    dhm, dsl, baseline = (config_of("run", f"method={m}") for m in ("dhm", "dsl", "baseline"))
    assert [build_criterion(config).alpha for config in (dhm, dsl)] == [1.0, 0.0]
    heads = [
        len(build_model(c, 8, (32, 16))[0](torch.zeros(2, 3, 32, 16))) for c in (dhm, dsl, baseline)
    ]
    assert heads == [3, 3, 1]


def write_classes(root: Path, counts: dict[str, int]) -> Path:
    """Write grey images into folders like ``train/cat``, as many as are asked for."""
    for folder, count in counts.items():
        (root / folder).mkdir(parents=True)
        for number in range(count):
            image = np.full((8, 8, 3), number, np.uint8)
            assert cv2.imwrite(str(root / folder / f"{number}.png"), image)
    return root


def test_classes_are_numbered_by_name(tmp_path):
    root = write_classes(tmp_path, {"train/dog": 2, "train/cat": 1, "val/dog": 1})
    (root / "train" / "notes.txt").write_text("")
    found = load_classification(root)
    assert found.classes == ("cat", "dog")
    assert [(s.path.parent.name, s.pid) for s in found.train] == [
        ("cat", 0),
        ("dog", 1),
        ("dog", 1),
    ]
    assert [(s.path, s.pid) for s in found.test] == [(root / "val" / "dog" / "0.png", 1)]


def test_images_to_test_may_lie_under_test(tmp_path):
    found = load_classification(write_classes(tmp_path, {"train/a": 1, "test/a": 2}))
    assert len(found.test) == 2


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        ({}, "train does not exist: put a folder per class"),
        ({"train/a": 1}, "test does not exist"),
        ({"train/a": 1, "val/a": 1, "val/b": 1}, "b is a class without training images"),
        ({"train/a": 1, "train/b": 0, "val/a": 1}, "b holds no images"),
        ({"train/a": 1, "val/a": 0}, "val holds no images"),
    ],
)
def test_classes_that_cannot_be_learnt_are_refused(tmp_path, counts, message):
    with pytest.raises(InputError, match=message):
        load_classification(write_classes(tmp_path, counts))


@pytest.fixture
def digits(tmp_path: Path) -> Path:
    """Scikit-learn's digits, as folders of PNG files."""
    datasets = pytest.importorskip("sklearn.datasets")
    images, labels = datasets.load_digits(return_X_y=True)
    root = tmp_path / "digits"
    for number, (image, label) in enumerate(zip(images[:900], labels[:900], strict=True)):
        folder = root / ("train" if number < 600 else "val") / str(label)
        folder.mkdir(parents=True, exist_ok=True)
        grey = (image.reshape(8, 8) * 15.9).astype(np.uint8)
        assert cv2.imwrite(str(folder / f"{number:04}.png"), grey)
    return root


@pytest.mark.parametrize("method", ["baseline", "dhm"])
def test_digits_are_recognised(config_of, digits, tmp_path, method):
    overrides = (
        *("task=classification", "data.name=folder", f"data.root={digits}"),
        *(f"method={method}", "data.augment=false"),
        *("model.size=[16, 16]", "model.neck=none", "loss.smoothing=0", "train.batch_size=32"),
        *("train.epochs=6", "train.lr=0.01", "train.ema=null", "train.evaluate_every=3"),
    )
    best = run_experiment(config_of("run", *overrides))
    assert best["top1"] > 0.8
    records = read_metrics(tmp_path / "run")
    assert {record["train/metric"] for record in records} == {0.0}
    assert (records[-1]["train/mimic"] > 0) == (method == "dhm")
    model, card = load_model(tmp_path / "run" / "best.safetensors")
    assert card.num_classes == 10
    right = 0
    for sample in load_classification(digits).test:
        image = torch.from_numpy(cv2.imread(str(sample.path))[:, :, ::-1].copy())
        inputs = TestTransform((16, 16))(image.permute(2, 0, 1)[None])
        right += int(model.classify(inputs).argmax()) == int(sample.path.parent.name)
    assert right / 300 == pytest.approx(best["top1"], abs=0.01)
