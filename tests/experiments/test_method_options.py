"""Every option of the method: resumed bit for bit, dropped by deploy(), noted in the card."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from reid_dhm.config import Config, load_config
from reid_dhm.data.datasets import load_dataset
from reid_dhm.errors import InputError
from reid_dhm.experiments.build import build_model
from reid_dhm.experiments.run import run_experiment
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.branch_spec import BranchSpec
from reid_dhm.models.card import load_model
from reid_dhm.models.providers import build_backbone
from reid_dhm.models.reid import ReIDModel
from reid_dhm.retrieval.npz import write_embeddings
from reid_dhm.training.run_folder import read_metrics

SHARED = Path(__file__).parents[3] / "shared"
OPTIONS = {
    "reference": (["model.branch_rule=reference", "model.branches=null"], {"branch_rule"}),
    "random_terms": (["loss.mimic_terms=random", "loss.mimic_drop=0"], {"mimic_terms"}),
    "similarity": (["loss.similarity=0.5"], {"similarity", "mimic_drop"}),
    "teacher": (["loss.teacher={teacher}"], {"teacher"}),
    "relations": (["loss.teacher={teacher}", "loss.teacher_embedding=0"], {"teacher"}),
    "plain_sgd": (["train.optimizer=sgd", "train.nesterov=false"], set()),
}


class KilledError(Exception):
    """Stands for a kill."""


@pytest.fixture
def teacher(config_of, tmp_path: Path) -> str:
    """A run of two epochs, whose model teaches."""
    run_experiment(config_of("teacher", "method=baseline", "train.epochs=2", "seed=9"))
    return str(tmp_path / "teacher")


def weights(config: Config) -> dict[str, torch.Tensor]:
    folder = Path(config.output)
    files = [*sorted((folder / "last").glob("*.safetensors")), folder / "best.safetensors"]
    return {f"{f.stem}.{name}": value for f in files for name, value in load_file(f).items()}


@pytest.mark.parametrize("option", OPTIONS)
def test_a_run_with_the_option_resumes_bit_for_bit_and_deploys_plain(
    config_of, teacher, tmp_path, option
):
    given, noted = OPTIONS[option]
    overrides = [text.format(teacher=teacher) for text in given]
    whole = config_of("whole", *overrides)
    run_experiment(whole)

    def die(epoch: int, step: int, steps: int, figures: dict[str, float]) -> None:
        if (epoch, step) == (2, 3):
            raise KilledError

    with pytest.raises(KilledError):
        run_experiment(config_of("cut", *overrides), die)
    cut = config_of("cut", *overrides, "resume=true")
    run_experiment(cut)
    found, expected = weights(cut), weights(whole)
    assert found.keys() == expected.keys()
    assert [name for name in expected if not torch.equal(found[name], expected[name])] == []

    model, card = load_model(tmp_path / "whole" / "best.safetensors")
    plain, _ = build_model(
        load_config(tmp_path / "experiment.yaml", ["method=baseline"]), 8, (32, 16)
    )
    assert model.state_dict().keys() == plain.state_dict().keys()
    assert noted <= card.training.keys()
    base = {"branch_rule", "mimic_terms", "similarity", "teacher"}
    assert base & card.training.keys() == noted & base


def test_a_teachers_terms_are_logged_and_its_embeddings_kept(config_of, teacher, tmp_path):
    run_experiment(config_of("run", f"loss.teacher={teacher}", "method=baseline"))
    for record in read_metrics(tmp_path / "run"):
        assert record["train/teacher_relations"] > 0
        total = sum(
            record[f"train/{name}"]
            for name in ("id", "metric", "mimic", "teacher_relations", "teacher_embedding")
        )
        assert record["train/total"] == pytest.approx(total, rel=1e-5)
    kept = load_file(tmp_path / "run" / "teacher.safetensors")["embeddings"]
    assert kept.shape == (32, 16)
    torch.testing.assert_close(kept.norm(dim=1), torch.ones(32))
    card = json.loads((tmp_path / "run" / "best.json").read_text())
    assert card["training"]["teacher"] == "teacher"
    assert "projection.weight" in load_file(tmp_path / "run" / "last" / "model.safetensors")


def test_embeddings_in_a_file_teach_as_their_model_does(config_of, teacher, people, tmp_path):
    """As ``reid-dhm embed`` writes them, in another order and with further images."""
    train = load_dataset("synthetic", people).train
    embedder = Embedder(tmp_path / "teacher", precision="float32")
    paths = [str(sample.path) for sample in train]
    embeddings = embedder(paths)
    further = np.zeros((1, embeddings.shape[1]), np.float32)
    file = tmp_path / "teacher.npz"
    write_embeddings(file, np.concatenate([further, embeddings[::-1]]), ["x.jpg", *paths[::-1]])
    for name, given in (("by_model", teacher), ("by_file", str(file))):
        run_experiment(config_of(name, f"loss.teacher={given}", "train.epochs=1"))
    by_model, by_file = (
        load_file(tmp_path / name / "teacher.safetensors")["embeddings"]
        for name in ("by_model", "by_file")
    )
    torch.testing.assert_close(by_file, by_model)

    write_embeddings(file, embeddings[1:], paths[1:])
    with pytest.raises(InputError, match=r"teacher.npz has no embedding of the training image"):
        run_experiment(config_of("lacking", f"loss.teacher={file}"))
    write_embeddings(file, embeddings, [f"{row}/a.jpg" for row in range(len(paths))])
    with pytest.raises(InputError, match="two of its images have one file name"):
        run_experiment(config_of("twice", f"loss.teacher={file}"))


def test_an_ensemble_keeps_its_branches_and_no_projection(config_of, teacher, tmp_path):
    run_experiment(
        config_of("run", f"loss.teacher={teacher}", "test.ensemble=true", "train.epochs=1")
    )
    model, _ = load_model(tmp_path / "run" / "best.safetensors")
    assert len(model.branches) == 2
    assert model.projection is None


def test_a_student_comes_closer_to_its_teacher(config_of, teacher, tmp_path):
    """Relations to the teacher improve by more than they do without its terms' gradient."""

    def last(weight: str) -> float:
        name = f"run{weight}"
        run_experiment(
            config_of(
                name,
                *(f"loss.teacher={teacher}", f"loss.teacher_relations={weight}"),
                *("loss.teacher_embedding=0", "method=baseline", "data.augment=false"),
                *("train.epochs=10", "train.lr=0.01", "train.evaluate_every=10"),
            )
        )
        return read_metrics(tmp_path / name)[-1]["train/teacher_relations"] / float(weight)

    assert last("10") < 0.7 * last("0.0001")


