"""Cases over the service: kept per owner, exported with only what was confirmed; and clips."""

import io
import json
import zipfile

import av
import pytest

from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.auth import Role

TOKENS = {name: f"the-very-own-token-of-{name}" for name in ("vera", "ines", "igor", "ada")}
ROLES = {"vera": Role.VIEWER, "ines": Role.INVESTIGATOR, "igor": Role.INVESTIGATOR}


@pytest.fixture
def content(site) -> dict:
    ids = site.ids
    return {
        "title": "Red shirt",
        "notes": "Seen by the guard.",
        "search": {"cameras": ["gate", "yard"], "top_k": 50},
        "marks": [
            {"tracklet": ids["yard", "anna"], "confirmed": True, "note": "same bag"},
            {"tracklet": ids["gate", "anna"], "confirmed": True, "similarity": 0.9},
            {"tracklet": ids["gate", "bert"], "confirmed": False, "similarity": 0.4},
        ],
    }


def as_(who: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {TOKENS[who]}"}


def test_a_case_is_exported_with_only_what_was_confirmed(client, site, content, image_of):
    case = client.post("/api/cases", json=content).json()
    path = f"/api/cases/{case['id']}"
    sent = [("pictures", ("a.jpg", image_of("anna"), "image/jpeg"))]
    case = client.put(f"{path}/pictures", files=sent).json()
    image = client.get(f"{path}/pictures/{case['images'][0]}")
    assert image.headers["content-type"] == "image/jpeg"
    answer = client.get(f"{path}/report")
    assert answer.headers["content-disposition"] == 'attachment; filename="case-1.zip"'
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        page = archive.read("case-1/index.html").decode()
        results = json.loads(archive.read("case-1/results.json"))
        names = archive.namelist()
    gate, yard = site.ids["gate", "anna"], site.ids["yard", "anna"]
    assert [found["tracklet"] for found in results["appearances"]] == [gate, yard]  # by time
    assert results["appearances"][1]["note"] == "same bag"
    assert results["appearances"][0]["confirmed_by"] == "testclient"
    for text in ("Red shirt", "Seen by the guard.", "same bag", gate, yard, "0.900", "testclient"):
        assert text in page, text
    assert site.ids["gate", "bert"] not in page
    assert str(site.folder.parent) not in page + json.dumps(results)
    assert {"case-1/clips/001.webm", "case-1/query/image_1.jpg"} <= set(names)
    with GalleryStore(site.folder) as gallery:
        last = audit.entries(gallery)[-1]
    assert (last.action, last.detail) == ("export", {"case": 1, "tracklets": 2})


def test_a_case_is_its_owners_and_the_administrators(connect, content):
    client = connect(TOKENS, roles=ROLES)
    assert client.post("/api/cases", json=content, headers=as_("vera")).status_code == 403
    number = client.post("/api/cases", json=content, headers=as_("ines")).json()["id"]
    path = f"/api/cases/{number}"
    for call in (path, f"{path}/report", f"{path}/pictures/1"):
        assert client.get(call, headers=as_("igor")).status_code == 404
    assert client.put(path, json=content, headers=as_("igor")).status_code == 404
    assert client.get("/api/cases", headers=as_("igor")).json() == []
    # The administrator adds a mark; what Ines said stays hers.
    more = [*content["marks"][:1], {**content["marks"][2], "confirmed": True}]
    content["marks"] = more
    saved = client.put(path, json=content, headers=as_("ada")).json()
    assert [(mark["by"], mark["confirmed"]) for mark in saved["marks"]] == [
        ("ada", True),
        ("ines", True),
    ]
    assert client.delete(path, headers=as_("ines")).status_code == 403
    assert client.delete(path, headers=as_("ada")).json() == {"id": number}
    assert client.get(path, headers=as_("ines")).status_code == 404


def test_refusals_are_one_sentence(client, content):
    empty = client.post("/api/cases", json={"title": "Empty"}).json()["id"]
    refused = [
        client.get(f"/api/cases/{empty}/report"),
        client.post("/api/cases", json={"title": " "}),
        client.post("/api/cases", json={"title": "x", "search": {"colour": "red"}}),
        client.post(
            "/api/cases",
            json={"title": "x", "marks": [{"tracklet": f"{0:016x}-1", "confirmed": True}]},
        ),
        client.get("/api/cases/99"),
    ]
    assert [answer.status_code for answer in refused] == [422, 422, 422, 404, 404]
    assert "nothing is confirmed in this case" in refused[0].json()["detail"]


def test_a_clip_runs_from_enter_to_leave(client, site):
    for boxes in ("one", "all"):
        path = f"/api/tracklets/{site.ids['gate', 'bert']}/clip?boxes={boxes}"
        answer = client.get(path)
        assert answer.headers["content-type"] == "video/webm"
        with av.open(io.BytesIO(answer.content)) as clip:
            assert sum(1 for _ in clip.decode(video=0)) == 30
    with GalleryStore(site.folder) as gallery:
        assert [entry.action for entry in audit.entries(gallery)] == ["clip", "clip"]
    (site.folder.parent / "gate.avi").unlink()
    gone = client.get(path)
    assert gone.status_code == 404
    assert "gate.avi" in gone.json()["detail"]
    assert str(site.folder.parent) not in gone.json()["detail"]


def test_the_page_has_an_address_for_every_person_and_case(connect):
    client = connect(TOKENS)
    for path in ("/people", "/people/7", "/cases", "/cases/3"):
        answer = client.get(path)
        assert answer.status_code == 200
        assert "text/html" in answer.headers["content-type"]
    assert client.get("/people/7/x").status_code == 401
    assert client.get("/api/people").status_code == 401
