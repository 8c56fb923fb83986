import json
import sys

import numpy
import pytest
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from reid_dhm.training.run_folder import (
    RunLog,
    environment,
    read_metrics,
    record_environment,
)


def record(epoch: int) -> dict[str, float]:
    return {"epoch": epoch, "train/total": 1 / (epoch + 3)}


def write(folder, epochs, last_epoch=-1):
    log = RunLog(folder, last_epoch)
    for epoch in epochs:
        log.write(record(epoch))
    log.close()


def test_a_record_is_one_line_that_reads_back_exactly(tmp_path):
    write(tmp_path / "run", range(3))
    assert read_metrics(tmp_path / "run") == [record(epoch) for epoch in range(3)]
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [0, 1, 2]


def test_a_resumed_run_drops_what_the_cut_off_one_wrote_last(tmp_path):
    write(tmp_path, range(4))
    write(tmp_path, [2, 3], last_epoch=1)
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0, 1, 2, 3]


def test_a_new_run_starts_an_empty_log(tmp_path):
    write(tmp_path, range(4))
    write(tmp_path, [0])
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0]


def test_a_last_line_cut_off_by_a_kill_is_left_out_and_overwritten(tmp_path):
    write(tmp_path, range(2))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "train/to')
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0, 1]
    write(tmp_path, [2], last_epoch=1)
    assert read_metrics(tmp_path) == [record(epoch) for epoch in range(3)]


@pytest.mark.parametrize(
    "line", [b"[1]", b"{}", b'{"epoch": "1"}', b"\xff", b"9" * 5000, b"[" * 99999, b""]
)
def test_damaged_lines_are_left_out_with_a_warning(tmp_path, caplog, line):
    write(tmp_path, range(2))
    with (tmp_path / "metrics.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert [entry["epoch"] for entry in read_metrics(tmp_path)] == [0, 1]
    assert "metrics.jsonl: 1 damaged lines are left out" in caplog.text


@pytest.mark.parametrize("content", ["", "[]", "[" * 99999, '{"resumed": 3}'])
def test_a_damaged_environment_is_written_again(tmp_path, caplog, content):
    (tmp_path / "environment.json").write_text(content)
    record_environment(tmp_path, processes=1, resumed=True)
    assert json.loads((tmp_path / "environment.json").read_text())["packages"]["torch"]
    assert "environment.json is damaged" in caplog.text


def test_a_resumed_run_keeps_the_environments_of_before(tmp_path):
    for resumed in (False, True, True):
        record_environment(tmp_path, processes=1, resumed=resumed)
    content = json.loads((tmp_path / "environment.json").read_text())
    assert [entry["processes"] for entry in (content, *content["resumed"])] == [1, 1, 1]


def test_a_folder_without_a_log_has_no_records(tmp_path):
    assert read_metrics(tmp_path) == []


def test_tensorboard_gets_every_number_but_no_text(tmp_path):
    log = RunLog(tmp_path)
    log.write({"epoch": 0, "train/total": 2.5, "note": "text"})
    log.write({"epoch": 1, "train/total": 1.5})
    log.close()
    board = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert board.Tags()["scalars"] == ["train/total"]
    assert [(event.step, event.value) for event in board.Scalars("train/total")] == [
        (0, 2.5),
        (1, 1.5),
    ]


def test_a_silent_log_writes_nothing(tmp_path):
    log = RunLog(tmp_path / "run", silent=True)
    log.write(record(0))
    log.close()
    assert not (tmp_path / "run").exists()


def test_the_environment_names_versions():
    found = environment()
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert found["packages"]["torch"].partition("+")[0] == torch.__version__.partition("+")[0]
    assert found["packages"]["numpy"] == numpy.__version__
    assert any(name in found["packages"] for name in ("faiss-gpu", "faiss-cpu"))
    assert found["threads"] == torch.get_num_threads()
    assert json.loads(json.dumps(found)) == found
