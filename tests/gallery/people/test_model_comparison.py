"""Which model separates the people of a gallery best, told without a label."""

import itertools
import json
from pathlib import Path

import numpy as np
import pytest

from reid_dhm.benchmarks.footage.pairs import crops as crops_of
from reid_dhm.benchmarks.footage.pairs import read_boxes
from reid_dhm.cli import main
from reid_dhm.errors import InputError
from reid_dhm.gallery.people.comparison import model_comparison
from reid_dhm.gallery.people.comparison.known_pairs import KnownPairs, known_pairs
from reid_dhm.gallery.people.comparison.model_comparison import compare_models
from reid_dhm.gallery.people.comparison.report import write_model_comparison
from reid_dhm.gallery.people.comparison.separation import difference, separation
from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.writing import VideoWriter
from reid_dhm.gallery.track.crops import encode_jpeg
from reid_dhm.inference.named import openers

SHARED = Path(__file__).parents[4] / "shared"
SCENES, PEOPLE, IMAGES = 4, 5, 4
ANY = np.array([1, 0], np.float16)


def add(gallery: GalleryStore, scene: int, tracklets: list[NewTracklet]) -> None:
    gallery.claim_model("a" * 64, 2, "model")
    video = NewVideo(f"{scene:016x}", f"scene{scene}.avi", 10.0, 640, 480)
    writer = VideoWriter.open(gallery, f"camera {scene}", video)
    writer.add(tracklets)
    writer.finish()


def tracklet(number: int, left: float, images: list[np.ndarray], top: float = 10) -> NewTracklet:
    boxes = np.zeros(10 * IMAGES, DETECTION)
    boxes["frame"] = np.arange(len(boxes))
    boxes["time"] = boxes["frame"] / 10
    boxes["box"] = (left, top, left + 40, 110)
    found = [
        Crop(10 * n, float(n), (left, top, left + 40, 110), 1.0, encode_jpeg(image), ANY)
        for n, image in enumerate(images)
    ]
    return NewTracklet(number, boxes, found, ANY)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Rates are not what is tested here."""
    monkeypatch.setattr(model_comparison, "_SECONDS", 0.0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Scenes of five people side by side, for 4 s each, and a second box on the first one."""
    random = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("scenes") / "gallery"
    with GalleryStore(path, create=True) as gallery:
        for scene in range(SCENES):
            walks = []
            for person in range(PEOPLE):
                colour = random.integers(30, 220, 3)
                images = [
                    np.clip(colour + random.normal(0, 15, (64, 32, 3)), 0, 255).astype(np.uint8)
                    for _ in range(IMAGES)
                ]
                walks.append(tracklet(person + 1, 100.0 * person, images))
                if person == 0:
                    walks.append(tracklet(PEOPLE + 1, 2.0, images, top=50))
            add(gallery, scene, walks)
    return path


@pytest.fixture
def gallery(folder):
    with GalleryStore(folder) as opened:
        yield opened


class Colours:
    """The mean colour of an image, with noise that hides it."""

    dim = 3

    def __init__(self, noise: float) -> None:
        self._noise = noise

    def __call__(self, images):
        random = np.random.default_rng(0)
        rows = np.array([image.mean((0, 1)) - 128 for image in images])
        rows += random.normal(0, self._noise, rows.shape)
        return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_pairs_are_those_that_are_certain(gallery):
    known = known_pairs(gallery, seconds=2.0)
    assert len(known.jpegs) == SCENES * (PEOPLE + 1) * IMAGES
    # Of four images a second apart, three pairs are two seconds apart.
    assert known.same.shape == (2, SCENES * (PEOPLE + 1) * 3)
    # Five people meet each other; the second box meets four of them, and lies on the fifth.
    assert known.different.shape == (2, SCENES * (10 + 4) * IMAGES**2)
    assert known.left_out == SCENES
    for rows, equal in ((known.same, True), (known.different, False)):
        owners = known.tracklets[rows]
        assert ((owners[0] == owners[1]) == equal).all()
    half = known_pairs(gallery, limit=SCENES * 3)
    assert known.tracklets.max() + 1 == SCENES * (PEOPLE + 1)
    assert half.tracklets.max() + 1 == SCENES * 3


def test_rates_are_those_of_the_definition():
    random = np.random.default_rng(1)
    owners = np.repeat(np.arange(15), 4)
    rows = random.standard_normal((15, 6))[owners] + 0.7 * random.standard_normal((60, 6))
    rows = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)
    pairs = np.array(list(itertools.combinations(range(60), 2))).T
    one = owners[pairs[0]] == owners[pairs[1]]
    known = KnownPairs([b""] * 60, owners, pairs[:, one], pairs[:, ~one], 0)
    found = separation(rows, known, [0.05, 0.01, 1e-9])
    assert list(found.tpr) == [0.05, 0.01]  # a rate below one pair cannot be measured
    same, different = ((rows[a] * rows[b]).sum(1) for a, b in (known.same, known.different))
    for rate, tpr in found.tpr.items():
        allowed = np.sort(different)[::-1][int(rate * len(different))]
        assert tpr.value == pytest.approx((same > allowed).mean(), abs=1e-9)
        assert 0 < tpr.low < tpr.value < tpr.high < 1
        drawn = []  # the bootstrap, by really repeating the pairs of the tracklets drawn
        for _ in range(300):
            times = np.bincount(random.integers(0, 15, 15), minlength=15)
            ones = np.repeat(same, times[owners[known.same[0]]])
            pairs_drawn = times[owners[known.different[0]]] * times[owners[known.different[1]]]
            others = np.sort(np.repeat(different, pairs_drawn))[::-1]
            drawn.append((ones > others[int(rate * len(others))]).mean())
        assert [tpr.low, tpr.high] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=0.06)
    assert difference(found, found).low == difference(found, found).high == 0


