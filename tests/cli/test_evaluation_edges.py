"""``eval`` and ``compare`` at the edges of their options: an answer or one line, no traceback."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

HUGE = ["0", "1", "-1", "2", str(2**31), str(2**63), str(10**20), "9" * 5000, "1e400", "nan", "inf"]
SMALL = ["0.0", "-0.0", "1e-320", "0.3", "1", "-1e-9", "1.0000001", "1e308", "nan", "-inf", ""]
IDS = [
    "1",
    "1,2",
    "0",
    "9" * 19,
    "9" * 5000,
    "confused:1",
    "confused:" + "9" * 30,
    "confused:0",
    "",
]
NUMERIC = {
    "--seed": HUGE,
    "--k1": HUGE,
    "--k2": HUGE,
    "--lambda": SMALL,
    "--query-expansion": HUGE,
    "--database-augmentation": HUGE,
    "--alpha": SMALL,
    "--top-k": HUGE,
    "--device": ["cpu", "cpu:0", "cuda:" + "9" * 50, "tpu", "", "cuda:-1", "\u0660"],
    "--size": ["1x1", "0x1", "9" * 5000 + "x1", "256x128", "\u0661x\u0661"],
    "--map": IDS,
    "--dataset-option": ["a=1", "=", "a=" + "[" * 5000, "a=" + "9" * 5000, "a=*b", "a=&a [*a]"],
}
FLAGS = ["--rerank", "--single-shot", "--no-camera-rule", "--cam", "--flip"]


@pytest.fixture(scope="module")
def crowd(tmp_path_factory) -> Path:
    """Six people seen by two cameras."""
    rng = np.random.default_rng(0)
    arrays = {}
    for side in ("query", "gallery"):
        pids = np.repeat(np.arange(1, 7), 2)
        arrays[f"{side}_embeddings"] = np.eye(7)[pids] + 0.3 * rng.standard_normal((12, 7))
        arrays[f"{side}_pids"] = pids
        arrays[f"{side}_camids"] = np.tile([0, 1], 6)
    path = tmp_path_factory.mktemp("edges") / "crowd.npz"
    np.savez(path, **arrays)
    return path


def answered_or_one_line(outcome) -> None:
    code, _, err = outcome
    assert code in (0, 1, 2), err
    assert "Traceback" not in err
    if code == 1:
        assert err.startswith("error: "), err
        assert err.count("\n") == 1


@settings(
    max_examples=50,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_options_of_an_evaluation_at_their_edges(run, crowd, data):
    chosen = data.draw(st.lists(st.sampled_from(sorted(NUMERIC)), max_size=3, unique=True))
    arguments = ["eval", "--embeddings", str(crowd)]
    for option in chosen:
        arguments += [option, data.draw(st.sampled_from(NUMERIC[option]), label=option)]
    arguments += data.draw(st.lists(st.sampled_from(FLAGS), max_size=2, unique=True))
    answered_or_one_line(run(*arguments))


@pytest.mark.parametrize(
    "options",
    [
        ("--rerank", "--k1", 10**20, "--k2", 10**20),
        ("--rerank", "--k1", 10**400),
        ("--query-expansion", 10**20, "--alpha", "1e308"),
        ("--database-augmentation", 10**20),
        ("--top-k", 10**20),
    ],
)
def test_more_than_there_is_means_all(run, crowd, options):
    outcome = run("eval", "--embeddings", crowd, *options)
    assert outcome.code == 0, outcome.err


def test_a_k1_beyond_the_images_means_all_of_them(run, crowd, tmp_path):
    found = []
    for k1 in (48, 10**20):
        target = tmp_path / f"{k1}.json"
        assert (
            run("eval", "--embeddings", crowd, "--rerank", "--k1", k1, "--json", target).code == 0
        )
        found.append(json.loads(target.read_text())["mAP"])
    assert found[0] == found[1]


@pytest.mark.parametrize("seed", [-1, 2**32, 10**20])
def test_a_seed_out_of_range_is_refused(run, crowd, seed):
    outcome = run("eval", "--embeddings", crowd, "--seed", seed)
    assert outcome == (1, "", f"error: seed is {seed}: give 0 to 4294967295\n")


def test_refusals_load_nothing_heavy(crowd):
    refused = [
        ["eval"],
        ["eval", "--embeddings", "gone.npz"],
        ["eval", "--embeddings", str(crowd), "--device", "tpu"],
        ["eval", "--embeddings", str(crowd), "--seed", "-1"],
        ["eval", "--embeddings", str(crowd), "--rerank", "--lambda", "2"],
        ["eval", "--embeddings", str(crowd), "--report", str(crowd.parent)],
        ["eval", "--embeddings", str(crowd), "--report", "new", "--map", "404"],
        ["eval", "--checkpoint", "gone", "--dataset", "market1501"],
        ["compare", "a.npz", "b.npz"],
        ["compare", "gone", "a.npz", "--dataset", "market1501"],
        ["benchmark", "rank", "--embeddings", "gone.npz"],
    ]
    code = (
        "import sys\n"
        "from reid_dhm.cli import main\n"
        f"for arguments in {refused!r}:\n"
        "    try:\n"
        "        main(arguments)\n"
        "    except SystemExit as end:\n"
        "        assert end.code in (1, 2), arguments\n"
        "    heavy = {'torch', 'scipy', 'faiss', 'cv2', 'matplotlib'} & set(sys.modules)\n"
        "    assert not heavy, (arguments, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", ["[blue].npz", "[red]a.npz", "a\x1b[2Jb.npz", "a\nb.npz"])
def test_names_of_files_are_shown_as_they_are(run, crowd, tmp_path, name):
    path = tmp_path / name
    path.write_bytes(crowd.read_bytes())
    other = tmp_path / "b.npz"
    other.write_bytes(crowd.read_bytes())
    shown = path.stem.replace("\x1b", "\\x1b").replace("\n", "\\n")
    for command in (("eval", "--embeddings", path), ("compare", path, other)):
        outcome = run(*command)
        assert outcome.code == 0, outcome.err
        assert shown in outcome.out
        assert "\x1b" not in outcome.out
    outcome = run("eval", "--embeddings", path.with_name("gone" + name))
    assert "\x1b" not in outcome.err
    assert outcome.err.count("\n") == 1


def test_a_name_that_is_no_text_is_shown_with_escapes(run, crowd, tmp_path):
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.npz"))
    path.write_bytes(crowd.read_bytes())
    thresholds = tmp_path / "t.json"
    outcome = run("eval", "--embeddings", path, "--thresholds", thresholds)
    assert outcome.code == 0, outcome.err
    assert "\\xff" in outcome.out
    assert json.loads(thresholds.read_text())["dataset"] == path.name


def test_json_in_a_pipe_leaves_it_a_pipe(run, crowd, tmp_path):
    pipe, received = tmp_path / "pipe.json", []
    os.mkfifo(pipe)
    reader = threading.Thread(target=lambda: received.append(json.loads(pipe.read_text())))
    reader.start()
    assert run("eval", "--embeddings", crowd, "--json", pipe).code == 0
    reader.join(10)
    assert received[0]["num_queries"] == 12
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("appended", [False, True])
def test_standard_output_holds_the_json_alone(crowd, tmp_path, appended):
    log = tmp_path / "out.json"
    log.write_text("earlier\n" * appended)
    command = [sys.executable, "-m", "reid_dhm", "eval", "--embeddings", crowd]
    with log.open("a") as out:
        done = subprocess.run(
            [*command, "--json", "/dev/stdout"],
            stdout=out, stderr=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    written = log.read_text()
    assert json.loads(written.removeprefix("earlier\n"))["num_queries"] == 12
    assert written.startswith("earlier\n" * appended)
    assert "mAP" in done.stderr  # what is printed besides


def test_json_replaces_figures_and_nothing_else(run, crowd, tmp_path):
    figures, other = tmp_path / "figures.json", tmp_path / "gallery.sqlite"
    for content in ("", "{}", "[1]"):
        figures.write_text(content)
        assert run("eval", "--embeddings", crowd, "--json", figures).code == 0
    other.write_bytes(b"SQLite format 3\0")
    outcome = run("eval", "--embeddings", crowd, "--json", other)
    assert outcome.code == 2
    assert "exists and is not JSON" in " ".join(outcome.err.split())
    assert other.read_bytes() == b"SQLite format 3\0"
    before = crowd.read_bytes()
    assert run("eval", "--embeddings", crowd, "--json", crowd).code == 2
    assert crowd.read_bytes() == before


def test_json_in_a_device_leaves_it_a_device(run, crowd):
    assert run("eval", "--embeddings", crowd, "--json", "/dev/null").code == 0
    assert stat.S_ISCHR(Path("/dev/null").stat().st_mode)


def test_a_run_ends_with_its_files_and_the_next_command(run, crowd, tmp_path):
    target = tmp_path / "figures.json"
    outcome = run("eval", "--embeddings", crowd, "--json", target)
    assert f"figures: {target}\nnext: " in outcome.out
    outcome = run("eval", "--embeddings", crowd, "--report", tmp_path / "report")
    assert f"report: {tmp_path / 'report' / 'index.html'}" in outcome.out
