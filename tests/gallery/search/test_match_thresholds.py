import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds, write_thresholds
from reid_dhm.gallery.search.match_thresholds import open_thresholds


def made_up(model: str | None = "beef", metric: str = "cosine") -> Thresholds:
    return Thresholds(metric, "made up", model, 10, 10, (), Calibration(9.0, -4.0, 0.5))


class TestOpenThresholds:
    def test_only_a_file_that_is_named_is_read(self, tmp_path):
        write_thresholds(tmp_path / "mine.json", made_up(None))
        assert open_thresholds("beef", tmp_path / "mine.json") == made_up(None)
        assert open_thresholds("beef", None) is None

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
            open_thresholds("beef", tmp_path / "mine.json")
