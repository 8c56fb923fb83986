"""``reid-dhm search`` from the words of a command to its files, and what it says when it cannot."""

import io
import json
import shlex
from collections.abc import Callable
from datetime import datetime, timezone
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import supervision as sv
import torch

from reid_dhm.cli import main
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds, write_thresholds
from reid_dhm.gallery.detect import factory
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.card import ModelCard, save_model

START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def run(capsys) -> Callable[..., Outcome]:
    """Runs ``reid-dhm search`` in this process."""

    def run(*arguments: object) -> Outcome:
        with pytest.raises(SystemExit) as caught:
            main(["search", *(str(argument) for argument in arguments)])
        out, err = capsys.readouterr()
        return Outcome(caught.value.code or 0, out, err)

    return run


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A run folder whose model, though untrained, tells colours apart."""
    torch.manual_seed(0)
    card = ModelCard("resnet18", num_classes=2, size=(64, 32))
    folder = tmp_path_factory.mktemp("runs") / "run"
    save_model(card.build(), card, folder / "best.safetensors")
    return folder


@pytest.fixture(scope="module")
def folder(model, keep_film, tmp_path_factory) -> Path:
    """A gallery of the film, with wall-clock times."""
    path = tmp_path_factory.mktemp("gallery") / "site"
    embedder = Embedder(model)
    with GalleryStore(path, create=True) as gallery:
        keep_film(gallery, embedder, embedder.fingerprint, START)
    return path


@pytest.fixture
def image(film, tmp_path) -> Path:
    """Frame 20 of the film."""
    capture = cv2.VideoCapture(str(film.path))
    image = [capture.read()[1] for _ in range(21)][-1]
    path = tmp_path / "frame.png"
    cv2.imwrite(str(path), image)
    return path


@pytest.fixture
def ids(folder) -> dict[str, str]:
    """Of both people."""
    with GalleryStore(folder) as gallery:
        return dict(
            zip(["red", "blue"], map(str, (t.id for t in gallery.tracklets())), strict=True)
        )


def box_of(film, colour: str) -> str:
    boxes = film.boxes[colour]
    return ",".join(f"{side:g}" for side in boxes["box"][boxes["frame"] == 20][0])


class TestFinding:
    @pytest.mark.parametrize("colour", ["red", "blue"])
    def test_a_box_in_a_image_finds_the_person(
        self, run, folder, model, image, film, ids, tmp_path, colour
    ):
        found = tmp_path / "found.json"
        outcome = run(
            *("--gallery", folder, "--checkpoint", model, "--query", image),
            *("--box", box_of(film, colour), "--json", found),
        )
        assert outcome.code == 0, outcome.err
        first, second = json.loads(found.read_text())
        assert first["tracklet"] == ids[colour]
        assert 1 >= first["similarity"] > second["similarity"]
        assert first["camera"] == "gate"
        assert first["video"] == ids[colour].split("-")[0]
        begin, end = film.boxes[colour]["time"][[0, -1]].tolist()
        assert (first["start"], first["end"]) == (begin, end)
        assert datetime.fromisoformat(first["start_time"]).timestamp() == START.timestamp() + begin
        assert first["box"] == film.boxes[colour]["box"][13].tolist()
        assert first["frame"] == film.boxes[colour]["frame"][13]
        assert first["probability"] is None
        assert first["crop"] is None
        assert ids[colour] in outcome.out.splitlines()[1]
        assert "2026-03-01 08:00:0" in outcome.out

    def test_a_tracklet_needs_no_model(self, run, folder, ids, tmp_path):
        found = tmp_path / "found.json"
        assert run("--gallery", folder, "--tracklet", ids["red"], "--json", found).code == 0
        assert [hit["tracklet"] for hit in json.loads(found.read_text())] == [ids["blue"]]

    def test_the_next_command_is_this_search_with_a_report(self, run, keep_film, model, tmp_path):
        folder = tmp_path / "my site"
        embedder = Embedder(model)
        with GalleryStore(folder, create=True) as gallery:
            keep_film(gallery, embedder, embedder.fingerprint, START)
            red = str(next(iter(gallery.tracklets())).id)
        asked = ["--gallery", folder, "--tracklet", red, "--camera", "gate", "--checkpoint", model]
        line = run(*asked).out.splitlines()[-1]
        again = shlex.split(line.removeprefix("next: ").partition(" (")[0])
        assert again == ["reid-dhm", "search", *map(str, asked), "--report", "found"]
        report = tmp_path / "found"
        served = run(*again[2:-1], report).out.splitlines()[-1].removeprefix("next: ")
        expected = ["reid-dhm", "serve", "--gallery", str(folder), "--checkpoint", str(model)]
        assert shlex.split(served.partition(" (")[0]) == expected

    def test_conditions_narrow_it_down(self, run, folder, ids, tmp_path):
        found = tmp_path / "found.json"
        asked = ("--gallery", folder, "--tracklet", ids["red"], "--json", found)
        outcome = run(*asked, "--after", "2026-03-01T09:00:00Z")
        assert outcome.out.splitlines()[0] == "no matching tracklets"
        assert json.loads(found.read_text()) == []
        run(*asked, "--before", "3.2", "--camera", "gate")
        assert len(json.loads(found.read_text())) == 1
        run(*asked, "--min-similarity", "0.999")
        assert json.loads(found.read_text()) == []

    def test_a_thresholds_file_gives_probabilities_and_is_named_as_not_the_gallery_s(
        self, run, folder, model, ids, tmp_path
    ):
        path = tmp_path / "mine.json"
        facts = Thresholds("cosine", "colours", None, 9, 9, (), Calibration(9.0, -4.0, 0.5))
        write_thresholds(path, facts)
        found = tmp_path / "found.json"
        outcome = run(
            *("--gallery", folder, "--tracklet", ids["red"]),
            *("--thresholds", path, "--json", found),
        )
        (hit,) = json.loads(found.read_text())
        with GalleryStore(folder) as gallery:
            odds = np.exp(9 * hit["similarity"] - 4) / gallery.count()
        expected = odds / (1 + odds)
        assert hit["probability"] == pytest.approx(expected)
        assert f"{expected:.1%}" in outcome.out
        assert "fitted on colours, not on this gallery: may be far too sure" in outcome.out
        assert hit["likely"] == (expected >= 0.5)

    def test_without_thresholds_there_are_none_and_no_word_of_it(self, run, folder, ids, tmp_path):
        found = tmp_path / "found.json"
        outcome = run("--gallery", folder, "--tracklet", ids["red"], "--json", found)
        assert (json.loads(found.read_text())[0]["probability"], outcome.err) == (None, "")

    def test_an_approximate_index_says_how_much_it_finds(self, run, folder, ids):
        outcome = run(*("--gallery", folder, "--tracklet", ids["red"], "--index", "HNSW8_SQfp16"))
        assert outcome.code == 0
        assert "HNSW8_SQfp16 is approximate: recall@10 is 100.0%" in outcome.err

    def test_every_search_is_in_the_audit_log(self, run, folder, ids):
        run("--gallery", folder, "--tracklet", ids["red"], "--camera", "gate")
        with GalleryStore(folder) as gallery:
            last = audit.entries(gallery)[-1]
        assert last.action == "search"
        assert last.detail == {"tracklets": [ids["red"]], "cameras": ["gate"], "hits": 1}


class TestFiles:
    def test_the_best_images_are_written(self, run, folder, ids, tmp_path):
        found = tmp_path / "found.json"
        run(
            *("--gallery", folder, "--tracklet", ids["red"], "--crops", tmp_path / "crops"),
            *("--json", found),
        )
        (hit,) = json.loads(found.read_text())
        image = cv2.imread(hit["crop"])
        assert Path(hit["crop"]).parent == tmp_path / "crops"
        assert image.shape == (60, 20, 3)
        assert image.mean((0, 1)).argmax() == 0  # blue, in BGR

    def test_the_video_is_written_with_everybody_in_it(self, run, folder, ids, tmp_path):
        outcome = run(
            *("--gallery", folder, "--tracklet", ids["red"]),
            *("--annotate", tmp_path / "seen.webm"),
        )
        assert outcome.code == 0, outcome.err
        assert f"annotated video: {tmp_path / 'seen.webm'} (40 frames of" in outcome.out
        assert cv2.VideoCapture(str(tmp_path / "seen.webm")).read()[0]

    def test_a_video_that_is_not_written_is_said(self, run, folder, ids, tmp_path):
        path = tmp_path / "all.webm"
        asked = ("--gallery", folder, "--tracklet", ids["red"], "--annotate", path)
        outcome = run(*asked, "--after", "1000")
        assert outcome.err == f"no candidates, so {path} was not written\n"
        assert not path.exists()

    def test_the_report_s_images_are_named(self, run, folder, ids, tmp_path):
        found = tmp_path / "found.json"
        outcome = run(
            *("--gallery", folder, "--tracklet", ids["red"], "--report", tmp_path / "report"),
            *("--json", found),
        )
        assert outcome.code == 0, outcome.err
        (hit,) = json.loads(found.read_text())
        assert Path(hit["crop"]).parent == tmp_path / "report" / "crops"
        assert Path(hit["crop"]).is_file()


class TestRefusals:
    def test_nobody_is_named(self, run, folder):
        outcome = run("--gallery", folder)
        assert outcome.code == 2
        assert "give --query IMAGE or --tracklet ID" in " ".join(outcome.err.split())

    @pytest.mark.parametrize(
        ("boxes", "message"),
        [(["1,2,3,4", "1,2,3,4"], "2 boxes for 1 images"), (["1,2,x,4"], "invalid box")],
    )
    def test_boxes_that_make_no_sense(self, run, folder, image, boxes, message):
        words = [word for box in boxes for word in ("--box", box)]
        outcome = run("--gallery", folder, "--query", image, *words)
        assert outcome.code == 2
        assert message in " ".join(outcome.err.replace("│", " ").split())

    @pytest.mark.parametrize(
        ("words", "message"),
        [
            (["--camera", "lawn"], "has no camera 'lawn': it has gate"),
            (["--after", "yesterday"], "'yesterday' is not an ISO 8601 time"),
            (["--not", "nobody"], "'nobody' is not a tracklet"),
            (["--index", "Flatt"], "index 'Flatt' is not a FAISS factory string"),
            (["--annotate", "seen.gif"], "use the suffix .webm"),
        ],
    )
    def test_one_line_says_what_is_wrong(self, run, folder, ids, words, message):
        outcome = run("--gallery", folder, "--tracklet", ids["red"], *words)
        assert outcome.code == 1
        assert outcome.err.startswith("error: ")
        assert message in outcome.err
        assert outcome.err.count("\n") == 1

    def test_a_image_that_shows_nobody(self, run, folder, model, tmp_path):
        asked = ("--gallery", folder, "--checkpoint", model, "--query", tmp_path / "query.png")
        assert "query.png does not exist" in run(*asked).err
        cv2.imwrite(str(tmp_path / "query.png"), np.zeros((10, 30, 3), np.uint8))
        assert "need at least 8x16" in run(*asked).err
        outcome = run(*asked, "--box", "90,0,99,40")
        assert outcome.code == 1
        assert "is outside" in outcome.err

    def test_a_whole_frame_is_questioned_and_a_detector_that_cannot_help_refused(
        self, run, folder, model, image
    ):
        asked = ("--gallery", folder, "--checkpoint", model, "--query", image)
        outcome = run(*asked)
        assert outcome.code == 2
        assert "too wide to show one person" in " ".join(outcome.err.replace("│", "").split())
        outcome = run(*asked, "--detector", "motion")
        assert outcome.code == 1
        assert "detector motion needs a video and the query is an image" in outcome.err

    def test_of_several_people_in_a_frame_the_user_chooses(
        self, run, folder, model, image, film, ids, tmp_path, monkeypatch
    ):
        detected = [film.boxes[c]["box"][film.boxes[c]["frame"] == 20][0] for c in ids]

        class Finds:
            stateful, settings = False, {"detector": "made up"}

            def detect(self, frame):
                scores = np.array([0.9, 0.8])[: len(detected)]
                return sv.Detections(np.array(detected), confidence=scores)

        monkeypatch.setattr(factory, "build_detector", lambda name: Finds())
        found = tmp_path / "found.json"
        asked = ("--gallery", folder, "--checkpoint", model, "--query", image, "--detector", "mine")
        outcome = run(*asked, "--json", found)
        assert outcome.code == 2
        assert not found.exists()
        boxes = [line.split("--box ")[1] for line in outcome.err.splitlines() if "--box " in line]
        left_to_right = sorted(map(tuple, detected))
        assert boxes == [",".join(f"{side:.0f}" for side in box) for box in left_to_right]
        assert run(*asked[:-2], "--box", boxes[0], "--json", found).code == 0
        by_box = json.loads(found.read_text())
        monkeypatch.setattr("sys.stdin", io.StringIO("3\n1\n"))
        monkeypatch.setattr("sys.stdin.isatty", lambda: True)
        outcome = run(*asked, "--json", found)
        assert "give a number from 1 to 2" in outcome.err
        assert [c["tracklet"] for c in json.loads(found.read_text())] == [
            c["tracklet"] for c in by_box
        ]
        detected.pop()
        assert f"--box {','.join(f'{s:.0f}' for s in detected[0])}" in run(*asked).err

    def test_a_gallery_of_another_model(self, run, folder, image):
        asked = ("--query", image, "--box", "10,10,40,90")
        outcome = run("--gallery", folder, *asked)  # the package's own
        assert outcome.code == 1
        assert "holds embeddings of another model" in outcome.err

    def test_a_gallery_of_nobody(self, run, tmp_path, model, image):
        assert "holds no gallery" in run("--gallery", tmp_path, "--query", image).err
        GalleryStore(tmp_path, create=True).close()
        asked = ("--query", image, "--box", "10,10,40,90")
        outcome = run("--gallery", tmp_path, "--checkpoint", model, *asked)
        assert outcome.code == 1
        assert "holds no tracklets yet: index a video into it first" in outcome.err

    def test_a_folder_that_is_no_report(self, run, folder, ids, tmp_path):
        (tmp_path / "notes.txt").write_text("mine")
        outcome = run("--gallery", folder, "--tracklet", ids["red"], "--report", tmp_path)
        assert outcome.code == 1
        assert "holds other files and is not a report" in outcome.err
        assert (tmp_path / "notes.txt").read_text() == "mine"
