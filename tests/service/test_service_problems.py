import sqlite3
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from reid_dhm.errors import InputError
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.app import create_app
from reid_dhm.service.auth import Tokens
from reid_dhm.service.connections import Connections
from reid_dhm.service.errors import explain
from reid_dhm.service.state import Service


def failed(cause: str) -> InputError:
    error = InputError("the gallery: what happened, and the mend")
    error.__cause__ = sqlite3.OperationalError(cause)
    return error


@pytest.mark.parametrize(
    ("cause", "status"),
    [
        ("database is locked", 503),
        ("database table is locked: tracklets", 503),
        ("database or disk is full", 507),
        ("attempt to write a readonly database", 500),
        ("database disk image is malformed", 500),
    ],
)
def test_only_what_passes_is_to_be_tried_again(cause, status):
    problem = explain(failed(cause))
    assert problem.status == status
    assert ("Retry-After" in problem.headers) == (status == 503)


def test_a_gallery_that_cannot_be_written_is_said_to_be(client, site, image_of, monkeypatch):
    def fail(*_: object, **__: object) -> None:
        cause = sqlite3.OperationalError("attempt to write a readonly database")
        raise InputError(f"{site.folder}: it cannot be written; allow writing") from cause

    monkeypatch.setattr("reid_dhm.gallery.store.audit.record", fail)
    response = client.post("/api/search/tracklets", json={"tracklets": [site.ids["gate", "anna"]]})
    assert response.status_code == 500
    assert response.json()["detail"] == "the gallery: it cannot be written; allow writing"


def test_a_failed_lookup_is_not_a_missing_thing(client, site, monkeypatch):
    def fail(*_: object) -> None:
        raise InputError(f"{site.folder}: it is damaged") from sqlite3.DatabaseError("malformed")

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
        assert "'10.5.x' is no ISO 8601 time: give one such as" in detail
        detail = client.get("/api/tracklets?camera=attic").json()["detail"]
        assert detail == "the gallery has no camera 'attic': it has gate, yard"


def test_a_connection_that_failed_is_not_used_again(site):
    connections = Connections(site.folder)
    with connections.lend() as first:
        pass
    lent = connections.lend()
    assert lent.__enter__() is first
    error = failed("disk I/O error")
    assert not lent.__exit__(InputError, error, None)  # it goes on to be raised
    with connections.lend() as fresh:
        assert fresh is not first
        assert fresh.count() == 5
    connections.close()
