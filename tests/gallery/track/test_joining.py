"""Pieces of a track are joined by appearance and place, and two people never are."""

import numpy as np
import pytest

from reid_dhm.gallery.records import DETECTION
from reid_dhm.gallery.track.joining import Piece, find_joins

SIZE = 240, 400  # height, width
RED, BLUE, GREEN = np.eye(3, dtype=np.float32)


def piece(key: int, frames: range, colour, left: float = 100, speed: float = 3, **changes) -> Piece:
    """Someone 40 wide and 100 high at 10 frames a second, `left` at frame 0."""
    boxes = np.zeros(len(frames), DETECTION)
    boxes["frame"], boxes["score"] = np.array(frames), 0.9
    boxes["time"] = boxes["frame"] / 10
    x = left + speed * boxes["frame"]
    boxes["box"] = np.stack([x, 0 * x + 60, x + 40, 0 * x + 160], axis=1)
    rows = colour + np.random.default_rng(key).normal(0, 0.05, (6, 3))
    rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return Piece(key, boxes, rows.astype(np.float32), **changes)


STRANGER = piece(90, range(60), GREEN, left=300, speed=-3)  # seen at once with the others


def chains(*pieces: Piece, longest: float = 300.0) -> list[list[int]]:
    ordered = sorted((*pieces, STRANGER), key=lambda p: (p.boxes["time"][0], p.key))
    return [list(chain) for chain in find_joins(ordered, SIZE, longest).chains]


def test_who_was_hidden_for_a_moment_goes_on():
    pieces = piece(1, range(25), RED), piece(2, range(32, 50), RED), piece(3, range(58, 80), RED)
    assert chains(*pieces) == [[1, 2, 3]]


@pytest.mark.parametrize(
    "second",
    [
        piece(2, range(30, 50), BLUE),  # another look
        piece(2, range(60, 80), RED),  # 3.6 seconds later
        piece(2, range(30, 50), RED, left=-200),  # three body heights away
        piece(2, range(20, 50), RED),  # seen at once for half a second
    ],
)
def test_another_person_is_not_taken_for_the_hidden_one(second):
    assert chains(piece(1, range(25), RED), second) == []


def test_two_people_seen_at_once_are_not_joined_by_a_piece_between_them():
    first = piece(1, range(100), RED, left=100, speed=0)
    between = piece(2, range(97, 102), RED, left=124, speed=0)
    third = piece(3, range(99, 160), RED, left=148, speed=0)  # in one frame with the first, beside
    (joined,) = chains(first, between, third)
    assert joined in ([1, 2], [2, 3])


def test_of_two_the_one_more_alike_goes_on():
    between = (RED + 0.4 * BLUE) / np.linalg.norm(RED + 0.4 * BLUE)
    first = piece(1, range(25), RED)
    assert chains(first, piece(2, range(28, 50), between), piece(3, range(30, 50), RED)) == [[1, 3]]


def test_who_left_the_frame_and_comes_back_is_new():
    leaving = piece(1, range(25), RED, left=290)  # its last box ends beyond the right edge
    assert leaving.boxes["box"][-1, 2] > SIZE[1]
    assert chains(leaving, piece(2, range(35, 60), RED, left=460, speed=-3)) == []
    back = piece(2, range(35, 60), RED, left=366, speed=-1)
    hidden = piece(1, range(25), RED, left=280)
    assert chains(hidden, back) == [[1, 2]]


def test_a_joined_track_is_no_longer_than_allowed():
    pieces = piece(1, range(25), RED), piece(2, range(32, 50), RED), piece(3, range(58, 80), RED)
    assert chains(*pieces, longest=5.0) in ([[1, 2]], [[2, 3]])


def test_what_a_user_spoke_of_is_left_alone():
    first = piece(1, range(25), RED, closed=True)
    assert chains(first, piece(2, range(32, 50), RED)) == []
    brief = piece(3, range(10, 13), BLUE, left=200, closed=True)
    assert list(find_joins([first, brief], SIZE, 300.0).brief) == []


def test_short_pieces_where_people_meet_are_told_unless_they_are_joined():
    first, between = piece(1, range(25), RED), piece(2, range(27, 30), RED)
    blip = piece(3, range(26, 29), BLUE)
    alone = piece(4, range(40, 43), BLUE, left=-100)
    found = find_joins([STRANGER, first, blip, between, alone], SIZE, 300.0)
    assert [list(chain) for chain in found.chains] == [[1, 2]]
    assert list(found.brief) == [3]


def test_nothing_is_joined_where_the_video_does_not_tell_how_alike_one_person_is():
    short = [piece(1, range(10), RED), piece(2, range(12, 22), RED)]
    assert list(find_joins(short, SIZE, 300.0).chains) == []
