"""People through the public interface."""

import pytest

import reid_dhm as reid

GATE = f"{1:016x}"


@pytest.fixture
def gallery(people_folder):
    with reid.Gallery(people_folder) as gallery:
        yield gallery


def test_people_are_found_narrowed_down_and_shown(gallery) -> None:
    assert len(gallery.people()) == 0
    people = gallery.link()
    assert [each.num_tracklets for each in people] == [3, 2, 2, 2, 1, 1]
    assert [each.person.id for each in gallery.people(min_cameras=2)] == [1, 2, 3, 4]
    assert len(gallery.people(cameras=["door"])) == 4
    assert repr(people[:1]) == "1 people\n  person 1: 3 tracklets, gate, door"
    html = people._repr_html_()
    assert html.count("<img") == 6
    with pytest.raises(reid.NotFoundError, match="no camera 'cellar'"):
        gallery.people(cameras=["cellar"])


def test_what_a_notebook_says_is_kept(gallery) -> None:
    people = gallery.link()
    assert gallery.name(people[2], "<Anna>").person.name == "<Anna>"
    assert "&lt;Anna&gt;" in gallery.people()._repr_html_()
    assert gallery.split(1, [f"{GATE}-7"]).num_tracklets == 1
    (joined,) = gallery.link([f"{GATE}-1", f"{GATE}-2"])
    assert (joined.person.id, joined.person.num_confirmed) == (1, 2)
    assert gallery.merge(["<Anna>", 4]).num_tracklets == 4
    assert gallery.route("<Anna>").cameras == ["gate", "door"]
    gallery.link()
    who = {str(t.id): t.person_id for t in gallery.tracklets()}
    assert who[f"{GATE}-1"] == who[f"{GATE}-2"] == 1 != who[f"{GATE}-7"]
    assert who[f"{GATE}-3"] == who[f"{GATE}-4"] == 3
    with pytest.raises(reid.InputError, match="has no effect with tracklets"):
        gallery.link([f"{GATE}-1", f"{GATE}-2"], travel_times={("gate", "door"): 5})
    with pytest.raises(reid.NotFoundError, match="has no person 'Zoe'"):
        gallery.route("Zoe")


def test_nobody_is_faster_than_said_and_small_galleries_are_not_calibrated(gallery) -> None:
    assert len(gallery.link(travel_times={("gate", "door"): 7200})) == 10
    assert gallery.calibrate() == []
