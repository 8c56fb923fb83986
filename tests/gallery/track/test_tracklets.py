from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.gallery.records import DETECTION, Crop
from reid_dhm.gallery.track.crops import (
    BestCrops,
    cut,
    decode_jpeg,
    encode_jpeg,
    geometric_quality,
    sharpness,
)
from reid_dhm.gallery.track.tracking import from_records
from reid_dhm.gallery.track.tracklets import (
    TrackletBuilder,
    TrackSettings,
    embed_tracks,
    rank_crops,
    worth_keeping,
)

IMAGE = np.random.default_rng(0).integers(0, 256, (200, 400, 3), np.uint8)


def boxes_of(frame: int, *boxes, score: float = 0.9) -> np.ndarray:
    records = np.zeros(len(boxes), DETECTION)
    records["frame"], records["time"], records["score"] = frame, frame / 10, score
    records["box"] = np.array(boxes, np.float32).reshape(-1, 4)
    return records


def walker(frame: int, left: float = 20, speed: float = 3, top: float = 20) -> tuple:
    x = left + speed * frame
    return x, top, x + 40, top + 100


def quality(*boxes, scores=None) -> list[float]:
    found = geometric_quality(
        np.array(boxes, np.float32),
        np.ones(len(boxes), np.float32) if scores is None else np.array(scores, np.float32),
        (200, 400),
    )
    return [round(float(value), 6) for value in found]


def test_quality_is_the_product_of_what_it_says():
    assert quality((10, 10, 50, 74)) == [0.5]  # half of 128 pixels
    assert quality((10, 10, 50, 190)) == [1]  # more than 128 is no better
    assert quality((10, 10, 50, 74), scores=[0.5]) == [0.25]
    assert quality((0, 10, 40, 74)) == [0.2]  # cut by the frame's edge
    assert quality((10, 136, 50, 200)) == [0.2]
    assert quality((10, 10, 50, 74), (30, 10, 70, 74)) == [0.25, 0.25]  # half covered each
    assert quality((10, 10, 50, 74), (0, 0, 400, 200)) == [0, pytest.approx(0.4 * 0.968, abs=1e-3)]
    assert quality((10, 10, 50, 24)) == [0]  # too small to show anybody
    assert quality((10, 10, 16, 74)) == [0]


def test_sharpness_tells_detail_from_blur():
    flat = np.full((128, 64, 3), 90, np.uint8)
    assert sharpness(flat) == 0
    assert 0.5 < sharpness(IMAGE[:128, :64]) < 1
    slope = np.repeat(np.linspace(0, 255, 128).astype(np.uint8)[:, None], 64, 1)
    assert sharpness(np.dstack([slope] * 3)) < 0.1


def test_crops_are_the_pixels_of_the_box():
    np.testing.assert_array_equal(cut(IMAGE, (10.6, 20.2, 30.1, 40.0)), IMAGE[20:40, 10:31])
    np.testing.assert_array_equal(cut(IMAGE, (-5, -5, 30, 40)), IMAGE[:40, :30])
    assert cut(IMAGE, (390, 190, 500, 500)).shape == (10, 10, 3)


def test_kept_images_are_rgb_when_they_come_back_and_not_larger_than_needed():
    red = np.zeros((64, 32, 3), np.uint8)
    red[..., 2] = 200  # BGR
    np.testing.assert_allclose(decode_jpeg(encode_jpeg(red))[32, 16], (200, 0, 0), atol=6)
    assert decode_jpeg(encode_jpeg(np.zeros((2000, 1000, 3), np.uint8))).shape == (512, 256, 3)
    with pytest.raises(ValueError, match="is a truncated JPEG"):
        decode_jpeg(b"\xff\xd8")


def offered(times_and_limits, count: int = 3, apart: float = 0.5) -> BestCrops:
    best = BestCrops(count, apart)
    for number, (time, limit) in enumerate(times_and_limits):
        best.offer(number, time, (50, 50, 90, 150), limit, IMAGE)
    return best


def kept(best: BestCrops) -> list[float]:
    """Their times, best first."""
    return [crop.time for crop in best.crops]


def test_kept_crops_are_spread_over_time_and_good_where_close():
    even = [(second, 0.5) for second in range(9)]
    assert sorted(kept(offered(even, count=5))) == [0, 2, 4, 6, 8]
    sharp_at_the_end = [(second, 0.1 + 0.01 * second) for second in range(9)]
    assert max(np.diff(sorted(kept(offered(sharp_at_the_end, count=5))))) <= 3
    assert kept(offered([(0, 0.5), (1, 0.9), (2, 0.7), (3, 0.8)])) == [1, 3, 0]
    assert kept(offered([(0, 0.5), (0.3, 0.9), (0.6, 0.7)])) == [0.6, 0]  # 0.3 s apart is too close
    assert kept(offered([(0, 0.5), (0.2, 0.9)], apart=0.2)) == [0.2, 0]
    assert kept(offered([(0, 0.5), (1, 0.6), (2, 0.4)], count=1)) == [1]
    assert kept(offered([(0, 0), (1, 0)])) == []


