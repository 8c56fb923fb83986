"""The page of a search, and what it does in a browser."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sqlite3
from datetime import datetime, timezone
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.gallery.people.thresholds.calibration import PairCalibration, PeopleThresholds
from reid_dhm.gallery.people.thresholds.stored import store_thresholds
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.query_image import QueryCrop
from reid_dhm.gallery.search.report import write_search_report
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store.gallery import GalleryStore

START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


@pytest.fixture(scope="module")
def gallery(keep, keep_film, tmp_path_factory):
    """The film, and on another camera somebody whose footage is gone."""
    with GalleryStore(tmp_path_factory.mktemp("site") / "site", create=True) as gallery:
        keep_film(gallery, start_time=START)
        keep(gallery, np.array([[0.9, -0.2, -0.1]]), "yard")
        yield gallery


@pytest.fixture(scope="module")
def report(gallery, film, tmp_path_factory) -> Path:
    """Of a search for red."""
    folder = tmp_path_factory.mktemp("report") / "found"
    image = np.full((60, 20, 3), (220, 30, 30), np.uint8)
    crop = QueryCrop(image, None, "/home/anna/<red> & co.png")
    request = SearchRequest(TrackletFilter(after=0.0))
    searcher = Searcher(gallery)
    found = searcher.search(np.array([[1, -0.5, -0.5]]), 5)
    files = write_search_report(folder, searcher, found, request, [crop])
    assert [file.is_file() for file in files if file] == [True] * 3
    return folder


class TestReport:
    def test_names_every_hit_with_place_time_and_similarity(self, report, gallery):
        page = (report / "index.html").read_text()
        found = json.loads((report / "results.json").read_text())
        assert [hit["camera"] for hit in found["hits"]] == ["gate", "yard", "gate"]
        for hit in found["hits"]:
            assert hit["tracklet"] in page
            assert f"{hit['similarity']:.3f}" in page
            assert (report / hit["crop"]).is_file()
        assert "2026-03-01 08:00:00 to 08:00:03 +00:00" in page
        assert found["kind"] == "search"
        assert found["asked"]["index"] == "Flat (exact)"

    def test_less_likely_candidates_are_folded_away(self, gallery, tmp_path):
        shutil.copytree(gallery.folder, tmp_path / "site")
        with GalleryStore(tmp_path / "site") as site:
            calibration = PairCalibration(Calibration(40.0, -30.0, 0.1), 425, 1000)
            pairs = {(camera.id, camera.id): calibration for camera in site.cameras()}
            store_thresholds(site, PeopleThresholds({}, negatives=425, by_cameras=pairs), 3, 0)
            found = Searcher(site).search(np.array([[1, -0.5, -0.5]]), 5)
            likely = len(found.likely)
            write_search_report(tmp_path / "found", Searcher(site), found, SearchRequest())
        page = (tmp_path / "found" / "index.html").read_text()
        shown, folded = page.split("<details>")
        assert shown.count('<article class="candidate"') == likely > 0
        assert folded.count('<article class="candidate"') == len(found) - likely > 0
        assert f"{likely} likely, with a match probability of 50 % or more" in shown

    def test_without_a_calibration_the_largest_drop_is_shown(self, report):
        page = (report / "index.html").read_text()
        assert "<details>" not in page
        assert "Similarity falls most after candidate 2" in page

    def test_what_it_is_given_is_escaped(self, report):
        page = (report / "index.html").read_text()
        assert "&lt;red&gt; &amp; co.png" in page
        assert "/home/anna" not in page

    def test_a_clip_shows_the_hit_and_footage_that_is_gone_is_told(self, report, film):
        page = (report / "index.html").read_text()
        assert re.findall(r"<video src=\"([^\"]+)\"", page) == ["clips/001.webm", "clips/003.webm"]
        assert "No clip: gate" not in page
        assert re.search(r"No clip: .*no longer where it was indexed", page)
        capture = cv2.VideoCapture(str(report / "clips/001.webm"))
        numbers = []
        while (image := capture.read()[1]) is not None:
            numbers.append(film.number(image))
        assert numbers == list(range(40))  # four seconds before and after, and not only the boxes
        poster = cv2.imread(str(report / "clips/001.jpg"))
        assert film.number(poster) == 18  # the best image's

    def test_an_older_report_is_replaced(self, report, gallery, tmp_path):
        folder = tmp_path / "found"
        shutil.copytree(report, folder)
        write_search_report(folder, Searcher(gallery), [], SearchRequest(min_similarity=0.99))
        assert not list((folder / "clips").iterdir())
        page = (folder / "index.html").read_text()
        assert "0 candidates" in page
        assert "No matching tracklets" in page
        assert "minimum similarity" in page

    def test_a_failure_leaves_nothing_behind(self, gallery, tmp_path):
        searcher = Searcher(gallery)
        found = searcher.search(np.array([[1, -0.5, -0.5]]), 2)

        def stop(done: int, total: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            write_search_report(tmp_path / "found", searcher, found, SearchRequest(), (), stop)
        assert not list(tmp_path.iterdir())


class TestDamage:
    def test_an_image_that_cannot_be_decoded_is_a_box(self, keep, tmp_path):
        with GalleryStore(tmp_path / "site", create=True) as gallery:
            keep(gallery, np.array([[0.9, -0.2, -0.1]]), "yard")
        database = sqlite3.connect(tmp_path / "site" / "gallery.sqlite")
        with contextlib.closing(database), database:
            database.execute("UPDATE crops SET jpeg = x'00'")
        with GalleryStore(tmp_path / "site") as gallery:
            searcher = Searcher(gallery)
            found = searcher.search(np.array([[1, -0.5, -0.5]]), 2)
            write_search_report(tmp_path / "found", searcher, found, SearchRequest())
        assert "no image" in (tmp_path / "found" / "index.html").read_text()


class TestInABrowser:
    @pytest.mark.parametrize("size", [(1280, 800), (390, 844)], ids=["desktop", "phone"])
    def test_everything_is_there_and_clips_play(self, browser, report, size):
        page = browser.new_page(viewport={"width": size[0], "height": size[1]})
        faults: list[str] = []
        page.on("console", lambda message: faults.append(message.text))
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("requestfailed", lambda request: faults.append(request.url))
        page.goto((report / "index.html").as_uri())
        for image in page.locator("img").all():
            image.scroll_into_view_if_needed()
        page.wait_for_function(
            "[...document.images].every(image => image.complete && image.naturalWidth > 0)"
        )
        assert page.evaluate("document.documentElement.scrollWidth") <= size[0]

        page.locator(".track a").first.click()
        assert page.url.endswith("#candidate-1")
        assert page.locator("#candidate-1").is_visible()

        clip = page.locator("#candidate-1 video")
        clip.evaluate("video => video.play()")
        page.wait_for_function("document.querySelector('#candidate-1 video').currentTime > 0.1")
        assert clip.evaluate("video => video.videoWidth") == 160
        assert not faults
        page.close()

    @pytest.mark.parametrize("width", [1280, 390])
    def test_labels_of_the_time_axis_do_not_overlap(self, browser, report, width):
        page = browser.new_page(viewport={"width": width, "height": 800})
        page.goto((report / "index.html").as_uri())
        axes = page.evaluate(
            """[...document.querySelectorAll('.axis')].map((axis) =>
                 [...axis.children].map((tick) => tick.getBoundingClientRect())
                   .filter((box) => box.width).map((box) => [box.left, box.right]))"""
        )
        for boxes in axes:
            assert len(boxes) >= 2
            assert all(before[1] < after[0] for before, after in pairwise(boxes))
        page.close()
