from datetime import datetime, timedelta, timezone
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reid_dhm.gallery.records import Tracklet, TrackletId
from reid_dhm.gallery.search.candidates import Candidate
from reid_dhm.gallery.search.timeline import timelines

PARIS = timezone(timedelta(hours=1))


def candidate(camera: str, start: float, end: float, origin: datetime | None = None) -> Candidate:
    times = [None if origin is None else origin + timedelta(seconds=s) for s in (start, end)]
    found = Tracklet(
        *(1, TrackletId("9f86d081884c7d65", 1), camera, "gate.mp4", start, end, *times),
        *(0, 1, 2, None, 0, (0.0, 0.0, 1.0, 1.0)),
    )
    return Candidate(found, 0.5, None)


class TestTimelines:
    def test_bars_lie_where_the_ticks_say(self):
        midnight = datetime(2026, 3, 1, tzinfo=PARIS)
        hits = [
            candidate("yard", 8 * 3600, 8 * 3600 + 900, midnight),
            candidate("gate", 43200, 43201, midnight),
        ]
        (line,) = timelines(hits)
        assert line.title == "Time of day, UTC+01:00"
        assert list(line.lanes) == ["gate", "yard"]
        where = {tick.label: tick.left for tick in line.ticks}
        assert where["08:00"] == 0
        assert [tick.day for tick in line.ticks][:2] == ["2026-03-01", ""]
        ((yard,),) = line.lanes["yard"]
        assert (yard.rank, yard.left) == (1, 0)
        assert yard.width == pytest.approx((where["09:00"] - where["08:00"]) / 4)
        ((gate,),) = line.lanes["gate"]
        assert gate.left == pytest.approx(where["12:00"])

    def test_ticks_are_round_where_the_camera_is(self):
        kathmandu = timezone(timedelta(hours=5, minutes=45))
        begin = datetime(2026, 3, 1, 22, 10, tzinfo=kathmandu)
        (line,) = timelines([candidate("gate", 0, 4 * 3600, begin)])
        labels = [tick.label for tick in line.ticks]
        assert labels[0] == "22:00"
        days = {tick.label: tick.day for tick in line.ticks if tick.day}
        assert days == {"22:00": "2026-03-01", "00:00": "2026-03-02"}
        assert all(label.endswith(":00") for label in labels)

    def test_videos_without_a_clock_count_from_their_own_beginning(self):
        clocked = candidate("gate", 0, 5, datetime(2026, 3, 1, tzinfo=PARIS))
        lines = timelines([clocked, candidate("yard", 65, 75), candidate("yard", 3661, 3670)])
        assert [list(line.lanes) for line in lines] == [["gate"], ["yard, video 9f86d0"]]
        assert lines[1].title == "Time from the start of each video"
        labels = [tick.label for tick in lines[1].ticks]
        assert labels[0] == "0:00"
        assert "1:00:00" in labels

    def test_there_may_be_nothing_to_show(self):
        assert timelines([]) == []

    @given(
        spans=st.lists(
            st.tuples(st.sampled_from("ab"), st.floats(0, 1e6), st.floats(0, 1e4)),
            min_size=1,
            max_size=30,
        )
    )
    def test_every_candidate_has_a_bar_and_none_hides_another(self, spans):
        (line,) = timelines(
            [candidate(camera, start, start + long) for camera, start, long in spans]
        )
        bars = [bar for rows in line.lanes.values() for row in rows for bar in row]
        assert sorted(bar.rank for bar in bars) == list(range(1, len(spans) + 1))
        assert 2 <= len(line.ticks) <= 10
        lefts = [tick.left for tick in line.ticks]
        assert lefts == sorted(lefts)
        assert lefts[0] == pytest.approx(0)
        assert lefts[-1] == pytest.approx(100)
        for rows in line.lanes.values():
            for row in rows:
                assert all(bar.left >= -1e-6 and bar.left + bar.width <= 100 + 1e-6 for bar in row)
                for before, after in pairwise(row):
                    assert before.left + before.width <= after.left

    @pytest.mark.parametrize(
        ("start", "end", "origin"),
        [
            (0.0, 1e308, None),
            (-1e300, 1e12, None),
            (0.0, 60.0, datetime(9999, 12, 31, 23, 59, tzinfo=timezone.utc) - timedelta(minutes=1)),
            (0.0, 3e11, datetime(1, 1, 2, tzinfo=timezone.utc)),
        ],
    )
    def test_times_at_any_end_have_a_few_ticks(self, start, end, origin):
        (line,) = timelines([candidate("gate", start, end, origin)])
        assert 2 <= len(line.ticks) <= 10

    def test_times_that_are_no_numbers_are_left_out(self):
        assert timelines([candidate("gate", float("nan"), float("inf"))]) == []
