"""Cases keep what somebody found, as it was said, and go with the people they are about."""

import numpy as np
import pytest

from reid_dhm.errors import InputError, NotFoundError
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.store import audit, cases, deletion
from reid_dhm.gallery.store.cases import Content, Mark
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.gallery.store.integrity import check_integrity

JPEG = b"\xff\xd8 an image of somebody"


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Four tracklets before one camera; key n is track n."""
    keep(empty, np.random.default_rng(0).standard_normal((4, 8)))
    return empty


def mark(track: int, confirmed: bool = True, **more) -> Mark:
    return Mark(TrackletId(f"{0:016x}", track), confirmed, **more)


def test_a_case_is_kept_as_it_was_said(site):
    content = Content("Theft", "at the gate", {"cameras": ["a"]}, [mark(1, similarity=0.9)])
    number = cases.create(site, content, [JPEG, JPEG[:2]], "anna")
    found = cases.find_case(site, number)
    assert (found.title, found.notes, found.search, found.owner) == (
        *("Theft", "at the gate", {"cameras": ["a"]}), "anna",
    )  # fmt: skip
    assert [cases.image(site, found, n) for n in found.images] == [JPEG, JPEG[:2]]
    first = found.marks[0]
    assert (first.by, first.similarity) == ("anna", 0.9)
    # Bert adds to it, with other figures; what Anna said stays hers.
    more = [mark(1, similarity=0.1, note="blue bag"), mark(2, False)]
    cases.update(site, found, Content("Theft 2", "", {}, more), "bert")
    again = cases.find_case(site, number)
    assert [(m.by, m.confirmed, m.similarity, m.note) for m in again.marks] == [
        ("anna", True, 0.9, "blue bag"),
        ("bert", False, None, ""),
    ]
    assert again.marks[0].at == first.at
    cases.update(site, again, Content("Theft 2", "", {}, [mark(1, False)]), "bert")
    assert [(m.by, m.confirmed) for m in cases.find_case(site, number).marks] == [("bert", False)]
    assert [c.id for c in cases.cases(site, "anna")] == [number]
    assert cases.cases(site, "bert") == []
    assert list(check_integrity(site)) == []


def test_what_cannot_be_is_refused_and_leaves_nothing(site):
    with pytest.raises(InputError, match="needs a title"):
        cases.create(site, Content(" ", "", {}), [])
    with pytest.raises(NotFoundError, match="no tracklet"):
        cases.create(site, Content("x", "", {}, [mark(9)]), [JPEG])
    assert cases.cases(site) == []
    assert audit.entries(site) == []
    with pytest.raises(NotFoundError, match="no case 1"):
        cases.find_case(site, 1)


def test_deleting_everybody_confirmed_deletes_the_case(site):
    one = cases.create(site, Content("one", "", {}, [mark(1), mark(2), mark(3, False)]), [JPEG])
    two = cases.create(site, Content("two", "", {}, [mark(3), mark(1, False)]), [JPEG])
    none = cases.create(site, Content("none", "", {}), [JPEG])
    deletion.delete(site, TrackletFilter(tracklets=[mark(1).tracklet]))
    assert {c.id: len(c.marks) for c in cases.cases(site)} == {one: 2, two: 1, none: 0}
    deletion.delete(site, TrackletFilter(tracklets=[mark(2).tracklet]))
    assert {c.id for c in cases.cases(site)} == {two, none}
    cases.remove(site, cases.find_case(site, none))
    deletion.delete(site, TrackletFilter(tracklets=[mark(3).tracklet]))
    site.empty_log()
    assert JPEG not in site.path.read_bytes()
