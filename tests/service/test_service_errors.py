import shutil
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from reid_dhm.errors import InputError, LockedError, NotFoundError, StorageError, StorageFullError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.app import create_app
from reid_dhm.service.auth import Tokens
from reid_dhm.service.connections import Connections
from reid_dhm.service.errors import to_problem
from reid_dhm.service.state import Service


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (LockedError, 503),
        (StorageFullError, 507),
        (StorageError, 500),
        (InputError, 422),
        (NotFoundError, 404),
    ],
)
def test_only_what_passes_is_to_be_tried_again(kind, status):
    problem = to_problem(kind("the gallery: what happened, and the remedy"))
    assert problem.status == status
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_a_gallery_that_cannot_be_written_is_said_to_be(client, site, image_of, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        raise StorageError(f"{site.folder}: it cannot be written; allow writing")

    monkeypatch.setattr("reid_dhm.gallery.store.audit.record", fail)
    response = client.post("/api/search/tracklets", json={"tracklets": [site.ids["gate", "anna"]]})
    assert response.status_code == 500
    assert response.json()["detail"] == "the gallery: it cannot be written; allow writing"


def test_a_failed_lookup_is_not_a_missing_thing(client, site, monkeypatch):
    def fail(*_: object) -> None:
        raise StorageError(f"{site.folder}: it is damaged")

    monkeypatch.setattr(GalleryStore, "tracklet", fail)
    response = client.get(f"/api/tracklets/{site.ids['gate', 'anna']}")
    assert response.status_code == 500
    assert response.json()["detail"] == "the gallery: it is damaged"


@pytest.mark.parametrize("name", [".", "s"])
def test_a_short_name_of_a_gallery_spoils_no_sentence(site, embedder, monkeypatch, name):
    (site.folder.parent / "s").symlink_to(site.folder)
    monkeypatch.chdir(site.folder if name == "." else site.folder.parent)
    service = Service.open(Path(name), embedder, Tokens({}))
    with TestClient(create_app(service), base_url="http://127.0.0.1:8000") as client:
        detail = client.get("/api/tracklets?from=10.5.x").json()["detail"]
        assert "'10.5.x' is not an ISO 8601 time: give one such as" in detail
        detail = client.get("/api/tracklets?camera=attic").json()["detail"]
        assert detail == "the gallery has no camera 'attic': it has gate, yard"


def test_a_gallery_that_went_away_is_damage_and_no_wrong_name(site):
    connections = Connections(site.folder)
    with connections.lend():  # the only one that is open
        shutil.rmtree(site.folder)
        with pytest.raises(StorageError, match="is missing: restore the gallery"):
            connections.lend().__enter__()
    with pytest.raises(NotFoundError, match="holds no gallery"):
        Connections(site.folder)


def test_a_connection_that_failed_is_not_used_again(site):
    connections = Connections(site.folder)
    with connections.lend() as first:
        pass
    lent = connections.lend()
    assert lent.__enter__() is first
    error = StorageError("the disk failed")
    assert not lent.__exit__(StorageError, error, None)  # it goes on to be raised
    with connections.lend() as fresh:
        assert fresh is not first
        assert fresh.count() == 5
    connections.close()
