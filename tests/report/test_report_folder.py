"""A report's folder appears whole or not at all, and replaces nothing but a report."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

import pytest

from reid_dhm.errors import InputError
from reid_dhm.report.folder import RESULTS, check_folder, report_folder, write_results


def write_one(folder, text):
    with report_folder(folder) as fresh:
        (fresh / "index.html").write_text(text)
        write_results(fresh, "evaluation", {"mAP": 0.5})


def test_a_report_takes_the_place_of_an_earlier_one_and_leaves_nothing_beside_it(tmp_path):
    folder = tmp_path / "deep" / "report"
    write_one(folder, "first")
    (folder / "activation").mkdir()
    write_one(folder, "second")
    assert (folder / "index.html").read_text() == "second"
    assert not (folder / "activation").exists()
    assert [path.name for path in folder.parent.iterdir()] == ["report"]
    assert json.loads((folder / RESULTS).read_text())["mAP"] == 0.5


def test_what_fails_leaves_the_earlier_report_as_it_was(tmp_path):
    write_one(tmp_path / "report", "first")
    with pytest.raises(RuntimeError), report_folder(tmp_path / "report") as fresh:  # noqa: PT012
        (fresh / "index.html").write_text("half")
        raise RuntimeError
    assert (tmp_path / "report" / "index.html").read_text() == "first"
    assert [path.name for path in tmp_path.iterdir()] == ["report"]


def test_an_empty_folder_is_used(tmp_path):
    (tmp_path / "report").mkdir()
    write_one(tmp_path / "report", "first")
    assert (tmp_path / "report" / "index.html").read_text() == "first"


@pytest.mark.parametrize("results", [None, "", "[]", '{"mAP": 0.5}'])
def test_a_folder_that_holds_anything_else_is_refused_and_kept(tmp_path, results):
    (tmp_path / "precious.txt").write_text("mine")
    if results is not None:
        (tmp_path / RESULTS).write_text(results)
    with pytest.raises(InputError, match="not a report: name another folder"):
        write_one(tmp_path, "report")
    assert (tmp_path / "precious.txt").read_text() == "mine"
    assert not (tmp_path / "index.html").exists()


def test_a_report_with_something_else_in_its_folder_is_refused_and_kept(tmp_path):
    write_one(tmp_path / "report", "first")
    (tmp_path / "report" / "notes.txt").write_text("mine")
    with pytest.raises(InputError, match=r"holds 'notes.txt' beside a report"):
        write_one(tmp_path / "report", "second")
    assert (tmp_path / "report" / "notes.txt").read_text() == "mine"
    assert (tmp_path / "report" / "index.html").read_text() == "first"


def test_a_file_is_refused(tmp_path):
    (tmp_path / "report").touch()
    with pytest.raises(InputError, match="is a file"):
        check_folder(tmp_path / "report")


def test_what_a_killed_run_left_is_removed_by_the_next(tmp_path):
    code = """
import os, signal, sys
from pathlib import Path
from reid_dhm.report.folder import report_folder
with report_folder(Path(sys.argv[1])) as fresh:
    (fresh / "index.html").write_text("half")
    os.kill(os.getpid(), signal.SIGKILL)
"""
    folder = tmp_path / "re[p]ort"
    killed = subprocess.run([sys.executable, "-c", code, folder], check=False)
    assert killed.returncode == -signal.SIGKILL
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".re[p]ort-")
    os.utime(left, (0, 0))
    with report_folder(folder) as fresh:  # of a process that runs: kept
        (tmp_path / ".another-12-x").mkdir()
        with pytest.raises(RuntimeError), report_folder(folder):
            raise RuntimeError
        assert fresh.is_dir()
        write_results(fresh, "evaluation", {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [".another-12-x", "re[p]ort"]


def test_a_link_that_leads_to_itself_is_refused(tmp_path):
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(InputError, match="is a link that leads to itself"):
        write_one(tmp_path / "loop", "report")
