from __future__ import annotations

import json
from pathlib import Path

from reid_dhm.config import load_config
from reid_dhm.demo.footage import run_footage_demo
from reid_dhm.demo.training import run_demo
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.synthetic import write_synthetic

CONFIG = Path(__file__).parents[2] / "configs" / "demo.yaml"


def test_the_summary_holds_the_three_figures_of_one_protocol(tmp_path: Path) -> None:
    people = tmp_path / "people"
    write_synthetic(people, num_train=4, num_test=4, num_cameras=2, num_distractors=3, num_junk=2)
    overrides = [
        *(f"output={tmp_path / 'run'}", f"data.root={people}", "model.size=[32,16]"),
        *("train.epochs=1", "train.num_identities=4", "train.num_instances=2"),
    ]
    said: list[str] = []
    summary = run_demo(load_config(CONFIG, overrides), said.append)
    assert json.loads((tmp_path / "run" / "summary.json").read_text()) == summary
    figures = [summary[name] for name in ("untrained", "colour_histogram", "trained")]
    assert all(0 < figure <= 1 for figure in figures)
    assert len(set(figures)) == 3
    assert "24 training, 8 query and 19 gallery images" in said


def test_somebody_is_found_again_before_the_other_camera(tmp_path: Path) -> None:
    said: list[str] = []
    (tmp_path / "gallery").mkdir()
    (tmp_path / "gallery" / "gallery.sqlite").write_text("of an earlier run")
    found = run_footage_demo(tmp_path, DEFAULT_CHECKPOINT, said.append, num_people=2)
    assert found["right"]
    assert found["tracklets"] >= 4
    assert said[-1].endswith("right")