@settings(deadline=None, max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 100)), max_size=30),
    st.integers(1, 4),
    st.integers(0, 30),
)
def test_what_is_kept_is_a_few_far_apart_and_the_same_after_a_restart(offers, count, cut_at):
    offers = sorted((time / 10, limit / 100) for time, limit in offers)
    best = offered(offers, count)
    times = sorted(kept(best))
    assert len(times) <= count
    assert all(later - earlier >= 0.4999 for earlier, later in pairwise(times))
    if offers and count > 1:
        assert times[0] == offers[0][0]
        assert times[-1] > offers[-1][0] - 0.5
    again = BestCrops(count, 0.5, offered(offers[:cut_at], count).crops)
    for number, (time, limit) in enumerate(offers[cut_at:], cut_at):
        again.offer(number, time, (50, 50, 90, 150), limit, IMAGE)
    assert kept(again) == kept(best)


def see(builder: TrackletBuilder, boxes: np.ndarray, image=IMAGE) -> list:
    """Show a frame with at least one box."""
    frame, time = boxes[["frame", "time"]][0].tolist()
    return builder.see(frame, time, from_records(boxes), image)


def follow(builder: TrackletBuilder, frames, image=IMAGE) -> list:
    """Show frames of boxes; the tracks that are done, those open at the end included."""
    done = []
    for boxes in frames:
        done += see(builder, boxes, image)
    return done + builder.end()


def test_people_are_numbered_as_they_come_and_keep_their_number():
    frames = []
    for number in range(30):
        boxes = [walker(number)]
        if number >= 10:
            boxes.insert(0, walker(number, left=200, speed=-3))  # boxes in another order
        frames.append(boxes_of(number, *boxes))
    first, second = follow(TrackletBuilder(TrackSettings(), 10), frames)
    assert (first.number, second.number) == (1, 2)
    np.testing.assert_allclose(np.concatenate(first.boxes)["box"][:, 1], 20)
    np.testing.assert_array_equal(
        np.diff(np.concatenate(first.boxes)["box"][:, 0]).round(3), np.full(28, 3)
    )
    assert len(second.boxes) == 19  # of 20: a track is believed from its second box on


def test_a_track_is_done_soon_after_the_person_left():
    builder = TrackletBuilder(TrackSettings(), 10)
    done_at = {}
    for number in range(30):
        boxes = boxes_of(number, walker(number)) if number < 10 else np.empty(0, DETECTION)
        for track in builder.see(number, number / 10, from_records(boxes), IMAGE):
            done_at[track.number] = number
    assert 10 < done_at[1] <= 18
    assert builder.open == {}


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
@pytest.mark.parametrize("rate", [1, 1.9, 2, 3])
def test_who_walks_slowly_is_followed_by_who_looks_seldom(tracker, rate):
    frames = [boxes_of(number, walker(number)) for number in range(12)]
    for boxes in frames:
        boxes["time"] = boxes["frame"] / rate
    (track,) = follow(TrackletBuilder(TrackSettings(tracker=tracker), rate), frames)
    assert len(track.boxes) == 11


def test_a_stream_that_gives_fewer_frames_than_it_claims_is_followed_soon():
    frames = [boxes_of(number, walker(number)) for number in range(40)]
    for boxes in frames:
        boxes["time"] = boxes["frame"]  # one a second, though it claims 25
    tracks = follow(TrackletBuilder(TrackSettings(), 25), frames)
    assert len(tracks[-1].boxes) > 25


def test_one_long_gap_does_not_make_anybody_wait():
    builder = TrackletBuilder(TrackSettings(), 10)
    for number in range(20):
        see(builder, boxes_of(number, walker(number)))
    (track,) = builder.see(600, 60.0, from_records(np.empty(0, DETECTION)), IMAGE)
    assert track.number == 1


def test_who_stays_long_makes_several_tracklets():
    settings = TrackSettings(max_seconds=1.0)
    frames = [boxes_of(number, walker(number, speed=0.5)) for number in range(40)]
    tracks = follow(TrackletBuilder(settings, 10), frames)
    assert [track.number for track in tracks] == [1, 2, 3, 4]
    assert all(track.seconds <= 1.1 for track in tracks)
    numbers = np.concatenate([np.concatenate(track.boxes)["frame"] for track in tracks])
    np.testing.assert_array_equal(numbers, np.arange(1, 40))


@pytest.mark.parametrize("tracker", ["bytetrack", "sort"])
def test_boxes_alone_bring_a_tracker_back_to_where_it_was(tracker):
    rng = np.random.default_rng(1)
    frames = []
    for number in range(60):
        boxes = [walker(number), walker(number, 250, -3, 60), walker(number, 120, 0.5, 90)]
        seen = [np.array(box) + rng.normal(0, 1.5, 4) for box in boxes if rng.random() < 0.85]
        if seen:
            frames.append(boxes_of(number, *seen))
    settings = TrackSettings(tracker=tracker)
    whole = follow(TrackletBuilder(settings, 10), frames)

    before = TrackletBuilder(settings, 10)
    for boxes in frames[:25]:
        see(before, boxes)
    stored = {number: track.best.crops for number, track in before.open.items()}
    after = TrackletBuilder(settings, 10)
    done = []
    for boxes in frames[:25]:
        done += see(after, boxes, None)
    after.restore(stored, [])
    done += follow(after, frames[25:])

    assert [track.number for track in done] == [track.number for track in whole]
    for ours, theirs in zip(done, whole, strict=True):
        assert np.concatenate(ours.boxes).tobytes() == np.concatenate(theirs.boxes).tobytes()
    for ours, theirs in zip(done, whole, strict=True):
        if ours.number in stored:
            assert [c.jpeg for c in ours.best.crops] == [c.jpeg for c in theirs.best.crops]
    assert stored  # else the restart would have proved nothing


