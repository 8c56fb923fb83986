import importlib
import json
import os
import signal
import subprocess
import sys
import threading
from types import SimpleNamespace

import numpy as np
import pytest

from reid_dhm.cli.output import command_line
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder
from reid_dhm.synthetic.clips import write_clips


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clip")
    return write_clips(folder, num_people=1, num_cameras=1, size=(96, 160), pause=1.0)[0]


def test_a_video_is_indexed_with_nothing_else_given(run, clip, tmp_path):
    done = run("index-video", "--gallery", tmp_path / "g", "--camera", "gate", clip.path)
    assert done.code == 0
    assert "error" not in done.err
    for stage in ("decode", "detect", "track and crop", "embed", "store"):
        assert stage in done.out
    assert "end to end" in done.out
    assert done.out.splitlines()[-2:] == [
        f"gallery: {tmp_path / 'g'}",
        f"next: reid-dhm search --gallery {tmp_path / 'g'} --query PERSON.jpg",
    ]
    with GalleryStore(tmp_path / "g") as gallery:
        assert gallery.count() >= 1
        assert gallery.fingerprint == Embedder(DEFAULT_CHECKPOINT).fingerprint
        assert gallery.dim == 1280
        (entry,) = audit.entries(gallery)
        assert (entry.action, entry.detail["camera"]) == ("index", "gate")


def test_figures_options_and_a_second_time(run, clip, tmp_path):
    figures = tmp_path / "figures.json"
    options = (
        *("--gallery", tmp_path / "g", "--camera", "gate", clip.path, "--json", figures),
        *("--start", "2026-03-01T08:00:00+01:00", "--detector", f"mot:{clip.truth}"),
        *("--stride", "2", "--to", "6"),
    )
    assert run("index-video", *options).code == 0
    found = json.loads(figures.read_text())
    assert found["frames"] == 30
    assert found["known"] is False
    assert found["stages"][0]["name"] == "decode"
    assert found["seconds"] > 0
    with GalleryStore(tmp_path / "g") as gallery:
        assert gallery.count() == found["tracklets"] >= 1
        assert found["videos"] == [gallery.videos()[0].hash]
        assert gallery.videos()[0].start_time.isoformat() == "2026-03-01T08:00:00+01:00"
    again = run("index-video", *options)
    assert (again.code, "nothing to do" in again.out) == (0, True)
    assert json.loads(figures.read_text())["known"] is True


def test_the_next_command_names_the_model(run, clip, trained_run, tmp_path):
    options = ["--gallery", tmp_path / "my site", "--checkpoint", trained_run]
    outcome = run("index-video", *options, "--camera", "gate", clip.path)
    assert outcome.out.splitlines()[-1] == (
        f"next: reid-dhm search --gallery '{tmp_path / 'my site'}' --query PERSON.jpg "
        f"--checkpoint {trained_run}"
    )


def test_a_suggested_command_writes_options_as_they_are_read():
    options = {"--size": (256, 128), "--query": ["a b", "c"], "--neck": None, "--by-person": True}
    expected = "reid-dhm search --size 256x128 --query 'a b' --query c --by-person"
    assert command_line("search", options) == expected


def test_nobody_there_is_said_in_one_line(run, clip, tmp_path):
    (tmp_path / "det.txt").write_text("")
    outcome = run(
        *("index-video", "--gallery", tmp_path / "g", "--camera", "gate", clip.path),
        *("--detector", f"mot:{tmp_path / 'det.txt'}"),
    )
    assert outcome.code == 0
    assert outcome.err.startswith(f"no people found in {clip.path}")
    assert outcome.err.count("\n") == 1


def test_people_who_are_not_kept_are_counted_and_told(run, clip, tmp_path):
    lines = [f"{frame},-1,{5 * frame},20,20,60,0.9" for frame in (1, 11, 21)]
    (tmp_path / "det.txt").write_text("\n".join(lines))
    options = (clip.path, "--camera", "gate", "--detector", f"mot:{tmp_path / 'det.txt'}")
    figures = tmp_path / "figures.json"
    outcome = run("index-video", "--gallery", tmp_path / "g", *options, "--json", figures)
    assert outcome.code == 0
    assert "3 people in" in outcome.err
    assert "none followed: nobody was seen in 3 frames in a row; give --tracker none" in outcome.err
    assert "no people found" not in outcome.err
    assert (
        json.loads(figures.read_text())["people"],
        json.loads(figures.read_text())["unkept"],
    ) == (3, 3)
    outcome = run("index-video", "--gallery", tmp_path / "n", *options, "--tracker", "none")
    assert ": 3 boxes, 3 tracklets" in outcome.out
    assert "every person in every frame is a tracklet" in outcome.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("gone.mp4",), "gone.mp4 does not exist"),
        (("{clip}", "--start", "noon"), "'noon' is not an ISO 8601 time"),
        (("{clip}", "--detector", "hog"), "unknown detector 'hog'"),
        (("{clip}", "--detector", "yolox:{clip}"), "is truncated or not an ONNX file"),
        (("{clip}", "--checkpoint", "gone"), "checkpoint gone does not exist"),
        (("{clip}", "--confidence", "0.3"), "motion has no scores: drop the confidence"),
        (("{clip}", "--camera", "gate\n"), "camera name 'gate\\n' is not allowed"),
        (("{clip}", "--from", "5", "--to", "2"), "empty span from 5 s to 2 s: need finite numbers"),
    ],
)
def test_bad_input_is_one_line_and_leaves_no_gallery(run, clip, tmp_path, options, message):
    options = [option.format(clip=clip.path) for option in options]
    outcome = run("index-video", "--gallery", tmp_path / "g", "--camera", "gate", *options)
    assert (outcome.code, outcome.out) == (1, "")
    assert outcome.err.startswith("error: ")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "g").exists()