def test_the_better_model_is_told_and_chance_is_named(gallery):
    models = {"noisy": Colours(60), "clear": Colours(0), "blind": Colours(1e6)}
    seen = []
    found = compare_models(
        gallery,
        {name: lambda model=model: model for name, model in models.items()},
        report=lambda *done: seen.append(done),
    )
    assert [result.name for result in found.results] == ["clear", "noisy", "blind"]
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]
    clear, _, blind = found.results
    assert clear.may_be_best
    assert not blind.may_be_best
    assert blind.behind.high < 0
    assert clear.tpr.value > 0.5 > blind.tpr.high
    assert found.suggested is clear
    assert "3 models, suggested: clear" in repr(found)
    assert found._repr_html_().count("<tr>") == 4


def test_of_equal_models_the_faster_one_is_suggested(gallery, monkeypatch):
    monkeypatch.setattr(model_comparison, "images_per_second", lambda model, _: model.rate)

    def of_rate(rate: float) -> Colours:
        model = Colours(0)
        model.rate = rate
        return model

    found = compare_models(gallery, {"slow": lambda: of_rate(10), "fast": lambda: of_rate(99)})
    assert all(result.may_be_best for result in found.results)
    assert found.suggested.name == "fast"


def test_too_little_footage_is_named(empty, gallery):
    add(empty, 0, [tracklet(1, 0, [np.full((64, 32, 3), 90, np.uint8)])])
    with pytest.raises(InputError, match="0 pairs of images of one tracklet 1 s apart"):
        compare_models(empty, {"any": lambda: Colours(0)})
    with pytest.raises(InputError, match="no models to compare"):
        compare_models(gallery, {})


def test_the_page_shows_every_model_and_the_hardest_pairs(gallery, tmp_path, browser):
    models = {"clear": lambda: Colours(0), "/models/noisy.xml": lambda: Colours(60)}
    found = compare_models(gallery, models)
    write_model_comparison(tmp_path / "report", found, gallery)
    results = json.loads((tmp_path / "report" / "results.json").read_text())
    assert results["suggested"] == found.suggested.name
    page = browser.new_page()
    faults = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("requestfailed", lambda request: faults.append(request.url))
    page.goto((tmp_path / "report" / "index.html").as_uri())
    assert page.locator("table.models tbody th").all_inner_texts()[0].startswith("clear")
    assert "noisy" in page.locator("table.models").inner_text()
    assert page.locator(".pairs img").count() > 8
    broken = "images => images.filter(i => i.loading !== 'lazy' && !i.naturalWidth).length"
    assert page.locator("img").evaluate_all(broken) == 0
    assert "Where this can mislead" in page.content()
    assert faults == []
    page.close()


def test_the_command_suggests_a_model_and_how_to_move(folder, tmp_path, capsys):
    output = tmp_path / "result.json"
    with pytest.raises(SystemExit) as ended:
        main(["models", "compare", "--gallery", str(folder), "default", "--json", str(output)])
    assert ended.value.code == 0
    out = capsys.readouterr().out
    assert "suggested: default, the fastest of those that may be the best" in out
    assert f"next: reid-dhm gallery reembed --gallery {folder}" in out
    assert json.loads(output.read_text())["models"][0]["model"] == "default"
    with pytest.raises(SystemExit) as ended:
        main(["models", "compare", "--gallery", str(folder), "nothing"])
    assert ended.value.code == 1
    assert "nothing does not exist" in capsys.readouterr().err


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared clip and models are not here")
def test_on_a_real_clip_the_order_is_that_of_labels(tmp_path):
    boxes = read_boxes(SHARED / "data/vtest_tracklets.txt")
    wanted = np.unique(boxes.ids).tolist()
    images = {}
    for id, image in crops_of(SHARED / "data/vtest.avi", boxes, wanted):
        images.setdefault(id, []).append(image)
    with GalleryStore(tmp_path / "gallery", create=True) as gallery:
        walks = []
        for id in wanted:
            own = np.flatnonzero(boxes.ids == id)
            own = own[np.argsort(boxes.frames[own], kind="stable")]
            records = np.zeros(len(own), DETECTION)
            records["frame"], records["box"] = boxes.frames[own], boxes.corners[own]
            records["time"] = records["frame"] / 10
            even = np.linspace(0, len(own) - 1, len(images[id])).round().astype(int)
            kept = [
                Crop(
                    int(records["frame"][at]),
                    float(records["time"][at]),
                    tuple(records["box"][at].tolist()),
                    1.0,
                    encode_jpeg(np.ascontiguousarray(image[:, :, ::-1])),
                    ANY,
                )
                for at, image in zip(even, images[id], strict=True)
            ]
            walks.append(NewTracklet(int(id), records, kept, ANY))
        add(gallery, 0, walks)
        name = str(SHARED / "models/openvino/person-reidentification-retail-0288.xml")
        found = compare_models(gallery, openers(["default", name], "cpu"))
    best, other = found.results
    assert (best.label, other.label) == ("person-reidentification-retail-0288", "default")
    assert not other.may_be_best
