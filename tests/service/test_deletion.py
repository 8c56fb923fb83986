import time

import pytest

from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service import state as service


def left(client) -> set[str]:
    return {item["tracklet"] for item in client.get("/api/tracklets").json()["items"]}


def log(site) -> list[audit.Entry]:
    with GalleryStore(site.folder) as gallery:
        return audit.entries(gallery)


def test_a_tracklet_is_forgotten(client, site):
    anna = site.ids["gate", "anna"]
    assert client.delete(f"/api/tracklets/{anna}").json() == {
        "tracklets": 1,
        "dry_run": False,
        "traces": False,
    }
    assert left(client) == set(site.ids.values()) - {anna}
    for path in ("", "/thumbnail", "/crops/0"):
        assert client.get(f"/api/tracklets/{anna}{path}").status_code == 404
    assert client.delete(f"/api/tracklets/{anna}").status_code == 404


def test_what_is_forgotten_is_found_no_more(client, site):
    question = {"tracklets": [site.ids["gate", "anna"]]}
    assert client.post("/api/search/tracklets", json=question).json()["hits"][0]["camera"] == "yard"
    client.delete(f"/api/tracklets/{site.ids['yard', 'anna']}")
    hits = client.post("/api/search/tracklets", json=question).json()["hits"]
    assert site.ids["yard", "anna"] not in {hit["tracklet"] for hit in hits}


def test_its_image_is_in_no_file_any_more(client, site):
    dora = site.ids["yard", "dora"]
    image = client.get(f"/api/tracklets/{dora}/thumbnail").content

    def everything() -> bytes:
        return b"".join(f.read_bytes() for f in site.folder.rglob("*") if f.is_file())

    part = image[-60:]  # behind the tables, which all images share
    assert part in everything()
    client.delete(f"/api/tracklets/{dora}")
    assert part not in everything()


def test_traces_that_another_process_keeps_are_told_and_overwritten_later(
    client, site, monkeypatch
):
    monkeypatch.setattr(service, "_RETRY_SECONDS", 0.01)
    dora, log = site.ids["yard", "dora"], site.folder / "gallery.sqlite-wal"
    with GalleryStore(site.folder) as other:
        with other.reading() as db:
            db.execute("BEGIN")
            db.execute("SELECT count(*) FROM tracklets").fetchone()
        told = client.delete(f"/api/tracklets/{dora}").json()
        assert (told["tracklets"], told["traces"]) == (1, True)
        assert log.stat().st_size
        with other.reading() as db:
            db.execute("COMMIT")
    while log.exists() and log.stat().st_size:  # in the background
        time.sleep(0.01)


def test_unfinished_tracks_are_counted(client, site):
    with GalleryStore(site.folder) as gallery, gallery.writing() as db:
        db.execute("UPDATE videos SET complete = 0 WHERE source LIKE '%yard.avi'")
        db.execute(
            "INSERT INTO pending (video, track, frame, time, x1, y1, x2, y2, quality, jpeg) "
            "SELECT id, 9, 35, 3.5, 0, 0, 9, 9, 1, 'jpeg' FROM videos WHERE NOT complete"
        )
    span = {"after": 3.0, "cameras": ["yard"]}
    dry = client.post("/api/deletions", json={**span, "dry_run": True}).json()
    assert dry["tracklets"] == client.post("/api/deletions", json=span).json()["tracklets"] == 3


def test_a_video_is_forgotten(client, site):
    video = site.ids["yard", "anna"].split("-")[0]
    assert client.delete(f"/api/videos/{video}").json()["tracklets"] == 3
    assert left(client) == {site.ids["gate", "anna"], site.ids["gate", "bert"]}
    assert client.get(f"/api/videos/{video}/frames/0").status_code == 404
    assert client.delete(f"/api/videos/{video}").status_code == 404


def test_a_camera_is_forgotten(client, site):
    gate = client.get("/api/cameras").json()["items"][0]
    assert client.delete(f"/api/cameras/{gate['id']}").json()["tracklets"] == 2
    assert [camera["name"] for camera in client.get("/api/cameras").json()["items"]] == ["yard"]
    assert client.delete(f"/api/cameras/{gate['id']}").status_code == 404


def test_a_span_of_time_is_forgotten(client, site):
    span = {"after": 3.0, "cameras": ["yard"]}
    dry = client.post("/api/deletions", json={**span, "dry_run": True})
    assert (dry.json()["tracklets"], dry.json()["dry_run"]) == (2, True)
    assert left(client) == set(site.ids.values())
    assert client.post("/api/deletions", json=span).json()["tracklets"] == 2
    gone = {site.ids["yard", "anna"], site.ids["yard", "dora"]}
    assert left(client) == set(site.ids.values()) - gone


def test_several_tracklets_are_forgotten(client, site):
    both = [site.ids["gate", "anna"], site.ids["yard", "anna"]]
    assert client.post("/api/deletions", json={"tracklets": both}).json()["tracklets"] == 2
    assert left(client) == set(site.ids.values()) - set(both)


@pytest.mark.parametrize("request_", [{}, {"dry_run": True}])
def test_everything_is_forgotten_by_nobodys_mistake(client, site, request_):
    response = client.post("/api/deletions", json=request_)
    assert response.status_code == 422
    assert "no condition: name tracklets" in response.json()["detail"]
    assert len(left(client)) == 5


def test_every_deletion_is_written_down_before_and_after(client, site):
    anna = site.ids["gate", "anna"]
    client.delete(f"/api/tracklets/{anna}")
    client.post("/api/deletions", json={"cameras": ["yard"]})
    client.post("/api/deletions", json={"cameras": ["yard"], "dry_run": True})
    entries = log(site)
    assert [entry.action for entry in entries] == ["delete"] * 4
    assert [entry.detail["state"] for entry in entries] == ["asked", "done"] * 2
    assert entries[0].detail["tracklet"] == anna
    assert entries[0].actor == "testclient"
    assert entries[3].detail["deleted"] == 3
    assert entries[3].detail["cameras"] == ["yard"]


@pytest.mark.parametrize("nobody", ["tracklets", "cameras", "videos"])
def test_a_list_of_none_is_not_everybody(client, nobody):
    before = client.get("/api/gallery").json()["tracklets"]
    request = {"after": 0, nobody: []}
    assert client.post("/api/deletions", json=request).status_code == 422
    asked = client.post("/api/deletions?dry_run=true", json={"after": 0})
    assert asked.status_code == 422
    assert "query parameters are not accepted" in asked.json()["detail"]
    assert client.get("/api/gallery").json()["tracklets"] == before
