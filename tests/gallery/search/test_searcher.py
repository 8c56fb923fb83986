from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.index.live_index import LiveIndex
from reid_dhm.gallery.records import TrackletFilter, TrackletId
from reid_dhm.gallery.search.candidates import Candidates
from reid_dhm.gallery.search.request import SearchRequest
from reid_dhm.gallery.search.searcher import Searcher
from reid_dhm.gallery.store import deletion, statements
from reid_dhm.gallery.store.gallery import GalleryStore

DIM = 12
START = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)


def vectors(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((count, DIM))


def similarities(gallery: GalleryStore, query: np.ndarray) -> dict[str, float]:
    """Cosine of a query to every tracklet's mean, by id."""
    page = next(gallery.pages())
    scores = page.embeddings.astype(np.float64) @ (query / np.linalg.norm(query))
    ids = [str(tracklet.id) for tracklet in gallery.tracklets()]
    return dict(zip(ids, scores.tolist(), strict=True))


def best(scores: dict[str, float], count: int) -> list[str]:
    return sorted(scores, key=lambda id: -scores[id])[:count]


def ids(found) -> list[str]:
    return [str(candidate.tracklet.id) for candidate in found]


@pytest.fixture
def site(empty, keep) -> GalleryStore:
    """Two cameras with 30 tracklets each, a second apart; the gate's have wall-clock times."""
    keep(empty, vectors(30, 1), "gate", start_time=START)
    keep(empty, vectors(30, 2), "yard")
    return empty


@pytest.fixture(scope="module")
def shared(tmp_path_factory, keep):
    """As ``site``, for tests that only read."""
    with GalleryStore(tmp_path_factory.mktemp("gallery"), create=True) as gallery:
        keep(gallery, vectors(30, 1), "gate", start_time=START)
        keep(gallery, vectors(30, 2), "yard")
        yield gallery


class TestSearch:
    def test_ranks_tracklets_by_cosine_similarity(self, shared):
        query = vectors(1, 5)
        found = Searcher(shared).search(query * 7, 10)
        scores = similarities(shared, query[0])
        assert ids(found) == best(scores, 10)
        assert [candidate.similarity for candidate in found] == pytest.approx(
            [scores[id] for id in ids(found)], abs=1e-6
        )
        assert all(candidate.probability is None for candidate in found)

    def test_several_images_count_as_the_mean_of_their_unit_vectors(self, shared):
        images = vectors(3, 5) * [[1], [10], [100]]
        mean = (images / np.linalg.norm(images, axis=1, keepdims=True)).mean(0)
        assert ids(Searcher(shared).search(images, 5)) == best(similarities(shared, mean), 5)

    def test_a_similarity_never_exceeds_one(self, empty, keep):
        rows = vectors(50, 3)
        keep(empty, rows)
        searcher = Searcher(empty)
        exact = np.concatenate([page.embeddings for page in empty.pages()]).astype(np.float64)
        assert (np.linalg.norm(exact, axis=1) > 1).any()  # rounding alone would exceed it
        found = [searcher.search(row[None], 1)[0].similarity for row in exact]
        assert max(found) <= 1
        assert min(found) > 0.999

    @settings(
        max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    @given(
        cameras=st.sampled_from([(), ("gate",), ("yard",), ("gate", "yard")]),
        after=st.none() | st.floats(0, 35) | st.integers(0, 40),
        before=st.none() | st.floats(0, 35),
        clock=st.booleans(),
        excluded=st.lists(st.integers(1, 60), max_size=5),
    )
    def test_filters_agree_with_the_store(self, shared, cameras, after, before, clock, excluded):
        if clock:
            after, before = (
                None if bound is None else START + timedelta(seconds=bound)
                for bound in (after, before)
            )
        where = TrackletFilter(cameras=cameras, after=after, before=before)
        exclude = [t.id for t in shared.tracklets_by_key(excluded)]
        wanted = {str(t.id) for t in shared.tracklets(where)} - {str(id) for id in exclude}
        query = vectors(1, 6)
        scores = {i: s for i, s in similarities(shared, query[0]).items() if i in wanted}
        assert ids(Searcher(shared).search(query, 60, where, exclude)) == best(scores, 60)

    def test_videos_people_and_tracklets_narrow_it_down(self, site):
        searcher, query = Searcher(site), vectors(1, 7)
        some = [tracklet.id for tracklet in site.tracklets(limit=5)]
        statements.label(site, some[:3], "anna")
        video = site.videos()[1].hash
        found = searcher.search(query, 60, TrackletFilter(videos=[video]))
        assert {candidate.tracklet.id.video for candidate in found} == {video}
        assert len(searcher.search(query, 60, TrackletFilter(person="anna"))) == 3
        found = searcher.search(query, 60, TrackletFilter(tracklets=some, person="anna"))
        assert {candidate.tracklet.id for candidate in found} == set(some[:3])

    def test_less_similar_ones_can_be_left_out(self, shared):
        query = vectors(1, 5)
        scores = similarities(shared, query[0])
        bar = sorted(scores.values())[-4] - 1e-9
        assert len(Searcher(shared).search(query, 60, min_similarity=bar)) == 4

    def test_all_above_a_similarity_are_found_however_many(self, empty, keep):
        keep(empty, vectors(1000))
        query = vectors(1, 5)
        order = best(similarities(empty, query[0]), 1000)
        bar = similarities(empty, query[0])[order[299]]
        assert ids(Searcher(empty).above(query, bar - 1e-9)) == order[:300]
        assert Searcher(empty).above(query, 1.0) == Candidates()

    def test_a_person_can_stand_once_with_the_best_tracklet(self, site):
        query = vectors(1, 8)
        order = best(similarities(site, query[0]), 60)
        statements.label(site, [TrackletId.parse(id) for id in order[:20:2]], "anna")
        statements.label(site, [TrackletId.parse(id) for id in order[1:20:4]], "bert")
        found = Searcher(site).search(query, 12, by_person=True)
        rest = [id for n, id in enumerate(order) if n >= 20 or n % 4 == 3]
        assert ids(found) == [order[0], order[1], *rest][:12]

    def test_another_process_deletes_and_adds_between_searches(self, site, keep):
        searcher, query = Searcher(site), vectors(1, 9)
        first, second = searcher.search(query, 2)
        with GalleryStore(site.folder) as other:
            deletion.delete(other, TrackletFilter(tracklets=[first.tracklet.id]))
            assert ids(searcher.search(query, 1)) == [str(second.tracklet.id)]
            keep(other, query, "roof")
        assert searcher.search(query, 1)[0].tracklet.camera == "roof"

    def test_searchers_share_an_index(self, site):
        index = LiveIndex()
        query = vectors(1, 5)
        with GalleryStore(site.folder) as other:
            assert Searcher(site, index).search(query, 3) == Searcher(other, index).search(query, 3)


class TestRun:
    def test_finds_others_like_those_shown_but_not_themselves(self, shared):
        shown = [tracklet.id for tracklet in shared.tracklets(limit=2)]
        found = Searcher(shared).run(SearchRequest(tracklets=shown))
        means = next(shared.pages()).embeddings[:2].astype(np.float64)
        scores = similarities(shared, means.mean(0))
        for id in shown:
            del scores[str(id)]
        assert ids(found) == best(scores, 10)

    def test_feedback_moves_the_query_by_rocchio_s_rule(self, shared):
        tracklets = shared.tracklets(limit=6)
        right, wrong = [t.id for t in tracklets[:2]], [t.id for t in tracklets[3:6]]
        query = vectors(1, 4)
        page = next(shared.pages()).embeddings.astype(np.float64)

        def unit(row):
            return row / np.linalg.norm(row)

        expected = unit(
            unit(query[0]) + 1.5 * unit(page[:2].mean(0)) - 0.3 * unit(page[3:6].mean(0))
        )
        found = Searcher(shared).refine(query, right, wrong)
        assert found == pytest.approx(expected[None], abs=1e-3)  # means are unit to float16 only
        liked = Searcher(shared).run(SearchRequest(tracklets=right, rejected=wrong, top_k=60))
        assert not set(ids(liked)) & {str(id) for id in right + wrong}

    def test_refuses_tracklets_that_are_not_there(self, shared):
        with pytest.raises(InputError, match="has no tracklet 00000000000000ff-1"):
            Searcher(shared).run(SearchRequest(tracklets=[TrackletId("00000000000000ff", 1)]))

    def test_needs_something_to_search_for(self, shared):
        with pytest.raises(InputError, match="nothing to search for"):
            Searcher(shared).refine(None, [], [TrackletId("0" * 16, 1)])


class TestProbability:
    def thresholds(self, **changed) -> Thresholds:
        facts = {
            "metric": "cosine",
            "dataset": "made up",
            "model": "c0ffee" * 10,
            "num_same": 10,
            "num_different": 10,
            "operating_points": (),
            "calibration": Calibration(9.0, -4.0, 0.5),
        }
        return Thresholds(**{**facts, **changed})

    def test_is_the_calibration_s_where_one_of_all_tracklets_is_right(self, shared):
        for candidate in Searcher(shared, thresholds=self.thresholds()).search(vectors(1, 5), 5):
            odds = np.exp(9 * candidate.similarity - 4) / shared.count()
            assert candidate.probability == pytest.approx(odds / (1 + odds))

    @pytest.mark.parametrize(
        ("changed", "message"),
        [({"model": "beef" * 16}, "belongs to another model"), ({"metric": "euclidean"}, "cosine")],
    )
    def test_refuses_thresholds_that_say_nothing_about_the_gallery(self, shared, changed, message):
        with pytest.raises(InputError, match=message):
            Searcher(shared, thresholds=self.thresholds(**changed))


class TestBadInput:
    @pytest.mark.parametrize(
        ("query", "top_k", "where", "message"),
        [
            (vectors(1)[:, :5], 3, TrackletFilter(), "holds embeddings of 12 dimensions"),
            (vectors(1)[0], 3, TrackletFilter(), "has shape \\(12,\\)"),
            (vectors(0), 3, TrackletFilter(), "has shape \\(0, 12\\)"),
            (vectors(1) * 0, 3, TrackletFilter(), "zero or not finite"),
            (vectors(1) * np.nan, 3, TrackletFilter(), "zero or not finite"),
            (
                vectors(1),
                3,
                TrackletFilter(cameras=["lawn"]),
                "has no camera 'lawn': it has gate, yard",
            ),
            (vectors(1), 3, TrackletFilter(videos=["beef"]), "has no video 'beef'"),
        ],
    )
    def test_is_refused_in_a_sentence(self, shared, query, top_k, where, message):
        with pytest.raises(InputError, match=message):
            Searcher(shared).search(query, top_k, where)

    def test_an_empty_gallery_is_said_to_be_empty(self, empty, keep):
        with pytest.raises(InputError, match="holds no tracklets yet: index a video"):
            Searcher(empty).search(vectors(1), 1)
        keep(empty, vectors(1))
        deletion.delete(empty, TrackletFilter(cameras=["gate"]), whole=True)
        with pytest.raises(InputError, match="holds no tracklets yet: index a video"):
            Searcher(empty).search(vectors(1), 1)

    @pytest.mark.parametrize("kind", ["Flatt", "\udcff", "a" * 100_000])
    def test_an_unknown_index_is_refused(self, shared, kind):
        with pytest.raises(InputError, match="is not a FAISS factory string"):
            Searcher(shared, kind).search(vectors(1), 1)


class TestRequest:
    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"top_k": 0}, "top_k is 0: give a whole number, 1 or more"),
            ({"top_k": -(10**20)}, "give a whole number, 1 or more"),
            ({"min_similarity": float("nan")}, "min_similarity is nan: need -1 to 1"),
            ({"min_similarity": 1.01}, "need -1 to 1"),
            ({"min_similarity": -float("inf")}, "need -1 to 1"),
        ],
    )
    def test_numbers_out_of_range_are_refused(self, fields, message):
        with pytest.raises(InputError, match=message):
            SearchRequest(**fields)

    def test_more_candidates_than_there_are_is_all_of_them(self, shared):
        query = vectors(1, 5)
        assert len(Searcher(shared).run(SearchRequest(top_k=10**20), query)) == 60
        request = SearchRequest(top_k=10**20, by_person=True)
        assert len(Searcher(shared).run(request, query)) == 60
