import io
from dataclasses import dataclass
from datetime import datetime, timezone

import faiss
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from reid_dhm.errors import InputError
from reid_dhm.gallery.index import faiss_index
from reid_dhm.gallery.index.faiss_index import FaissIndex
from reid_dhm.gallery.index.rows import IndexRows
from reid_dhm.gallery.records import EmbeddingPage, TrackletFilter

DIM = 8
UTC = timezone.utc


def made_up(count: int, seed: int = 0, first_key: int = 1, dim: int = DIM) -> EmbeddingPage:
    """Unit vectors with gaps between their keys; every third has no wall-clock time."""
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, dim))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    keys = first_key - 1 + np.cumsum(rng.integers(1, 4, count))
    starts = rng.integers(0, 100, count).astype(np.float64)
    ends = starts + rng.integers(0, 10, count)
    since = np.where(np.arange(count) % 3 == 0, np.nan, 1.8e9)
    return EmbeddingPage(
        keys,
        vectors.astype(np.float16),
        rng.integers(1, 5, count),
        starts,
        ends,
        since + starts,
        since + ends,
    )


def joined(*pages: EmbeddingPage) -> EmbeddingPage:
    return EmbeddingPage._make(np.concatenate(columns) for columns in zip(*pages, strict=True))


def chosen(page: EmbeddingPage, rows: np.ndarray) -> EmbeddingPage:
    return EmbeddingPage._make(column[rows] for column in page)


def filled(page: EmbeddingPage, kind: str = "Flat") -> FaissIndex:
    index = FaissIndex(page.embeddings.shape[1], kind)
    half = len(page.keys) // 2
    pages = [chosen(page, np.arange(half)), chosen(page, np.arange(half, len(page.keys)))]
    index.fill(lambda: iter(pages), len(page.keys))
    return index


CAMERAS = {str(id): id for id in range(1, 7)}


@dataclass
class Wanted:
    """A filter, with the keys that its tracklets, videos and person stand for."""

    where: TrackletFilter
    only: np.ndarray | None = None
    without: np.ndarray | None = None

    def mask(self, page: EmbeddingPage) -> np.ndarray:
        return IndexRows.of(page).mask(self.where, CAMERAS, self.only, self.without)

    def passes(self, page: EmbeddingPage, row: int) -> bool:
        """Whether a row satisfies the filter, by the words of its definition."""
        key, where = page.keys[row], self.where
        start, end = page.starts[row], page.ends[row]
        after, before = where.after, where.before
        if isinstance(after, datetime):
            after, end = after.timestamp(), page.end_times[row]
        if isinstance(before, datetime):
            before, start = before.timestamp(), page.start_times[row]
        return bool(
            (not where.cameras or str(page.cameras[row]) in where.cameras)
            and (after is None or end >= after)
            and (before is None or start <= before)
            and (self.only is None or key in self.only)
            and (self.without is None or key not in self.without)
        )


def brute_force(
    page: EmbeddingPage, query: np.ndarray, k: int, wanted: Wanted | None = None
) -> list[int]:
    """Keys by descending inner product of what satisfies a filter."""
    rows = [r for r in range(len(page.keys)) if wanted is None or wanted.passes(page, r)]
    scores = page.embeddings.astype(np.float64) @ query.astype(np.float64)
    return [int(page.keys[r]) for r in sorted(rows, key=lambda r: -scores[r])][:k]


keys_of = st.lists(st.integers(1, 300), max_size=40).map(lambda keys: np.array(keys, np.int64))
moments = st.floats(1.8e9, 1.8e9 + 110).map(lambda seconds: datetime.fromtimestamp(seconds, UTC))
bounds = st.none() | st.floats(0, 110) | moments
filters = st.builds(
    Wanted,
    st.builds(
        TrackletFilter,
        cameras=st.lists(st.sampled_from(sorted(CAMERAS)), max_size=3),
        after=bounds,
        before=bounds,
    ),
    only=st.none() | keys_of,
    without=st.none() | keys_of,
)


@pytest.fixture(params=[10, 2**16], ids=["many parts", "one part"])
def part_rows(request, monkeypatch):
    monkeypatch.setattr(faiss_index, "_PART_ROWS", request.param)