def test_embeddings_of_another_teacher_are_refused(config_of, teacher, tmp_path):
    config = config_of("run", f"loss.teacher={teacher}", "train.epochs=1")
    run_experiment(config)
    path = tmp_path / "run" / "teacher.safetensors"
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(InputError, match=r"teacher.safetensors is damaged .*remove it"):
        run_experiment(config_of("run", f"loss.teacher={teacher}", "train.epochs=1", "resume=true"))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["loss.teacher=nowhere.onnx"], "checkpoint nowhere.onnx does not exist"),
        (["loss.mimic_terms=random"], "loss.mimic_drop=0.5 out"),
        (["loss.mimic_terms=some"], "mimic_terms is 'some': use one of all, random"),
        (["loss.teacher_options={colour: red}"], "unknown key 'colour'"),
        (
            ["loss.teacher=x", "loss.teacher_relations=0", "loss.teacher_embedding=0"],
            "loss.teacher has no effect",
        ),
        (["loss.alpha=0"], "method dhm needs loss.alpha above 0"),
    ],
)
def test_what_does_not_fit_is_refused(config_of, overrides, message):
    with pytest.raises(InputError, match=message):
        run_experiment(config_of("run", *overrides))


def test_deploy_drops_the_projection():
    model = ReIDModel(
        build_backbone("mobilenet_v3_small"), 3, [BranchSpec("stage3")], taught=16
    ).eval()
    assert model.projection is not None
    deployed = model.deploy()
    assert deployed.projection is None
    assert not any(name.startswith(("projection", "branches")) for name in deployed.state_dict())
    assert model.projection is not None
    assert len(model.branches) == 1
    images = torch.randn(1, 3, 64, 32)
    assert torch.equal(deployed.embed(images), model.embed(images))


FOREIGN = SHARED / "models" / "openvino" / "person-reidentification-retail-0277.xml"


@pytest.mark.skipif(not FOREIGN.is_file(), reason=f"{FOREIGN} is not here")
def test_a_graph_of_others_teaches(config_of, tmp_path):
    pytest.importorskip("openvino")
    options = ["method=baseline", "train.epochs=1", f"loss.teacher={FOREIGN}"]
    run_experiment(config_of("run", *options, "loss.teacher_options={input: openvino}"))
    kept = load_file(tmp_path / "run" / "teacher.safetensors")["embeddings"]
    assert kept.shape == (32, 256)
    (record,) = read_metrics(tmp_path / "run")
    assert record["train/teacher_embedding"] > 0
    card = json.loads((tmp_path / "run" / "best.json").read_text())
    assert card["training"]["teacher"] == FOREIGN.name  # not where it lay
