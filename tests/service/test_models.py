"""A running service follows a gallery that moves to another model."""

import pytest

from reid_dhm.errors import NotFoundError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.ingest.reembed import reembed
from reid_dhm.gallery.store.gallery import GalleryStore


@pytest.fixture
def other(embedder):
    """Another model, of fewer dimensions: the colours of the upper half."""

    class Upper(type(embedder)):
        dim, fingerprint = 3, "upper" * 12

        def __call__(self, images):
            return super().__call__([image[: len(image) // 2] for image in images])[:, :3] * 2**0.5

    return Upper()


@pytest.fixture
def calibrated(embedder) -> Thresholds:
    calibration = Calibration(slope=10.0, intercept=0.0, prior=0.5)
    return Thresholds("cosine", "made up", embedder.fingerprint, 1, 1, (), calibration)


def by_image(client, image):
    return client.post("/api/search/pictures", files=[("pictures", ("p", image))])


def by_tracklet(client, site):
    body = {"tracklets": [site.ids["gate", "anna"]]}
    return client.post("/api/search/tracklets", json=body).json()


def move(site, other) -> None:
    with GalleryStore(site.folder) as gallery:
        reembed(gallery, other, "upper")


def test_searches_follow_and_old_thresholds_are_not_applied(
    connect, site, other, calibrated, image_of
):
    asked = []

    def reopen(name):
        asked.append(name)
        return other

    client = connect(thresholds=calibrated, reopen=reopen)
    anna = image_of("anna")
    assert by_image(client, anna).json()["hits"][0]["probability"] is not None
    assert client.get("/api/gallery").json()["prior"] is not None
    move(site, other)
    assert client.get("/api/gallery").json()["prior"] is None
    assert client.get("/api/gallery").json()["model"] == other.fingerprint
    for hit in (by_tracklet(client, site)["hits"][0], by_image(client, anna).json()["hits"][0]):
        assert hit["tracklet"] in (site.ids["gate", "anna"], site.ids["yard", "anna"])
        assert hit["similarity"] > 0.999
        assert hit["probability"] is None
    by_image(client, anna)
    assert asked == ["upper"]  # opened once


def test_a_model_that_cannot_be_opened_is_named(connect, site, other, image_of):
    def reopen(name):
        raise NotFoundError(f"/secret/{name} does not exist")

    clients = [connect(), connect(reopen=reopen)]
    move(site, other)
    for client in clients:
        response = by_image(client, image_of("anna"))
        assert response.status_code == 503
        assert "moved to the model upper of 3 dimensions" in response.json()["detail"]
        assert "secret" not in response.text
        assert by_tracklet(client, site)["hits"]


def test_the_move_between_embedding_and_searching_is_busy(
    connect, site, other, embedder, image_of, monkeypatch
):
    client = connect(reopen=lambda name: other)
    embed = type(embedder).__call__

    def moved_meanwhile(self, images):
        rows = embed(self, images)
        monkeypatch.undo()
        move(site, other)
        return rows

    monkeypatch.setattr(type(embedder), "__call__", moved_meanwhile)
    busy = by_image(client, image_of("anna"))
    assert busy.status_code == 503
    assert busy.headers["Retry-After"] == "1"
    assert by_image(client, image_of("anna")).status_code == 200
