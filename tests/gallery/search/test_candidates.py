"""Candidates as values: likely matches, detections, JSON, and how a notebook shows them."""

import numpy as np
import pytest

from reid_dhm.errors import InputError, UnsupportedError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.records import Tracklet, TrackletId
from reid_dhm.gallery.search.candidates import Candidate, Candidates
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher

RED = np.array([[0.9, -0.3, -0.3]])


def candidate(probability: float | None, camera: str = "gate") -> Candidate:
    found = Tracklet(
        *(1, TrackletId("9f86d081884c7d65", 1), camera, "gate.mp4", 1.0, 2.0, None, None),
        *(0, 1, 2, "<b>anna</b>", 0, (0.0, 0.0, 1.0, 1.0)),
    )
    return Candidate(found, 0.5, probability)


@pytest.fixture
def gallery(empty, keep_film):
    keep_film(empty)
    return empty


class TestLikely:
    def test_is_half_or_more(self):
        items = [candidate(probability) for probability in (0.9, 0.5, 0.49)]
        assert Candidates(items).likely == Candidates(items[:2])
        assert [item.is_likely for item in items] == [True, True, False]

    def test_needs_thresholds(self):
        with pytest.raises(UnsupportedError, match="give thresholds"):
            _ = Candidates([candidate(None)]).likely

    def test_follows_the_thresholds_file(self, gallery):
        # Of two tracklets, red has a cosine of almost 1 and blue one far below 0.
        thresholds = Thresholds("cosine", "film", None, 9, 9, (), Calibration(20.0, -4.0, 0.5))
        found = Searcher(gallery, thresholds=thresholds).search(RED, 5)
        assert found.likely == found[:1]


class TestDetections:
    def test_are_every_box_of_the_tracklet(self, gallery, film):
        (found,) = Searcher(gallery).run(SearchRequest(top_k=1), RED, details=True)
        detections, boxes = found.to_detections(), film.boxes["red"]
        assert (detections.xyxy == boxes["box"]).all()
        assert (detections.confidence == boxes["score"]).all()
        assert (detections.data["frame"] == boxes["frame"]).all()
        assert (detections.data["time"] == boxes["time"]).all()
        assert set(detections.tracker_id) == {1}
        only = detections[detections.data["frame"] == 20]
        assert only.xyxy.tolist() == boxes["box"][boxes["frame"] == 20].tolist()

    def test_need_the_details(self, gallery):
        (found,) = Searcher(gallery).search(RED, 1)
        with pytest.raises(InputError, match="was read without its boxes"):
            found.to_detections()


class TestShown:
    def test_a_notebook_gets_a_table_with_images_and_escaped_names(self, gallery):
        found = Searcher(gallery).run(SearchRequest(), RED, details=True)
        page = found._repr_html_()
        assert page.count("data:image/jpeg;base64,") == len(found) == 2
        assert f"{found[0].similarity:.3f}" in page
        page = candidate(0.931, "<script>")._repr_html_()
        assert "<script>" not in page
        assert "&lt;script&gt;" in page
        assert "&lt;b&gt;anna&lt;/b&gt;" in page
        assert "93.1%" in page

    def test_a_slice_is_candidates_too(self, gallery):
        found = Searcher(gallery).search(RED, 2)
        assert isinstance(found[:1], Candidates)
        assert found[:1][0] == found[0]
        assert "2 candidates\n  1. gate, 0.5 to 3.0 s, similarity" in repr(found)
