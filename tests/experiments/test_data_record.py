import json
import logging
from dataclasses import replace
from pathlib import Path

import pytest

from reid_dhm.data.samples import Sample
from reid_dhm.errors import InputError
from reid_dhm.experiments.data_record import check_data_record, record_data, write_data_record
from reid_dhm.experiments.run import run_experiment

TRAIN = [Sample(Path(f"set/train/{pid}/{n}.jpg"), pid, n) for pid in (1, 2) for n in (0, 1)]
TEST = [Sample(Path(f"set/test/{n}.jpg"), 7, n) for n in (0, 1)]


@pytest.mark.parametrize(
    "change",
    [
        lambda samples: [replace(samples[0], pid=9), *samples[1:]],
        lambda samples: [replace(samples[0], camid=9), *samples[1:]],
        lambda samples: [replace(samples[0], path=Path("set/train/1/x.jpg")), *samples[1:]],
        lambda samples: [replace(s, path=Path(str(s.path).replace("/2/", "/3/"))) for s in samples],
        lambda samples: samples[1:],
        lambda samples: [*samples, Sample(Path("set/train/2/2.jpg"), 2, 0)],
        lambda samples: samples[::-1],
    ],
)
def test_changed_images_and_labels_are_refused(tmp_path, change):
    write_data_record(tmp_path, record_data(TRAIN, TEST))
    check_data_record(tmp_path, record_data(TRAIN, TEST))
    with pytest.raises(InputError, match=r"was trained on other data: train had 4 images"):
        check_data_record(tmp_path, record_data(change(TRAIN), TEST))
    with pytest.raises(InputError, match="test had 2 images of 1 people, and has 1 of 1"):
        check_data_record(tmp_path, record_data(TRAIN, TEST[1:]))


def test_a_dataset_may_move(tmp_path):
    moved = [replace(s, path=Path("/other/place") / Path(*s.path.parts[1:])) for s in TRAIN]
    assert record_data(moved, []) == record_data(TRAIN, [])


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"train": 3, "test": {}}', "[" * 99999])
def test_a_damaged_record_is_named(tmp_path, text):
    (tmp_path / "data.json").write_text(text)
    with pytest.raises(InputError, match=r"data\.json is damaged"):
        check_data_record(tmp_path, record_data(TRAIN, TEST))


def test_a_run_is_not_resumed_on_other_people(config_of, people):
    """One person goes and another comes: every class would move by one."""
    run_experiment(config_of("run", "train.epochs=1"))
    folder = people / "synthetic" / "bounding_box_train"
    for path in folder.glob("0001_*"):
        path.rename(path.with_name(path.name.replace("0001_", "0099_")))
    resumed = config_of("run", "train.epochs=1", "resume=true")
    with pytest.raises(InputError, match=r"was trained on other data: train had 32 images of 8"):
        run_experiment(resumed)


def test_a_run_without_a_record_is_resumed_with_a_warning_and_has_one_then(config_of, caplog):
    config = config_of("run", "train.epochs=1")
    run_experiment(config)
    record = Path(config.output) / "data.json"
    content = json.loads(record.read_text())
    record.unlink()
    with caplog.at_level(logging.WARNING):
        run_experiment(config_of("run", "train.epochs=1", "resume=true"))
    assert "has no data.json: its images and labels are not compared" in caplog.text
    assert json.loads(record.read_text()) == content
