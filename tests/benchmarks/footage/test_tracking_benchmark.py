"""Figures of tracks, by hand and against motmetrics."""

import pytest

from reid_dhm.benchmarks.footage.tracking import measure
from reid_dhm.errors import InputError

pytest.importorskip("motmetrics")


def write(path, rows):
    path.write_text("".join(f"{frame},{id},{x},10,20,40,1,-1,-1,-1\n" for frame, id, x in rows))
    return path


@pytest.fixture
def truth(tmp_path):
    """Two people side by side for ten frames."""
    rows = [(frame, id, 100 * id + frame) for frame in range(1, 11) for id in (1, 2)]
    return write(tmp_path / "gt.txt", rows)


def test_the_truth_itself_is_perfect(truth):
    figures = measure(truth, truth)
    assert (figures.tracks, figures.idf1, figures.switches, figures.mota) == (2, 1, 0, 1)
    assert (figures.recall, figures.precision, figures.purity) == (1, 1, 1)


def test_figures_by_hand(truth, tmp_path):
    # Track 7 follows person 1 for six frames and then person 2, whom track 8 followed until then;
    # nobody follows person 1 any longer, and a box is on nobody.
    rows = [(frame, 7, 100 + frame) for frame in range(1, 7)]
    rows += [(frame, 8, 200 + frame) for frame in range(1, 7)]
    rows += [(frame, 7, 200 + frame) for frame in range(7, 11)] + [(1, 9, 500)]
    figures = measure(write(tmp_path / "found.txt", rows), truth)
    assert figures.tracks == 3
    assert figures.switches == 1
    assert figures.recall == pytest.approx(16 / 20)
    assert figures.precision == pytest.approx(16 / 17)
    assert figures.mota == pytest.approx(1 - (4 + 1 + 1) / 20)
    assert figures.purity == pytest.approx((6 + 6) / 16)
    assert figures.idf1 == pytest.approx(2 * 12 / (20 + 17))


def test_ids_of_one_person_count_as_one(truth, tmp_path):
    rows = [(frame, 7, 100 + frame) for frame in range(1, 6)]
    rows += [(frame, 7, 200 + frame) for frame in range(6, 11)]
    found = write(tmp_path / "found.txt", rows)
    assert measure(found, truth).purity == 0.5
    assert measure(found, truth, {1: 0, 2: 0}).purity == 1


def test_tracks_of_another_clip_are_refused(truth, tmp_path):
    elsewhere = write(tmp_path / "other.txt", [(1, 1, 900)])
    with pytest.raises(InputError, match=r"no box of .* matches one of .*: are they of one clip"):
        measure(elsewhere, truth)
