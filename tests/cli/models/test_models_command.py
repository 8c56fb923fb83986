"""``reid-dhm models``: what a user types."""

import pytest

from reid_dhm.cli import main
from reid_dhm.gallery.detect.factory import build_detector
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.zoo import download, registry


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("REID_DHM_HOME", str(tmp_path / "home"))
    return tmp_path / "home" / "models"


@pytest.fixture
def run(capsys):
    def run(*words):
        with pytest.raises(SystemExit) as stop:
            main(["models", *map(str, words)])
        output = capsys.readouterr()
        return stop.value.code, output.out, output.err

    return run


def test_the_list_names_terms_and_what_is_here_in_80_columns(home, run):
    folder = home / "yolox-nano"
    folder.mkdir(parents=True)
    (folder / "yolox_nano.onnx").write_bytes(b"x" * 1_500_000)
    registry.record_speed("yolox-nano", 79.6)
    run("add", "mine", DEFAULT_CHECKPOINT)
    (home / "broken").mkdir()
    (home / "broken" / ".entry.json").write_text("[")
    for words in ((), ("list",)):
        code, out, err = run(*words)
        assert code == 0
        assert max(map(len, out.splitlines())) <= 80
        lines = {line.split()[0]: line.split()[1:] for line in out.splitlines() if line.strip()}
        assert lines["yolox-nano"] == ["yes", "1.5", "0.9", "416x416", "80"]
        assert lines["yolox-s"] == ["no", "35.9", "9.0", "640x640"]
        assert lines["mine"] == ["yes"]
        text = " ".join(out.split())
        assert "MSMT17, all images (for research only)" in text
        assert "COCO AP 51.1 (all classes); no published checksum" in text
        assert "what `reid-dhm models compare`, `benchmark footage-pairs` or `benchmark d" in text
        assert err.startswith("broken: ")
        assert ".entry.json is damaged" in err


def test_pull_shows_the_terms_and_the_next_command(home, run, monkeypatch):
    def get(file, folder):
        (folder / file.name).write_bytes(b"x")
        return folder / file.name

    monkeypatch.setattr(registry.pull, "__defaults__", (get,))
    code, out, _ = run("pull", "yolox-nano", "--yes")
    assert code == 0
    assert "licence Apache-2.0; training data: COCO" in out
    assert "--detector yolox-nano" in out


def test_refusals_are_one_line(home, run):
    code, _, err = run("pull", "nobody")
    assert code == 1
    assert err.startswith("error: no published model is called 'nobody'")
    code, _, err = run("add", "../up", home / "missing.onnx")
    assert code == 1
    assert err.startswith("error: '../up' cannot name a model")


def test_a_model_of_ones_own_opens_by_name(home, run):
    code, out, _ = run("add", "mine", DEFAULT_CHECKPOINT)
    assert code == 0
    assert "--checkpoint mine" in out
    _, card = open_checkpoint("mine")
    assert card == open_checkpoint(DEFAULT_CHECKPOINT)[1]
    with pytest.raises(ValueError, match="mine is an embedder, not a detector"):
        build_detector("mine")


def test_a_published_detector_that_is_not_here_names_the_command(home):
    with pytest.raises(ValueError, match="run `reid-dhm models pull yolox-tiny`"):
        build_detector("yolox-tiny")
    assert download.fetch is registry.pull.__defaults__[0]
