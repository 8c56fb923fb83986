"""Files appear whole or not at all; devices, pipes and links stay what they are."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

import pytest

from reid_dhm.errors import StorageError, StorageFullError
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


def test_a_format_that_seeks_reaches_a_pipe_whole_or_not_at_all(tmp_path):
    pipe = tmp_path / "arrays.npz"
    os.mkfifo(pipe)
    received = []
    reader = threading.Thread(target=lambda: received.append(pipe.read_bytes()))
    reader.start()

    def fail() -> None:
        with atomic_path(pipe) as temporary:
            temporary.write_bytes(b"half")
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    with atomic_path(pipe) as temporary, temporary.open("wb") as stream:
        stream.seek(4)
        stream.write(b"tail")
        stream.seek(0)
        stream.write(b"head")
    reader.join(10)
    assert received == [b"headtail"]


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

    with pytest.raises(StorageFullError, match="No space left"):
        fail()
    assert path.read_text() == "old"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_two_writers_of_one_file_do_not_share_a_temporary_file(tmp_path):
    path = tmp_path / "a.json"
    with atomic_path(path) as first:
        first.write_text("first")
        with atomic_path(path) as second:
            second.write_text("half")
            assert first.read_text() == "first"
            assert (first.suffix, second.suffix) == (".json", ".json")
        assert path.read_text() == "half"
    assert path.read_text() == "first"
    assert [each.name for each in tmp_path.iterdir()] == ["a.json"]


def test_an_error_about_another_file_is_raised_as_it_is(tmp_path):
    def copy(source: Path) -> None:
        with atomic_path(tmp_path / "a.json") as temporary:
            shutil.copyfile(source, temporary)

    with pytest.raises(FileNotFoundError, match="gone"):
        copy(tmp_path / "gone.json")
    assert not list(tmp_path.iterdir())


def test_a_full_disk_while_copying_is_told_as_such(tmp_path):
    def copy() -> None:
        with atomic_path(tmp_path / "a.json") as temporary:
            error = OSError(errno.ENOSPC, "No space left on device", "source", None, str(temporary))
            raise error  # as shutil.copyfile raises it: both files are named

    with pytest.raises(
        StorageFullError, match=r"a\.json: cannot be written \(No space .* free some"
    ):
        copy()


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_full_disks_and_used_up_quotas_are_one_error(tmp_path, code):
    with pytest.raises(StorageFullError, match="free some space"), atomic_path(tmp_path / "a.json"):
        raise OSError(code, os.strerror(code))


def test_a_folder_is_not_replaced_by_a_file(tmp_path):
    (tmp_path / "a.json").mkdir()
    with pytest.raises(StorageError, match=r"a\.json: cannot be written \(it is a folder\)"):
        write_text(tmp_path / "a.json", "new")
    assert (tmp_path / "a.json").is_dir()


@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="has no /dev/shm")
def test_a_file_in_shared_memory_is_replaced():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        path = Path(folder) / "a.json"
        path.write_text("old")
        with atomic_path(path) as temporary:
            temporary.write_text("new")
            assert path.read_text() == "old"
        assert path.read_text() == "new"


def test_leftovers_of_ended_processes_are_removed_and_others_stay(tmp_path, dead_pid):
    stays = [
        tmp_path / f".a.{os.getppid()}.partial.json",  # a running process
        tmp_path / f".a.{os.getppid()}.0123abcd.partial.json",
        tmp_path / f".b.{dead_pid}.partial.json",  # another file
        tmp_path / f".a.{dead_pid}.partial.csv",
        tmp_path / ".a.txt",
    ]
    leftovers = [
        tmp_path / f".a.{dead_pid}.partial.json",  # as earlier versions named it
        tmp_path / f".a.{dead_pid}.0123abcd.partial.json",
    ]
    for path in (*stays, *leftovers):
        path.touch()
        os.utime(path, (0, 0))
    young = tmp_path / f".a.{dead_pid}.4567cdef.partial.json"  # of another host, perhaps
    young.touch()
    write_text(tmp_path / "a.json", "new")
    assert not any(path.exists() for path in leftovers)
    assert all(path.exists() for path in (*stays, young))


def test_folders_of_ended_processes_are_removed_and_others_stay(tmp_path, dead_pid):
    leftover = tmp_path / f".[r]-{dead_pid}-abcd_123"
    stays = [
        tmp_path / f".[r]-{os.getppid()}-abcd_123",
        tmp_path / f".[r]-{dead_pid}-{os.getppid()}-abcd_123",  # of a folder "[r]-NUMBER"
        tmp_path / f".r-{dead_pid}-abcd_123",
    ]
    for path in (*stays, leftover):
        path.mkdir()
        os.utime(path, (0, 0))
    young = tmp_path / f".[r]-{dead_pid}-0123_abc"  # of another host, perhaps
    young.mkdir()
    with temporary_folder(tmp_path, "[r]") as folder:
        assert folder.is_dir()
    assert not folder.exists()
    assert not leftover.exists()
    assert all(path.exists() for path in (*stays, young))


def test_processes_are_not_signalled_on_windows(tmp_path, dead_pid, monkeypatch):
    leftover = tmp_path / f".a.{dead_pid}.partial.json"
    leftover.touch()
    os.utime(leftover, (0, 0))
    signalled = []
    monkeypatch.setattr(os, "kill", lambda *arguments: signalled.append(arguments))
    monkeypatch.setattr(sys, "platform", "win32")
    write_text(tmp_path / "a.json", "new")
    assert not signalled
    assert leftover.exists()


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_spreadsheets_take_no_cell_for_a_formula(text):
    assert csv_cell(text) == "'" + text
    assert csv_cell("a=1") == "a=1"
    assert csv_cell(-0.5) == -0.5
