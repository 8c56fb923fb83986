"""Where likely matches end: by the gallery's own calibration, which goes with a deletion."""

import json

import numpy as np
import pytest

from reid_dhm.cli import main
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.gallery.people.thresholds.calibration import PairCalibration, PeopleThresholds
from reid_dhm.gallery.people.thresholds.stored import read_stored_thresholds, store_thresholds
from reid_dhm.gallery.records import TrackletFilter
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore

STEEP = Calibration(40.0, -30.0, 0.1)  # even at 0.75


def at_cosines(*cosines: float) -> np.ndarray:
    """Unit rows with these cosines to the first axis, otherwise orthogonal."""
    rows = np.zeros((len(cosines), 1 + len(cosines)))
    rows[:, 0] = cosines
    rows[np.arange(len(cosines)), 1 + np.arange(len(cosines))] = np.sqrt(1 - np.square(cosines))
    return rows


QUERY = np.eye(1, 7)


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Tracklets of one camera at cosines 0.95 … 0.1 to the query."""
    keep(empty, at_cosines(0.95, 0.9, 0.85, 0.5, 0.3, 0.1))
    return empty


def calibrated(gallery: GalleryStore, *pairs: tuple[int, int]) -> PeopleThresholds:
    found = PeopleThresholds(
        {1: np.ones(7, np.float32)}, 0.7, 0.8, 425,
        by_cameras={pair: PairCalibration(STEEP, 400, 1000) for pair in pairs},
    )  # fmt: skip
    store_thresholds(gallery, found, gallery.count(), gallery.state().deletions)
    return found


def print_of(capsys, gallery: GalleryStore, *options: str) -> list[str]:
    first = str(gallery.tracklets()[0].id)
    with pytest.raises(SystemExit):
        main(["search", "--gallery", str(gallery.folder), "--tracklet", first, *options])
    return capsys.readouterr().out.splitlines()


def test_thresholds_are_kept_as_they_were_found(site):
    made = calibrated(site, (1, 1))
    kept = read_stored_thresholds(site)
    assert kept.num_tracklets == 6
    assert kept.thresholds.by_cameras == made.by_cameras
    assert (kept.thresholds.link, kept.thresholds.join, kept.thresholds.negatives) == (
        0.7,
        0.8,
        425,
    )
    assert kept.thresholds.centres[1].tolist() == made.centres[1].tolist()


def test_the_gallery_s_own_calibration_sets_likely_ones_apart(site):
    calibrated(site, (1, 1))
    found = Searcher(site).run(SearchRequest(top_k=6), QUERY)
    assert [c.probability for c in found] == pytest.approx(
        STEEP.probability(np.array([c.similarity for c in found])).tolist()
    )
    assert len(found.likely) == 3
    assert [c.to_dict()["likely"] for c in found] == [True] * 3 + [False] * 3


def test_a_camera_that_was_not_calibrated_has_no_probability(site, keep):
    keep(site, at_cosines(0.99, 0.2, 0.1, 0.1, 0.1, 0.1), camera="door")
    calibrated(site, (1, 1))
    found = Searcher(site).run(SearchRequest(top_k=3), QUERY)
    assert [c.tracklet.camera for c in found] == ["door", "gate", "gate"]
    assert found[0].probability is None
    assert found[0].to_dict()["likely"] is None
    assert len(found.likely) == 2
    calibrated(site, (1, 1), (1, 2))
    gate = site.tracklets(TrackletFilter(cameras=["gate"]))[0]
    (first, *_) = Searcher(site).run(SearchRequest(tracklets=[gate.id]))
    assert first.probability is not None  # the cameras of both are known


def test_another_model_and_a_deletion_end_them(site):
    calibrated(site, (1, 1))
    with site.writing() as db:
        db.execute("UPDATE gallery SET fingerprint = 'another'")
    assert read_stored_thresholds(site) is None
    calibrated(site, (1, 1))
    state = site.state()
    deletion.delete(site, TrackletFilter(tracklets=[site.tracklets()[5].id]))
    assert read_stored_thresholds(site) is None
    found = PeopleThresholds({}, by_cameras={(1, 1): PairCalibration(STEEP, 1, 1)})
    store_thresholds(site, found, 6, state.deletions)  # computed before the deletion
    assert read_stored_thresholds(site) is None


@pytest.mark.parametrize("text", ["", "x", "{}", "[]", '{"model": 1}', "9" * 5000])
def test_altered_thresholds_are_one_line(site, capsys, text):
    calibrated(site, (1, 1))
    with site.writing() as db:
        db.execute("UPDATE gallery SET thresholds = ?", (text,))
    first = str(site.tracklets()[0].id)
    with pytest.raises(SystemExit) as caught:
        main(["search", "--gallery", str(site.folder), "--tracklet", first])
    assert caught.value.code == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"error: {site.path}: damaged (")


class TestPrinted:
    def test_likely_ones_stand_alone_and_the_rest_is_counted(self, site, capsys):
        calibrated(site, (1, 1))
        lines = print_of(capsys, site)
        ids = [str(t.id) for t in site.tracklets()]
        shown = [word for line in lines[:-1] for word in line.split() if word in ids]
        assert shown == ids[1:3]
        assert "2 likely (match probability of 50% or more) of 2 people" in lines
        assert "3 less likely candidates left out: --all shows everything" in lines
        basis = "probabilities: calibrated on this gallery's 425 pairs of people seen at once"
        assert basis in lines
        assert max(map(len, lines[:-1])) <= 80
        assert any("not proof of identity" in line for line in lines)
        assert len([line for line in print_of(capsys, site, "--all") if ids[5] in line]) == 1

    def test_without_a_calibration_the_largest_drop_is_shown(self, site, capsys):
        lines = print_of(capsys, site)
        similarities = [float(line.split()[-1]) for line in lines[1:6]]
        drop = int(np.argmin(np.diff(similarities)))
        assert (
            f"largest drop: from {similarities[drop]:.3f} to {similarities[drop + 1]:.3f}, "
            f"after candidate {drop + 1}"
        ) in lines
        assert not any("likely" in line for line in lines)

    def test_candidates_of_one_person_stand_together(self, site, capsys, tmp_path):
        ids = [t.id for t in site.tracklets()]
        statements.label(site, [ids[1], ids[4]], "Anna")
        figures = tmp_path / "found.json"
        lines = print_of(capsys, site, "--json", str(figures))
        shown = [line.split()[1] for line in lines[1:6]]
        assert shown == [str(ids[n]) for n in (1, 4, 2, 3, 5)]
        assert [line.split()[0] for line in lines[1:6]] == ["1", "4", "2", "3", "5"]
        flat = json.loads(figures.read_text())
        assert [c["person"] for c in flat] == ["Anna", None, None, "Anna", None]
        assert [c["person_id"] for c in flat] == [1, None, None, 1, None]
        assert max(len(line) for line in lines if str(tmp_path) not in line) <= 80
