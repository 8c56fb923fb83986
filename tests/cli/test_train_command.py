from pathlib import Path

import pytest
from typer.testing import CliRunner

from reid_dhm.cli import app
from reid_dhm.config import load_config
from reid_dhm.experiments import run


@pytest.fixture
def trained(monkeypatch) -> list:
    """Take training as done; the configurations that were trained."""
    found: list = []

    def run_experiment(config, *reports) -> dict[str, float]:
        found.append(config)
        return {"epoch": 2, "mAP": 0.5, "rank1": 0.25}

    monkeypatch.setattr(run, "run_experiment", run_experiment)
    return found


def test_a_configuration_is_trained_by_its_name_and_the_next_command_is_told(trained):
    overrides = ["data.root=my sets", "output=runs/a"]
    done = CliRunner().invoke(app, ["train", "market1501_resnet50_dsl", *overrides])
    assert done.exit_code == 0, done.output
    assert trained == [load_config("market1501_resnet50_dsl", overrides)]
    assert done.stdout.splitlines()[-3:] == [
        "best: mAP 50.00%, rank1 25.00% (epoch 3)",
        "run folder: runs/a",
        "next: reid-dhm eval --checkpoint runs/a --dataset market1501 --data-root 'my sets'",
    ]


def test_the_next_command_repeats_what_the_dataset_needs(trained):
    options = ["data.options={with_val: true}", "data.name=msmt17", "test.camera_rule=false"]
    done = CliRunner().invoke(app, ["train", "market1501_resnet50_dsl", "output=a", *options])
    assert done.stdout.splitlines()[-1] == (
        "next: reid-dhm eval --checkpoint a --dataset msmt17 --data-root datasets "
        "--dataset-option with_val=true --no-camera-rule"
    )


def test_classification_has_no_evaluation_to_suggest(trained, tmp_path):
    done = CliRunner().invoke(app, ["train", "classification", f"output={tmp_path / 'run'}"])
    assert done.exit_code == 0, done.output
    assert done.stdout.splitlines()[-1].startswith("run folder: ")


def test_a_configuration_that_does_not_exist_is_an_error_in_one_line(trained):
    done = CliRunner().invoke(app, ["train", str(Path("no") / "where.yaml")])
    assert done.exit_code != 0
    assert trained == []
