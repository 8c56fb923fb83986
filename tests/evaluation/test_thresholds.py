"""The thresholds file: what is written is read back, and every way a file is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.errors import InputError, StorageError
from reid_dhm.evaluation.calibration import Calibration, OperatingPoint
from reid_dhm.evaluation.thresholds import Thresholds, read_thresholds, write_thresholds

THRESHOLDS = Thresholds(
    metric="cosine",
    dataset="market1501 · ü",
    model="9f86d081884c7d65",
    num_same=49_166,
    num_different=53_536_085,
    operating_points=(
        OperatingPoint(0.01, 0.5123456789012345, 0.00999, 0.98),
        OperatingPoint(0.001, 0.6, 0.001, 0.9),
    ),
    calibration=Calibration(slope=31.5, intercept=-16.25, prior=0.5),
)


def test_what_is_written_is_read_back(tmp_path):
    path = tmp_path / "thresholds.json"
    write_thresholds(path, THRESHOLDS)
    assert read_thresholds(path) == THRESHOLDS
    assert [item.name for item in tmp_path.iterdir()] == ["thresholds.json"]
    bare = Thresholds("euclidean", "shop", None, 1, 1, (), Calibration(1, 2, 0.01))
    write_thresholds(path, bare)
    assert read_thresholds(str(path)) == bare
    assert isinstance(read_thresholds(path).calibration.slope, float)


def test_the_file_has_the_documented_fields(tmp_path):
    write_thresholds(tmp_path / "t.json", THRESHOLDS)
    content = json.loads((tmp_path / "t.json").read_text(encoding="utf-8"))
    assert content == {
        "format": 1,
        "metric": "cosine",
        "model": "9f86d081884c7d65",
        "dataset": "market1501 · ü",
        "pairs": {"same": 49_166, "different": 53_536_085},
        "operating_points": [
            {
                "asked": 0.01,
                "threshold": 0.5123456789012345,
                "false_positive_rate": 0.00999,
                "true_positive_rate": 0.98,
            },
            {
                "asked": 0.001,
                "threshold": 0.6,
                "false_positive_rate": 0.001,
                "true_positive_rate": 0.9,
            },
        ],
        "calibration": {"slope": 31.5, "intercept": -16.25, "prior": 0.5},
    }


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "thresholds.json"
    write_thresholds(path, THRESHOLDS)
    whole = Path.write_text

    def full_disk(self, text, **options):
        whole(self, text[:20], **options)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_text", full_disk)
    with pytest.raises(StorageError, match=r"thresholds\.json: cannot be written \(No space"):
        write_thresholds(path, Thresholds("cosine", "b", None, 1, 1, (), Calibration(1, 2, 0.5)))
    assert read_thresholds(path) == THRESHOLDS
    assert [item.name for item in tmp_path.iterdir()] == ["thresholds.json"]


def test_a_figure_that_is_no_number_is_not_written(tmp_path):
    broken = Thresholds("cosine", "b", None, 1, 1, (), Calibration(np.nan, 2, 0.5))
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_thresholds(tmp_path / "t.json", broken)
    assert not list(tmp_path.iterdir())


def refused(tmp_path, text: str | bytes, match: str) -> None:
    path = tmp_path / "bad.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=match) as caught:
        read_thresholds(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert "evaluate the model again to write a new one" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        '{"format": 1,',
        b"\xff\xfe\x00",
        '{"format": NaN}',
        '{"format": 1, "pairs": {"same": -Infinity}}',
        "[" * 100_000,
    ],
)
def test_what_is_no_json_is_refused(tmp_path, text):
    refused(tmp_path, text, "not readable as JSON")


@pytest.mark.parametrize("text", ["[]", '"thresholds"', "1"])
def test_json_without_fields_is_refused(tmp_path, text):
    refused(tmp_path, text, "the file is .* instead of named fields")


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"none\.json: no such file: evaluate"):
        read_thresholds(tmp_path / "none.json")


@pytest.mark.parametrize(
    ("place", "value", "match"),
    [
        (["format"], 2, "format 2 is not supported, only 1"),
        (["format"], "1", "format '1' is not supported, only 1"),
        (["format"], True, "format is True, which has the wrong type"),
        (["metric"], "l2", "metric is 'l2', not one of cosine, euclidean"),
        (["metric"], None, "metric is None, which has the wrong type"),
        (["model"], 5, "model is 5, which has the wrong type"),
        (["dataset"], None, "dataset is None"),
        (["colour"], "red", "unknown field 'colour'"),
        (["pairs", "same"], 0, "pairs: same is 0, not 1 or more"),
        (["pairs", "different"], 1.5, "pairs: different is 1.5, which has the wrong type"),
        (["pairs"], [1, 2], r"pairs is \[1, 2\], which has the wrong type"),
        (["operating_points"], {}, "operating_points is {}"),
        (["operating_points", 1], 0.5, "operating point 2 is 0.5 instead of named fields"),
        (["operating_points", 0, "asked"], -0.1, "operating point 1: asked is -0.1, not from 0"),
        (["operating_points", 1, "threshold"], "0.5", "operating point 2: threshold is '0.5'"),
        (["operating_points", 1, "threshold"], 10**400, "threshold is beyond the range"),
        (["operating_points", 0, "true_positive_rate"], 1.5, "true_positive_rate is 1.5"),
        (
            ["operating_points", 0, "false_positive_rate"],
            0.5,
            "is 0.5, more than the requested rate",
        ),
        (["calibration", "prior"], 1, "calibration: prior is 1.0, not between 0 and 1"),
        (["calibration", "slope"], False, "calibration: slope is False"),
        (["calibration", "intercept"], [0], "calibration: intercept is"),
    ],
)
def test_a_field_that_cannot_be_used_is_named(tmp_path, place, value, match):
    content = written(tmp_path)
    part = content
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    refused(tmp_path, json.dumps(content), match)


@pytest.mark.parametrize(
    ("place", "name", "match"),
    [
        ([], "format", "the file has no format"),
        ([], "model", "the file has no model"),
        (["pairs"], "different", "pairs has no different"),
        (["operating_points", 0], "asked", "operating point 1 has no asked"),
        (["calibration"], "prior", "calibration has no prior"),
    ],
)
def test_a_missing_field_is_named(tmp_path, place, name, match):
    content = written(tmp_path)
    part = content
    for key in place:
        part = part[key]
    del part[name]
    refused(tmp_path, json.dumps(content), match)


def test_numbers_beyond_a_float_are_refused(tmp_path):
    text = json.dumps(written(tmp_path)).replace("31.5", "1e999")
    refused(tmp_path, text, "slope is beyond the range of a float")


def written(tmp_path) -> dict:
    write_thresholds(tmp_path / "good.json", THRESHOLDS)
    return json.loads((tmp_path / "good.json").read_text(encoding="utf-8"))
