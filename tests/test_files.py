"""Files appear whole or not at all; devices, pipes and links stay what they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from reid_dhm.errors import StorageError
from reid_dhm.files import atomic_path, csv_cell, temporary_folder, write_text


@pytest.fixture
def dead_pid() -> int:
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def test_a_pipe_is_written_to_and_stays_a_pipe(tmp_path):
    pipe = tmp_path / "figures.json"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_text()))
    reader.start()
    write_text(pipe, "{}\n")
    reader.join(10)
    assert received == ["{}\n"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


def test_a_device_is_written_to_and_stays_a_device():
    write_text(Path("/dev/null"), "{}\n")
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_link_leads_to_the_new_content(tmp_path):
    (tmp_path / "old.json").write_text("old")
    link, dangling = tmp_path / "link.json", tmp_path / "dangling.json"
    link.symlink_to("old.json")
    dangling.symlink_to(tmp_path / "new" / "target.json")
    for path, target in ((link, "old.json"), (dangling, "new/target.json")):
        write_text(path, "new")
        assert path.is_symlink()
        assert (tmp_path / target).read_text() == "new"


def test_a_link_to_itself_is_refused(tmp_path):
    link = tmp_path / "loop.json"
    link.symlink_to(link)
    with pytest.raises(StorageError, match=r"loop\.json: cannot be written"):
        write_text(link, "new")
    assert link.is_symlink()


@pytest.mark.parametrize("target", ["/dev/stdout", "/dev/fd/1"])
def test_standard_output_in_a_file_keeps_its_order(tmp_path, target):
    code = (
        "from pathlib import Path\n"
        "from reid_dhm.files import write_text\n"
        f"print('before'); write_text(Path({target!r}), 'json\\n'); print('after')\n"
    )
    with (tmp_path / "out.txt").open("w") as out:
        subprocess.run([sys.executable, "-c", code], stdout=out, check=True)
    assert (tmp_path / "out.txt").read_text() == "before\njson\nafter\n"


def test_standard_error_in_a_file_is_not_replaced(tmp_path):
    code = (
        "from pathlib import Path\nfrom reid_dhm.files import write_text\n"
        "write_text(Path('/dev/stderr'), 'json\\n')\n"
    )
    log = tmp_path / "err.txt"
    with log.open("w") as err:
        before = os.fstat(err.fileno()).st_ino
        subprocess.run([sys.executable, "-c", code], stderr=err, check=True)
    assert (log.stat().st_ino, log.read_text()) == (before, "json\n")


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("old")

    def fail() -> None:
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise OSError(28, "No space left on device")

    with pytest.raises(StorageError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_leftovers_of_ended_processes_are_removed_and_others_stay(tmp_path, dead_pid):
    stays = [
        tmp_path / f".a.{os.getppid()}.partial.json",  # a running process
        tmp_path / f".b.{dead_pid}.partial.json",  # another file
        tmp_path / f".a.{dead_pid}.partial.csv",
        tmp_path / ".a.txt",
    ]
    leftover = tmp_path / f".a.{dead_pid}.partial.json"
    for path in (*stays, leftover):
        path.touch()
    write_text(tmp_path / "a.json", "new")
    assert not leftover.exists()
    assert all(path.exists() for path in stays)


def test_folders_of_ended_processes_are_removed_and_others_stay(tmp_path, dead_pid):
    leftover = tmp_path / f".[r]-{dead_pid}-abcd_123"
    stays = [
        tmp_path / f".[r]-{os.getppid()}-abcd_123",
        tmp_path / f".[r]-{dead_pid}-{os.getppid()}-abcd_123",  # of a folder "[r]-NUMBER"
        tmp_path / f".r-{dead_pid}-abcd_123",
    ]
    for path in (*stays, leftover):
        path.mkdir()
    with temporary_folder(tmp_path, "[r]") as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert not leftover.exists()
    assert all(path.exists() for path in stays)


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_spreadsheets_take_no_cell_for_a_formula(text):
    assert csv_cell(text) == "'" + text
    assert csv_cell("a=1") == "a=1"
    assert csv_cell(-0.5) == -0.5
