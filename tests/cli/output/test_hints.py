"""Whoever uses the packaged model is told once what a better one would find."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from reid_dhm.cli.output import hints
from reid_dhm.cli.output.hints import BETTER, suggest_better_model
from reid_dhm.inference.zoo import registry


@pytest.fixture
def home(monkeypatch, tmp_path) -> Path:
    """A user at a terminal whose models folder is empty."""
    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def terminal(monkeypatch):
    monkeypatch.setattr(hints, "_at_terminal", lambda: True)


def test_it_is_said_once_with_the_commands(home, terminal, capsys):
    suggest_better_model(None, gallery=Path("galleries/site"))
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert f"{BETTER} puts 77 % of a person's tracklets first instead of 59 %" in said
    assert f"reid-dhm models pull {BETTER}, then reid-dhm gallery reembed --gallery " in said
    suggest_better_model(None)
    assert capsys.readouterr().err == ""


def test_a_model_that_is_here_is_only_named(home, terminal, capsys):
    model = registry.published(BETTER)
    folder = registry.models_folder() / BETTER
    folder.mkdir(parents=True)
    for file in model.files:
        (folder / file.name).touch()
    suggest_better_model(None)
    said = capsys.readouterr().err
    assert said.endswith(f": --checkpoint {BETTER}\n")
    assert "pull" not in said


def test_programs_and_choices_are_left_alone(home, terminal, capsys, monkeypatch):
    suggest_better_model(Path("mine.onnx"))
    suggest_better_model(None, json=Path("figures.json"))
    monkeypatch.setattr(hints, "_at_terminal", lambda: False)
    suggest_better_model(None)
    assert capsys.readouterr().err == ""
    assert not home.exists()


def test_where_it_cannot_be_noted_nothing_is_said(terminal, capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "file"))
    suggest_better_model(None)
    assert capsys.readouterr().err == ""


def test_embedding_with_the_packaged_model_says_it(home, terminal, run, tmp_path):
    (tmp_path / "images").mkdir()
    image = np.random.default_rng(0).integers(0, 255, (64, 32, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "images" / "a.png")
    done = run("embed", "--images", tmp_path / "images", "--output", tmp_path / "a.npz")
    assert done.code == 0, done.err
    assert f"reid-dhm models pull {BETTER}, then --checkpoint {BETTER}" in done.err
