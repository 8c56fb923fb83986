"""What a monitor is told of a gallery that is damaged, gone, or busy."""

import shutil
import sqlite3

import pytest

from reid_dhm.errors import StorageError
from reid_dhm.gallery.store.database import FILE
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service import health


@pytest.fixture
def monitored(client):
    """Of a service whose whole file is checked each time."""
    client.app.state.service.health._due = 0.0
    return client


def test_a_gallery_whose_folder_is_gone_is_not_healthy(client, site):
    assert client.get("/health").status_code == 200
    shutil.rmtree(site.folder)
    response = client.get("/health")
    assert response.status_code == 503
    assert "missing or damaged" in response.json()["detail"]
    assert str(site.folder) not in response.text


def test_a_damaged_header_is_not_healthy(client, site):
    with (site.folder / FILE).open("r+b") as file:
        file.write(b"\0" * 100)
    assert client.get("/health").status_code == 503


def test_a_damaged_page_is_found_when_the_file_is_checked(client, site):
    service = client.app.state.service
    with service.gallery() as gallery:
        assert gallery.empty_log()
    path = site.folder / FILE
    pages = path.stat().st_size // 4096
    with path.open("r+b") as file:
        for page in range(2, pages):
            file.seek(4096 * page)
            file.write(b"\xff" * 64)
    service.health.suspect()
    assert client.get("/health").status_code == 503
    assert client.get("/health").status_code == 503  # and stays so between two checks


def test_a_request_that_could_not_be_read_has_the_whole_file_checked(client, site, monkeypatch):
    assert client.get("/health").status_code == 200

    def fail(*_: object) -> None:
        raise StorageError(f"{site.folder}: it is damaged")

    checked = []
    whole = health.Health._check_file
    monkeypatch.setattr(health.Health, "_check_file", lambda self: checked.append(whole(self)))
    with monkeypatch.context() as patch:
        patch.setattr(GalleryStore, "tracklet", fail)
        assert client.get(f"/api/tracklets/{site.ids['gate', 'anna']}").status_code == 500
    assert client.get("/health").status_code == 200
    assert len(checked) == 1


def test_a_whole_gallery_is_not_checked_by_every_request(client, monkeypatch):
    checked = []
    whole = health.Health._check_file
    monkeypatch.setattr(health.Health, "_check_file", lambda self: checked.append(whole(self)))
    for _ in range(5):
        assert client.get("/health").status_code == 200
    assert len(checked) == 1


def test_a_gallery_that_is_being_written_is_healthy(client, site):
    with sqlite3.connect(site.folder / FILE, isolation_level=None) as other:
        other.execute("BEGIN IMMEDIATE")
        assert client.get("/health").status_code == 200
