import inspect
import subprocess
import sys
from typing import get_type_hints

import reid_dhm
from reid_dhm.cli.gallery.deletion import delete
from reid_dhm.cli.index_video import index_video
from reid_dhm.cli.search import search
from reid_dhm.cli.serve import serve
from reid_dhm.evaluation import inputs


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)


def test_version_is_printed(run):
    assert run("--version") == (0, f"reid-dhm {reid_dhm.__version__}\n", "")


def test_help_shows_an_example_without_loading_what_is_heavy():
    commands = ["train", "eval", "embed", "export", "index-video", "search"]
    done = python(
        "import sys\n"
        "from reid_dhm.cli import main\n"
        f"for command in {commands!r}:\n"
        "    try:\n"
        "        main([command, '--help'])\n"
        "    except SystemExit as end:\n"
        "        assert end.code == 0\n"
        "    heavy = {'torch', 'cv2', 'faiss', 'torchreid', 'scipy', 'openvino', 'onnx'}\n"
        "    assert not heavy & set(sys.modules), (command, heavy & set(sys.modules))\n"
    )
    assert done.returncode == 0, done.stderr
    for command in commands:
        assert f"Example: reid-dhm {command}" in done.stdout


def test_every_command_that_embeds_for_a_gallery_takes_the_models_options():
    commands = (index_video, search, serve, delete)
    for name in ("checkpoint", "backbone", "size", "neck", "input"):
        assert all(name in inspect.signature(command).parameters for command in commands), name
    for name in ("backbone", "size", "neck", "input"):
        assert len({get_type_hints(c, include_extras=True)[name] for c in commands}) == 1, name


def test_unknown_command_and_option_are_wrong_usage(run):
    assert run("evil").code == 2
    assert run("eval", "--rank").code == 2


def test_user_errors_are_one_line_without_a_traceback(run):
    code, out, err = run("eval", "--embeddings", "gone.npz")
    assert (code, out) == (1, "")
    assert err.startswith("error: gone.npz")
    assert err.count("\n") == 1


def test_errors_of_the_file_system_are_one_line_too(run, monkeypatch):
    def full(path):
        raise OSError(28, "No space left on device", "figures.json")

    monkeypatch.setattr(inputs, "read_evaluation_npz", full)
    outcome = run("eval", "--embeddings", "a.npz")
    assert outcome == (1, "", "error: figures.json: No space left on device\n")


def test_interrupt_exits_as_shells_expect(run, monkeypatch):
    def interrupted(path):
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "read_evaluation_npz", interrupted)
    assert run("eval", "--embeddings", "a.npz").code == 130


def test_our_warnings_are_lines_and_printed_once(run, monkeypatch):
    def warning(path):
        import logging

        logging.getLogger("reid_dhm.data").warning("few images")
        raise KeyboardInterrupt

    monkeypatch.setattr(inputs, "read_evaluation_npz", warning)
    for _ in range(2):  # a second command in one process adds no second line
        assert run("eval", "--embeddings", "a.npz").err == "warning: few images\n"
