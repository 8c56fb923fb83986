"""Labels from overlaps, crops from a clip, and figures from pairs."""

import cv2
import numpy as np
import pytest

from reid_dhm.benchmarks.footage import pairs as footage_pairs
from reid_dhm.cli import main
from reid_dhm.errors import InputError
from reid_dhm.gallery.people.comparison import model_comparison

SIDE = 32


def write(path, rows):
    path.write_text("".join(f"{','.join(map(str, row))},1,-1,-1,-1\n" for row in rows))
    return path


def test_a_tracklet_belongs_to_the_person_that_most_of_its_boxes_match(tmp_path):
    truth = [(f, id, 40 * id, 0, 20, 40) for f in range(1, 11) for id in (1, 2, 3)]
    pure = [(f, 7, 41, 1, 20, 40) for f in range(1, 11)]
    mixed = [(f, 8, 40 if f < 5 else 80, 0, 20, 40) for f in range(1, 11)]
    mostly = [(f, 9, 120 if f < 8 else 300, 0, 20, 40) for f in range(1, 11)]
    boxes = footage_pairs.read_boxes(write(tmp_path / "t.txt", pure + mixed + mostly))
    known = footage_pairs.read_boxes(write(tmp_path / "gt.txt", truth))
    assert footage_pairs.label_tracklets(boxes, known) == {7: 1, 9: 3}
    assert footage_pairs.label_tracklets(boxes, known, {1: 0, 2: 0, 3: 1}) == {7: 0, 8: 0, 9: 1}


def test_figures_of_pairs():
    # At 0, 10 and 50 degrees person 0, at 21 and 30 degrees person 1, at 8 nobody known.
    angles = np.deg2rad([0, 10, 50, 21, 30, 8])
    people = np.array([0, 0, 0, 1, 1, -1])
    means = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    figures = footage_pairs.pair_figures(means, people)
    assert (figures.tracklets, figures.people) == (5, 2)
    # The nearest strangers lie 8, 2, 20, 11 and 20 degrees away: of the eight ordered pairs only
    # those between 21 and 30 degrees are nearer.
    assert figures.rank1 == 2 / 8
    # Different people are 11 degrees apart at least: of the four pairs of one person those of 10
    # and 9 degrees pass.
    assert figures.tpr == 2 / 4
    assert footage_pairs.pair_figures(means, np.array([0, 0, 1, 2, 2, -1])).rank1 == 2 / 4
    for nobody in (np.array([0, 1, 2, 3, 4, -1]), np.array([0, 0, 0, 0, 0, -1])):
        with pytest.raises(InputError, match="pairs need two people"):
            footage_pairs.pair_figures(means, nobody)


def test_crops_are_evenly_spaced_and_in_rgb(tmp_path):
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (64, 64))
    for frame in range(20):
        image = np.zeros((64, 64, 3), np.uint8)
        image[:, :, 0] = 10 * frame  # blue
        writer.write(image)
    writer.release()
    rows = [(frame, 3, -5, 10, 20, 40) for frame in range(1, 21)]
    boxes = footage_pairs.read_boxes(write(tmp_path / "t.txt", rows))
    found = list(footage_pairs.crops(path, boxes, [3]))
    assert [id for id, _ in found] == [3] * 8
    assert found[0][1].shape == (40, 14, 3)  # pixels count from 1, so -5 is 6 outside
    levels = [float(crop[:, :, 2].mean()) for _, crop in found]
    np.testing.assert_allclose(levels, 10 * np.linspace(0, 19, 8).round(), atol=6)
    longer = footage_pairs.read_boxes(write(tmp_path / "long.txt", [*rows, (30, 3, 0, 0, 9, 9)]))
    with pytest.raises(InputError, match="has 20 frames: the boxes need 30"):
        list(footage_pairs.crops(path, longer, [3]))


def test_frames_and_pixels_of_a_file_count_from_one_and_in_memory_from_zero(tmp_path):
    boxes = footage_pairs.read_boxes(write(tmp_path / "t.txt", [(1, 7, 1, 1, 2, 3)]))
    assert (boxes.frames.tolist(), boxes.ids.tolist()) == ([0], [7])
    assert boxes.corners.tolist() == [[0, 0, 2, 3]]


def test_what_is_no_file_is_not_read(tmp_path):
    with pytest.raises(InputError, match="is no file: give a MOTChallenge file"):
        footage_pairs.read_boxes(tmp_path)


@pytest.mark.parametrize("text", ["", "1,2\n", "a,b,c,d,e,f\n", "1,1,nan,0,2,2\n"])
def test_files_that_hold_no_boxes_are_refused(tmp_path, text):
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=r"t\.txt"):
        footage_pairs.read_boxes(tmp_path / "t.txt")


def test_ids_of_one_person_are_joined(tmp_path):
    path = tmp_path / "people.txt"
    path.write_text("# who is who\nblack coat: 1 19\n\nred: 3\n")
    assert footage_pairs.read_people(path) == {1: 0, 19: 0, 3: 1}
    path.write_text("black coat: one\n")
    with pytest.raises(InputError, match="has no ids"):
        footage_pairs.read_people(path)


def test_the_command_takes_names_and_draws_a_figure(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(model_comparison, "_SECONDS", 0.0)
    random = np.random.default_rng(0)
    path = tmp_path / "clip.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (160, 64))
    looks = random.integers(0, 255, (2, 64, 32, 3), np.uint8)
    for _ in range(8):
        image = np.full((64, 160, 3), 90, np.uint8)
        image[:, :32], image[:, 64:96] = looks
        writer.write(image)
    writer.release()
    lines = [(f, id, 64 * (id % 2), 0, 32, 64) for f in range(1, 9) for id in (0, 1)]
    halves = [(f, id + 2 * (f > 4), *box) for f, id, *box in lines]
    truth, tracklets = write(tmp_path / "gt.txt", lines), write(tmp_path / "t.txt", halves)
    options = ["--video", path, "--tracklets", tracklets, "--truth", truth]
    figure, json = tmp_path / "front.svg", tmp_path / "pairs.json"
    with pytest.raises(SystemExit) as ended:
        main([str(part) for part in ("benchmark", "footage-pairs", *options, "default",
                                     "--figure", figure, "--json", json)])  # fmt: skip
    assert ended.value.code == 0
    assert "4 labelled tracklets of 2 people" in capsys.readouterr().out
    assert "default" in figure.read_text()
    assert '"rank1": 1.0' in json.read_text()
