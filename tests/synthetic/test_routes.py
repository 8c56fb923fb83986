"""Routes of people over several places."""

import numpy as np
import pytest

from reid_dhm.synthetic.routes import PLACES, TRAVEL_SECONDS, draw_routes


def test_nobody_is_in_two_places_at_once_and_cameras_of_one_place_see_them_together():
    walks = draw_routes(30, 400, seed=3)
    assert walks == draw_routes(30, 400, seed=3)
    begins = {camid: {(w.pid, w.begin) for w in own} for camid, own in walks.items()}
    assert begins[1] == begins[2] != begins[3]
    for pid in range(1, 31):
        own = np.sort([w.begin for place in PLACES for w in walks[place[0]] if w.pid == pid])
        assert (np.diff(own) > TRAVEL_SECONDS).all()


def test_tours_need_time():
    with pytest.raises(ValueError, match="2 tours need 240 seconds"):
        draw_routes(1, 100)
