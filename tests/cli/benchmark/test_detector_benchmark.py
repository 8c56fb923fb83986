"""``reid-dhm benchmark detectors``: figures of known boxes, and what the command prints."""

import json

import cv2
import numpy as np
import pytest

from reid_dhm.benchmarks.footage.detection import detect_clip, figures_at
from reid_dhm.benchmarks.footage.pairs import read_boxes
from reid_dhm.gallery.detect.protocol import to_detections
from reid_dhm.gallery.footage.sources import open_source

FRAMES = 70  # more than are decoded at once


class Known:
    """Finds the person in 56 of 70 frames, and something else, less surely, in 14."""

    stateful = False
    certain = 0.7

    def __init__(self):
        self.settings = {"detector": "known"}

    def detect(self, frame):
        boxes, scores = [], []
        if frame.number % 5 != 2:
            boxes.append((20, 10, 40, 60))
            scores.append(0.9)
        if frame.number % 5 == 4:
            boxes.append((70, 10, 90, 60))
            scores.append(0.3)
        return to_detections(np.array(boxes).reshape(-1, 4), np.array(scores), (80, 100))


@pytest.fixture
def clip(tmp_path):
    video = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter.fourcc(*"MJPG"), 10, (100, 80))
    for number in range(FRAMES):
        writer.write(np.full((80, 100, 3), number, np.uint8))
    writer.release()
    truth = tmp_path / "gt.txt"
    truth.write_text("".join(f"{f},1,21,11,20,50,1,-4.1,7.3,0\n" for f in range(1, FRAMES + 1)))
    return video, truth


def test_recall_precision_and_tracks_at_a_score(clip):
    video, truth = clip
    (found,) = detect_clip([Known()], open_source(str(video)))
    assert len(found.frames) == len(found.times) == FRAMES
    low, high = (figures_at(score, found, read_boxes(truth)) for score in (0.2, 0.5))
    assert low.recall == high.recall == pytest.approx(56 / 70)
    assert (low.precision, high.precision) == (pytest.approx(56 / 70), 1)
    assert high.f1 == pytest.approx(2 * 0.8 / 1.8)
    # A track begins with its second box, and its first one counts too: one track, no switch.
    assert high.switches == low.switches == 0
    assert 2 * 54 / (54 + 70) <= high.idf1 <= 2 * 56 / (56 + 70)


def test_the_command_compares_them(run, clip, tmp_path, monkeypatch):
    from reid_dhm.gallery.detect import factory

    monkeypatch.setattr(factory, "build_detector", lambda name, confidence: Known())
    options = ("--video", clip[0], "--truth", clip[1], "--scores", "0.2,0.5")
    target = tmp_path / "found.json"
    code, out, err = run("benchmark", "detectors", *options, "a.onnx", "b.xml", "--json", target)
    assert (code, err) == (0, "")
    assert "b: " in out
    assert "times the first" in out
    rows = json.loads(target.read_text())
    assert [(row["detector"], row["score"]) for row in rows[:3]] == [
        ("a", 0.2),
        ("a", 0.5),
        ("b", 0.2),
    ]
    assert rows[1]["precision"] == 1
    assert rows[1]["frames_per_second"] > 0
    code, _, err = run("benchmark", "detectors", *options[:4], "--scores", "0.9,x", "a.onnx")
    assert code == 1
    assert err.startswith("error: scores is '0.9,x'")
