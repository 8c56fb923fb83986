"""``reid-dhm gallery delete`` of whoever looks like an image or a tracklet."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import pytest
import torch

from reid_dhm.cli import main
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.embedder import Embedder
from reid_dhm.models.card import ModelCard, save_model


class Outcome(NamedTuple):
    code: int
    out: str
    err: str


@pytest.fixture
def delete(capsys, folder) -> Callable[..., Outcome]:
    """Runs ``reid-dhm gallery delete`` in this process."""

    def delete(*arguments: object) -> Outcome:
        words = ("gallery", "delete", "--gallery", folder, *arguments)
        with pytest.raises(SystemExit) as caught:
            main([str(word) for word in words])
        out, err = capsys.readouterr()
        return Outcome(caught.value.code or 0, out, err)

    return delete


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A run folder whose model, though untrained, tells colours apart."""
    torch.manual_seed(0)
    card = ModelCard("resnet18", num_classes=2, size=(64, 32))
    run = tmp_path_factory.mktemp("runs") / "run"
    save_model(card.build(), card, run / "best.safetensors")
    return run


@pytest.fixture
def folder(model, keep_film, keep, tmp_path) -> Path:
    """Red and blue at the gate, and both again at the door, where red goes by as ``red again``."""
    embedder = Embedder(model, precision="float32")
    with GalleryStore(tmp_path / "site", create=True) as gallery:
        keep_film(gallery, embedder, embedder.fingerprint)
        gallery.claim_model = lambda *_: None  # of the film's
        keep(gallery, means(gallery), "door")
    return tmp_path / "site"


def means(gallery: GalleryStore) -> np.ndarray:
    return np.concatenate([page.embeddings for page in gallery.pages()]).astype(np.float32)


def ids(folder: Path) -> list[str]:
    with GalleryStore(folder) as gallery:
        return [str(found.id) for found in gallery.tracklets()]


def between(folder: Path) -> str:
    """A similarity that tells red from blue."""
    with GalleryStore(folder) as gallery:
        red, blue = means(gallery)[:2]
    assert red @ blue < 0.999
    return f"{(1 + red @ blue) / 2:.6f}"


def test_whoever_looks_like_a_tracklet_goes_with_it(delete, folder):
    red, blue, red_again, blue_again = ids(folder)
    outcome = delete("--like", red, "--min-similarity", between(folder), "--yes")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.count("1.000") == 2
    assert "2 tracklets deleted" in outcome.out
    assert ids(folder) == [blue, blue_again]
    with GalleryStore(folder) as gallery:
        search, asked, done = audit.entries(gallery)
    assert (search.action, search.detail["hits"]) == ("search", 2)
    assert (asked.action, asked.detail["state"]) == ("delete", "asked")
    assert sorted(done.detail["tracklets"]) == sorted([red, red_again])
    assert (done.detail["like"], done.detail["deleted"]) == ([red], 2)


def test_a_image_says_who_goes_and_conditions_where(delete, folder, model, film, tmp_path):
    red, blue, _, blue_again = ids(folder)
    capture = cv2.VideoCapture(str(film.path))
    image = [capture.read()[1] for _ in range(21)][-1]
    cv2.imwrite(str(tmp_path / "frame.png"), image)
    boxes = film.boxes["red"]
    x1, y1, x2, y2 = boxes["box"][boxes["frame"] == 20][0].astype(int)
    person = Embedder(model, precision="float32")([image[y1:y2, x1:x2, ::-1].copy()])[0]
    with GalleryStore(folder) as gallery:
        same, other = means(gallery)[:2] @ person
    assert same - other > 0.001
    options = ("--query", tmp_path / "frame.png", "--box", f"{x1},{y1},{x2},{y2}")
    options += ("--checkpoint", model, "--min-similarity", (same + other) / 2)
    outcome = delete(*options, "--camera", "door", "--yes")
    assert "1 tracklet deleted" in outcome.out
    assert ids(folder) == [red, blue, blue_again]


def test_what_is_shown_is_asked_about_and_nothing_else_goes(delete, folder, monkeypatch):
    red, *others = ids(folder)
    seen = []
    real = Searcher.above

    def above(self, *arguments):
        hits = real(self, *arguments)
        return [hit for hit in hits if str(hit.tracklet.id) == red]  # the other one came later

    monkeypatch.setattr(Searcher, "above", above)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("typer.confirm", lambda question: seen.append(question) or len(seen) > 1)
    options = ("--like", red, "--min-similarity", "0.999")
    outcome = delete(*options)
    assert (outcome.code, red in outcome.out, ids(folder)) == (1, True, [red, *others])
    assert delete(*options).code == 0
    assert seen == ["Delete 1 tracklet permanently?"] * 2
    assert ids(folder) == others


def test_nobody_alike_is_said(delete, folder):
    before = ids(folder)
    options = ("--like", before[0], "--min-similarity", "0.999", "--after", "1000", "--yes")
    assert "no tracklet is that similar" in delete(*options).out
    assert ids(folder) == before


@pytest.mark.parametrize("options", [("--like", "{}"), ("--min-similarity", "0.5")])
def test_a_person_and_a_similarity_need_each_other(delete, folder, options):
    before = ids(folder)
    outcome = delete(*(option.format(before[0]) for option in options), "--yes")
    assert (outcome.code, ids(folder)) == (2, before)
    assert "need each other" in outcome.err