class TestSearch:
    @pytest.mark.parametrize("kind", ["Flat", "IVF1,SQfp16", "HNSW32_SQfp16"])
    @settings(max_examples=40, deadline=None)
    @given(seed=st.integers(0, 99), k=st.integers(1, 60), wanted=filters)
    def test_finds_what_brute_force_finds_among_those_wanted(self, kind, seed, k, wanted):
        page = made_up(80, seed)  # a walk through so small a graph meets everything
        index = filled(page, kind)
        query = made_up(1, seed + 1000).embeddings.astype(np.float32)
        expected = brute_force(page, query[0], k, wanted)
        scores, keys = index.search(query, k, wanted.mask(page))
        found = keys[0, : len(expected)].tolist()
        assert len(set(found)) == len(expected)
        truth = dict(zip(page.keys.tolist(), page.embeddings @ query[0].astype(float), strict=True))
        # What quantised products round may exchange neighbours that are almost equally far.
        rounding = 1e-6 if kind == "Flat" else 1e-4
        np.testing.assert_allclose(
            [truth[key] for key in found], [truth[key] for key in expected], atol=rounding
        )
        assert (keys[0, len(expected) :] == -1).all()
        assert np.isneginf(scores[0, len(expected) :]).all()

    @pytest.mark.usefixtures("part_rows")
    def test_answers_several_queries_at_once(self):
        page = made_up(64)
        queries = made_up(5, seed=1).embeddings.astype(np.float32)
        scores, keys = filled(page).search(queries, 7)
        assert keys.tolist() == [brute_force(page, query, 7) for query in queries]
        truth = page.embeddings.astype(np.float64)[np.searchsorted(page.keys, keys)]
        assert np.allclose(scores, np.einsum("qkd,qd->qk", truth, queries), atol=1e-6)

    @pytest.mark.usefixtures("part_rows")
    def test_filters_every_part_of_an_exact_index(self):
        page = made_up(64)
        query = made_up(1, seed=1).embeddings.astype(np.float32)
        wanted = Wanted(TrackletFilter(cameras=["2", "3"], before=50.0))
        _, keys = filled(page).search(query, 64, wanted.mask(page))
        expected = brute_force(page, query[0], 64, wanted)
        assert keys[0][keys[0] >= 0].tolist() == expected

    def test_a_selective_filter_loses_nothing_in_inverted_lists(self):
        page = made_up(4000)
        index = filled(page, "IVF64,SQfp16")
        query = made_up(1, seed=1).embeddings.astype(np.float32)
        _, keys = index.search(query, 20, np.arange(4000) % 200 == 0)
        assert sorted(keys[0].tolist()) == page.keys[::200].tolist()

    def test_a_filter_that_nothing_passes_finds_nothing(self):
        queries = np.ones((2, DIM), np.float32)
        scores, keys = filled(made_up(20)).search(queries, 3, np.zeros(20, bool))
        assert keys.tolist() == [[-1] * 3] * 2
        assert np.isneginf(scores).all()


class TestContent:
    @pytest.mark.usefixtures("part_rows")
    @pytest.mark.parametrize("kind", ["Flat", "IVF1,SQfp16"])
    def test_any_sequence_of_additions_and_removals_leaves_what_a_new_index_holds(self, kind):
        rng = np.random.default_rng(0)
        page = made_up(60)
        index = filled(page, kind)
        for step in range(12):
            if step % 3 == 2:
                new = made_up(int(rng.integers(1, 25)), step, first_key=int(page.keys[-1]) + 1)
                assert index.add(new)
                page = joined(page, new)
            else:
                gone = rng.choice(page.keys, int(rng.integers(1, 12)), replace=False)
                assert index.remove(np.concatenate([gone, [10**6]]))
                page = chosen(page, ~np.isin(page.keys, gone))
            assert len(index) == len(page.keys)
            assert index.rows.keys.tolist() == page.keys.tolist()
            queries = made_up(3, seed=100 + step).embeddings.astype(np.float32)
            wanted = Wanted(TrackletFilter(cameras=["1", "2"])).mask(page)
            for condition in (None, wanted):
                found = index.search(queries, 10, condition)
                again = filled(page, kind).search(queries, 10, condition)
                assert found[1].tolist() == again[1].tolist()
                # Inverted lists hold float16 differences to centroids, which training chose.
                assert np.allclose(found[0], again[0], atol=1e-6 if kind == "Flat" else 1e-3)

    def test_all_can_be_removed_and_others_added(self):
        page = made_up(30)
        index = filled(page)
        assert index.remove(page.keys)
        query = np.ones((1, DIM), np.float32)
        assert index.search(query, 2)[1].tolist() == [[-1, -1]]
        later = made_up(5, first_key=1000)
        assert index.add(later)
        assert index.search(query, 5)[1][0].tolist() == brute_force(later, query[0], 5)

    def test_keys_have_to_grow(self):
        index = filled(made_up(10))
        with pytest.raises(ValueError, match="ascending"):
            index.add(made_up(3))

    def test_a_graph_says_that_it_cannot_delete_and_stays_as_it_was(self):
        page = made_up(50)
        index = filled(page, "HNSW8_SQfp16")
        assert not index.remove(page.keys[:3])
        assert len(index) == 50

    def test_an_index_says_when_it_has_outgrown_its_training(self):
        page = made_up(400)
        index = filled(page, "IVF4,SQfp16")
        assert index.add(made_up(1100, first_key=10_000))
        assert not index.add(made_up(200, first_key=20_000))

    @pytest.mark.parametrize("kind", ["Flat", "IVF4,SQfp16", "HNSW8_SQfp16"])
    def test_what_is_saved_is_loaded(self, kind):
        page = made_up(300)
        index = filled(page, kind)
        file = io.BytesIO()
        index.save(file)
        file.seek(0)
        loaded = FaissIndex(DIM, kind)
        loaded.load(file)
        queries = made_up(4, seed=1).embeddings.astype(np.float32)
        mask = Wanted(TrackletFilter(after=20.0, cameras=["1"])).mask(page)
        for wanted in (None, mask):
            for mine, other in zip(
                index.search(queries, 9, wanted), loaded.search(queries, 9, wanted), strict=True
            ):
                assert np.array_equal(mine, other)
        assert loaded.recall == index.recall
        assert loaded.add(made_up(2, first_key=10_000))