def test_another_model_is_refused(run, clip, tmp_path, trained_run):
    options = ("--gallery", tmp_path / "g", "--camera", "gate", "--to", "1")
    assert run("index-video", *options, clip.path).code == 0
    outcome = run("index-video", *options, clip.path, "--checkpoint", trained_run)
    assert outcome.code == 1
    assert "holds embeddings of another model (default" in outcome.err


def test_interrupting_a_stream_keeps_what_was_seen(run, tmp_path, monkeypatch):
    """Ctrl-C, once some frames of a webcam were seen."""
    seen = threading.Event()

    class Webcam:
        def __init__(self) -> None:
            self.count = 0

        claimed_rate = 20.0

        def read(self):
            self.count += 1
            if self.count == 20 and not seen.is_set():
                seen.set()
                os.kill(os.getpid(), signal.SIGINT)
            return np.full((48, 64, 3), 90, np.uint8)

        def close(self) -> None:
            pass

    monkeypatch.setattr("reid_dhm.gallery.footage.streams.Webcam", lambda number: Webcam())
    monkeypatch.chdir(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    outcome = run("index-video", "--gallery", "g", "--camera", "desk", "7")
    assert outcome.code == 0
    assert signal.getsignal(signal.SIGINT) is before
    with GalleryStore(tmp_path / "g") as gallery:
        (video,) = gallery.videos()
        assert (video.source, video.complete, video.resumable) == ("webcam 7", True, False)
        assert video.start_time is not None


def test_a_files_interrupt_is_left_to_stop_the_run(clip):
    from reid_dhm.gallery.footage.sources import open_source

    command = importlib.import_module("reid_dhm.cli.output.interrupt")
    before = signal.getsignal(signal.SIGINT)
    with command.stopped_by_interrupt(open_source(str(clip.path))):
        assert signal.getsignal(signal.SIGINT) is before


def test_a_second_interrupt_of_a_stream_ends_the_process_at_once(monkeypatch):
    command = importlib.import_module("reid_dhm.cli.output.interrupt")
    events = []

    class Stream:
        info = SimpleNamespace(live=True)

        def stop(self) -> None:
            events.append("stop")

    monkeypatch.setattr(command.os, "_exit", lambda code: events.append(code))
    before = signal.getsignal(signal.SIGINT)
    with command.stopped_by_interrupt(Stream()):
        os.kill(os.getpid(), signal.SIGINT)
        assert events == ["stop"]
        os.kill(os.getpid(), signal.SIGINT)
        assert events == ["stop", 130]
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--to", "inf"), "empty span from 0 s to inf s: need finite numbers"),
        (("--start", "9999-12-31T23:59:59Z"), "is out of range: give a time between 1900 and 2999"),
        (("--fps", "nan"), "fps is nan: give frames per second"),
        (("--fps", "1e-300"), "fps is 1e-300"),
        (("--fps", "1e300"), "fps is 1e+300"),
        (("--stride", str(10**20)), "stride is 100000000000000000000: use 1 to 1000000"),
    ],
)
def test_numbers_at_their_edges_are_one_line(run, clip, tmp_path, options, message):
    outcome = run("index-video", "--gallery", tmp_path / "g", "--camera", "a", clip.path, *options)
    assert (outcome.code, outcome.out) == (1, "")
    assert message in outcome.err
    assert outcome.err.count("\n") == 1
    assert not (tmp_path / "g").exists()


@pytest.mark.parametrize("option", ["--from", "--track-confidence", "--confidence", "--patience"])
def test_options_that_are_not_numbers_are_wrong_usage(run, clip, tmp_path, option):
    outcome = run(
        *("index-video", "--gallery", tmp_path / "g", "--camera", "a", clip.path, option, "nan")
    )
    assert (outcome.code, outcome.out) == (2, "")
    assert option in outcome.err
    assert not (tmp_path / "g").exists()


def test_options_are_checked_before_anything_heavy_is_imported(tmp_path):
    script = (
        "import sys, reid_dhm.cli\n"
        "try: reid_dhm.cli.main(sys.argv[1:])\n"
        "except SystemExit: pass\n"
        "print([m for m in ('av', 'torch', 'supervision', 'openvino') if m in sys.modules])"
    )
    for options in (["gone.mp4"], [__file__, "--detector", "hog"], [__file__, "--to", "inf"]):
        command = ["index-video", "--gallery", str(tmp_path / "g"), "--camera", "a", *options]
        done = subprocess.run(
            [sys.executable, "-c", script, *command], capture_output=True, text=True, check=True
        )
        assert done.stdout.strip() == "[]"
        assert done.stderr.startswith("error: ")
