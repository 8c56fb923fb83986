from pathlib import Path

import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds, write_thresholds
from reid_dhm.gallery.search.match_thresholds import open_thresholds
from reid_dhm.inference.zoo import registry


def made_up(model: str | None = "beef", metric: str = "cosine") -> Thresholds:
    return Thresholds(metric, "made up", model, 10, 10, (), Calibration(9.0, -4.0, 0.5))


class TestOpenThresholds:
    def test_a_run_folder_has_its_own(self, tmp_path):
        write_thresholds(tmp_path / "thresholds.json", made_up())
        assert open_thresholds("beef", tmp_path) == made_up()
        assert open_thresholds("beef", tmp_path / "best.safetensors") == made_up()

    def test_weights_have_a_file_of_their_name(self, tmp_path):
        write_thresholds(tmp_path / "small.thresholds.json", made_up())
        write_thresholds(tmp_path / "thresholds.json", made_up("another"))
        assert open_thresholds("beef", tmp_path / "small.safetensors") == made_up()
        assert open_thresholds("beef", tmp_path / "large.safetensors") is None

    def test_they_lie_beside_the_file_of_a_zoo_name_and_below_the_home_folder(
        self, tmp_path, monkeypatch
    ):
        monkeypatch.setenv("HOME", str(tmp_path))
        (tmp_path / "run").mkdir()
        write_thresholds(tmp_path / "run" / "thresholds.json", made_up())
        assert open_thresholds("beef", Path("~/run")) == made_up()
        file = tmp_path / "zoo" / "weights.pth"
        write_thresholds(file.with_suffix(".thresholds.json"), made_up())
        known = {"small": registry.LocalModel("small", registry.EMBEDDING, file)}
        monkeypatch.setattr(registry, "find", lambda name, task: known.get(name))
        assert open_thresholds("beef", Path("small")) == made_up()

    def test_there_may_be_none(self, tmp_path):
        assert open_thresholds("beef", tmp_path) is None
        assert open_thresholds("beef") is None

    def test_a_file_that_is_named_comes_first(self, tmp_path):
        write_thresholds(tmp_path / "thresholds.json", made_up("another"))
        write_thresholds(tmp_path / "mine.json", made_up(None))
        assert open_thresholds("beef", tmp_path, tmp_path / "mine.json") == made_up(None)

    @pytest.mark.parametrize(
        ("thresholds", "message"),
        [
            (made_up("another"), r"mine\.json belongs to another model"),
            (made_up(metric="euclidean"), r"mine\.json is about euclidean scores"),
        ],
    )
    def test_a_file_that_is_named_has_to_fit(self, tmp_path, thresholds, message):
        write_thresholds(tmp_path / "mine.json", thresholds)
        with pytest.raises(InputError, match=message):
            open_thresholds("beef", None, tmp_path / "mine.json")

    def test_one_that_lies_there_and_does_not_fit_is_left_alone(self, tmp_path, caplog):
        write_thresholds(tmp_path / "thresholds.json", made_up("another"))
        assert open_thresholds("beef", tmp_path) is None
        assert "no match probabilities" in caplog.text