class TestKinds:
    def test_exact_search_has_no_recall_to_tell(self):
        index = filled(made_up(20))
        assert index.exact
        assert index.recall is None

    def test_the_recall_told_is_that_of_searches_for_its_own_vectors(self):
        page = made_up(3000, dim=32)
        index = filled(page, "IVF64,SQfp16")
        assert index.recall is not None
        queries = page.embeddings.astype(np.float32)
        scores = queries @ queries.T
        np.fill_diagonal(scores, -1)
        nearest = page.keys[np.argsort(-scores, axis=1)[:, :10]]
        _, found = index.search(queries, 11)
        recall = np.mean([len(set(n) & set(f)) / 10 for n, f in zip(nearest, found, strict=True)])
        assert recall == pytest.approx(index.recall, abs=0.03)
        assert recall > 0.9

    def test_coarse_codes_ask_for_more_proposals_until_the_recall_is_enough(self):
        index = filled(made_up(2000, dim=32), "IVF16,PQ16x4fs")
        assert index.candidates > 1
        assert index.recall is not None
        assert index.recall > 0.95

    @pytest.mark.parametrize(
        ("kind", "message"),
        [
            ("Flatt", "'Flatt' is not a FAISS factory string for 8 dimensions: use Flat"),
            ("IVF16,PQ3", "not a FAISS factory string"),  # 8 is no multiple of 3
            ("IDMap,Flat", "leave out IDMap"),
            ("IVF16,PQ4,RFlat", "refinement"),
            ("NSG8", "'NSG8': FAISS cannot add vectors to it"),
            ("PCA4,HNSW8", "'PCA4,HNSW8': a transform before a graph is not supported"),
        ],
    )
    def test_refuses_what_makes_no_index(self, kind, message):
        with pytest.raises(InputError, match=message):
            FaissIndex(DIM, kind)

    def test_refuses_to_train_on_too_few(self):
        with pytest.raises(InputError, match="cannot be trained on 30 tracklets: use Flat"):
            filled(made_up(30), "IVF64,SQfp16")

    @pytest.mark.parametrize("kind", ["IVF4,SQfp16", "HNSW8_SQfp16"])
    def test_what_the_gallery_gets_meanwhile_is_not_missed(self, kind):
        page, later = made_up(300), made_up(300, 1, first_key=5000)
        index = FaissIndex(DIM, kind)
        reads = []

        def pages():
            reads.append(None)
            # For training and filling as it was; others write while searches are tried.
            return iter([page] if len(reads) <= (2 if "IVF" in kind else 1) else [page, later])

        index.fill(pages, 300)
        assert index.recall is not None
        assert index.recall > 0.95
        assert len(index) == 300

    def test_refuses_kinds_that_faiss_cannot_filter(self):
        with pytest.raises(InputError, match="cannot be searched by camera and time"):
            filled(made_up(300), "PQ4x4")


@pytest.mark.gpu
@pytest.mark.skipif(faiss.get_num_gpus() == 0, reason="FAISS sees no GPU")
class TestGpu:
    @pytest.mark.parametrize("kind", ["Flat", "IVF16,SQfp16"])
    def test_finds_what_the_cpu_finds(self, kind):
        page = made_up(3000, dim=64)
        index = filled(page, kind)
        assert index.device.startswith("cuda")
        query = made_up(1, seed=1, dim=64).embeddings.astype(np.float32)
        _, keys = index.search(query, 10)
        assert set(keys[0].tolist()) == set(brute_force(page, query[0], 10))
        assert index.remove(keys[0, :2])
        assert index.search(query, 8)[1][0].tolist() == keys[0, 2:].tolist()