def test_short_tracks_and_tracks_without_a_image_are_not_worth_keeping():
    settings = TrackSettings(min_boxes=5)
    long = [boxes_of(number, walker(number)) for number in range(10)]
    (track,) = follow(TrackletBuilder(settings, 10), long)
    assert worth_keeping(track, settings)
    (track,) = follow(TrackletBuilder(settings, 10), long[:4])
    assert not worth_keeping(track, settings)
    tiny = [boxes_of(number, (50, 50, 55, 60)) for number in range(10)]
    (track,) = follow(TrackletBuilder(settings, 10), tiny)
    assert not worth_keeping(track, settings)


def test_faint_boxes_begin_no_track():
    frames = [boxes_of(number, walker(number), score=0.4) for number in range(10)]
    assert follow(TrackletBuilder(TrackSettings(), 10), frames) == []
    assert len(follow(TrackletBuilder(TrackSettings(activation=0.3), 10), frames)) == 1


def test_crops_of_many_tracks_are_embedded_at_once_and_averaged():
    calls = []

    def embed(images):
        calls.append([image.shape for image in images])
        return np.eye(8, dtype=np.float32)[: len(images)]

    frames = [boxes_of(number, walker(number), walker(number, 250, -3, 60)) for number in range(28)]
    tracks = follow(TrackletBuilder(TrackSettings(crops=2), 10), frames)
    first, second = embed_tracks(tracks, embed)
    assert len(calls) == 1
    assert len(calls[0]) == 4
    np.testing.assert_array_equal(
        np.stack([crop.embedding for crop in (*first.crops, *second.crops)]), np.eye(8)[:4]
    )
    half = np.float16(np.sqrt(0.5))
    np.testing.assert_array_equal(first.mean, [half, half, 0, 0, 0, 0, 0, 0])
    assert first.mean.dtype == np.float16
    assert [crop.quality for crop in first.crops] == sorted(
        (crop.quality for crop in first.crops), reverse=True
    )
    assert isinstance(first.crops[0], Crop)


def test_a_image_unlike_the_others_comes_last_however_good():
    def embed(images):  # the best of them shows two people
        return np.array([[0, 1], [1, 0], [0.8, 0.6]], np.float32)[: len(images)]

    frames = [boxes_of(number, walker(number)) for number in range(28)]
    (track,) = follow(TrackletBuilder(TrackSettings(crops=3), 10), frames)
    found = embed_tracks([track], embed)[0].crops
    best_by_quality = track.best.crops[0]
    assert [crop.frame for crop in found][-1] == best_by_quality.frame
    np.testing.assert_array_equal(found[-1].embedding, [0, 1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"tracker": "deepsort"},
            "unknown tracker 'deepsort': use one of auto, bytetrack, sort, none",
        ),
        ({"crops": 0}, "crops is 0: use 1 or more"),
        ({"min_boxes": 0}, "min_boxes is 0"),
        ({"activation": float("nan")}, "track_confidence is nan: use 0 to 1"),
        ({"track_overlap": 1.5}, r"track_overlap is 1\.5: use 0 to 1"),
    ],
)
def test_settings_without_a_meaning_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrackSettings(**options)


def test_settings_survive_the_store():
    settings = TrackSettings(tracker="sort", crops=7)
    assert TrackSettings.from_dict({"detector": "motion", **settings.as_dict()}) == settings


def test_crops_and_mean_do_not_depend_on_the_order_in_which_crops_are_given():
    crops = [Crop(n, n / 10, (0, 0, 10, 20), 0.5, b"") for n in range(4)]
    rows = np.eye(4, dtype=np.float32)[[0, 1, 0, 0]]
    orders = ([0, 1, 2, 3], [3, 1, 0, 2])
    found = [rank_crops([crops[i] for i in order], rows[order]) for order in orders]
    ranked = [
        [order[place] for place in places] for order, (places, _) in zip(orders, found, strict=True)
    ]
    assert ranked == [[0, 2, 3, 1]] * 2
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_a_video_goes_on_with_the_defaults_it_was_begun_with_and_other_choices_stay():
    begun = {**TrackSettings(tracker="sort", crops=4, crops_apart=0.5).as_dict(), "stride": 1}
    now = TrackSettings(activation=0.3, crops=5).following(begun)
    assert (now.tracker, now.crops_apart) == ("sort", 0.5)
    assert (now.activation, now.crops) == (0.3, 5)
