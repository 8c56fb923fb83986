import numpy as np
import pytest

from reid_dhm.benchmarks.retrieval.search import Latency, compare_search, grow, suggested
from reid_dhm.benchmarks.synthetic_embeddings import SyntheticEmbeddings
from reid_dhm.gallery.store.gallery import GalleryStore


class TestSyntheticEmbeddings:
    def test_embeddings_are_distributed_like_a_model_s(self):
        people = SyntheticEmbeddings(100)
        rows, pids = people.images(1500)
        assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(1500), abs=1e-6)
        cosine = rows @ rows.T
        same = pids[:, None] == pids
        np.fill_diagonal(same, False)
        different = pids[:, None] != pids
        # The table in the module's docstring, as of Market-1501.
        assert cosine[same].mean() == pytest.approx(0.48, abs=0.03)
        assert cosine[same].std() == pytest.approx(0.16, abs=0.02)
        assert cosine[different].mean() == pytest.approx(0.0, abs=0.01)
        assert cosine[different].std() == pytest.approx(0.13, abs=0.01)

    def test_a_tracklet_s_mean_deviates_less_than_an_image(self):
        people = SyntheticEmbeddings(50)
        means, whose = people.tracklets(500)
        images, pids = people.images(500)

        def spread(rows: np.ndarray, names: np.ndarray) -> float:
            wide = rows.astype(np.float64)
            cosine, same = wide @ wide.T, names[:, None] == names
            return float(cosine[same].mean())

        assert means.dtype == np.float16
        assert spread(means, whose) > spread(images, pids) + 0.1


def test_latencies_are_quantiles():
    latency = Latency.of([number / 100 for number in range(101)])
    assert (latency.p50, latency.p99) == pytest.approx((0.5, 0.99))


@pytest.mark.parametrize(
    ("count", "dim", "kind"),
    [
        (10_000, 512, "IVF256,PQ128x4fs"),
        (1_000_000, 512, "IVF2048,PQ128x4fs"),
        (1_000_000, 1280, "IVF2048,PQ320x4fs"),
    ],
)
def test_suggests_lists_by_the_root_of_the_number(count, dim, kind):
    assert suggested(count, dim) == kind


def test_a_gallery_grows_in_equal_parts(tmp_path):
    with GalleryStore(tmp_path, create=True) as gallery:
        gallery.claim_model("synthetic", 16, "made up")
        people = SyntheticEmbeddings(10, 16)
        grow(gallery, people, 100)
        grow(gallery, people, 400)
        assert gallery.state().tracklets == 400
        counts = gallery.counts()
        by_camera: dict[str, int] = {}
        for video in gallery.videos():
            by_camera[video.camera] = by_camera.get(video.camera, 0) + counts[video.id]
        assert sorted(by_camera.values()) == [100] * 4


def test_all_sides_are_measured_on_each_size(tmp_path):
    told = []
    figures = compare_search([300, 600], 32, 25, "IVF8,SQfp16", tmp_path, told.append)
    assert told == figures
    assert [figure.num_tracklets for figure in figures] == [300, 600]
    for figure in figures:
        assert figure.num_queries == 20
        assert figure.exact.recall == 1
        assert figure.approximate.recall > 0.9
        assert figure.numpy.memory == 4 * 32
        for side in (figure.exact, figure.approximate):
            assert side.proposals is not None
            assert side.filtered is not None
            assert 0 < side.search.p50 <= side.search.p99
            assert side.build
            assert side.reopen
    assert not list(tmp_path.iterdir())


@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_a_million_embeddings():
    (figure,) = compare_search([1_000_000], num_queries=105)
    assert figure.exact.recall == pytest.approx(1, abs=0.001)  # float32 and equal scores apart
    assert figure.approximate.recall >= 0.95
    assert figure.exact.memory < 1200
    assert figure.approximate.memory < 300
