"""Services over one shared gallery: they keep nothing of their own."""

from __future__ import annotations

from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from reid_dhm.gallery.opening import copy_gallery, open_gallery
from reid_dhm.service.app import create_app
from reid_dhm.service.auth import Role, SignedSessions, Tokens
from reid_dhm.service.state import Service

pytest.importorskip("lance", reason="Lance is not installed: pip install reid-dhm[cluster]")

pytestmark = pytest.mark.cluster

TOKENS = {"ann": "a-token-that-nobody-guesses", "bob": "another-token-nobody-guesses"}


@pytest.fixture
def services(site, embedder, tmp_path):
    """Two services over a copy of the site, as behind a load balancer."""
    place = Path(f"lance:{tmp_path}/shared")
    with open_gallery(site.folder) as source, open_gallery(place, create=True) as target:
        copy_gallery(source, target)
    tokens = Tokens(TOKENS, {"bob": Role.VIEWER})
    clients = []
    for _ in range(2):
        service = Service.open(place, embedder, tokens)
        clients.append(TestClient(create_app(service), base_url="http://localhost"))
    return clients


def test_a_session_of_one_opens_the_other(services) -> None:
    one, other = services
    assert other.get("/api/gallery").status_code == 401
    assert one.post("/api/session", json={"token": TOKENS["ann"]}).status_code == 200
    other.cookies.update(one.cookies)
    assert other.get("/api/gallery").status_code == 200
    assert other.get("/api/session").json()["actor"] == "ann"
    assert one.get("/health").json() == {"status": "ok"}
    assert "reid_" in one.get("/metrics").text


def test_it_is_searched_and_shown_as_a_folder_is(services, client) -> None:
    one, _ = services
    bearer = {"Authorization": f"Bearer {TOKENS['ann']}"}
    for path in ("/api/gallery", "/api/tracklets?limit=200", "/api/videos", "/api/cameras"):
        mine, theirs = one.get(path, headers=bearer).json(), client.get(path).json()
        count = len(theirs["items"]) if "items" in theirs else theirs["tracklets"]
        assert count == (len(mine["items"]) if "items" in mine else mine["tracklets"]) > 0
    ids = {each["tracklet"] for each in client.get("/api/tracklets").json()["items"]}
    assert ids == {e["tracklet"] for e in one.get("/api/tracklets", headers=bearer).json()["items"]}
    some = sorted(ids)[0]
    found = [
        c.post("/api/search/tracklets", json={"tracklets": [some]}, headers=h).json()["hits"]
        for c, h in ((one, bearer), (client, {}))
    ]
    assert [h["tracklet"] for h in found[0]] == [h["tracklet"] for h in found[1]]
    path = f"/api/tracklets/{some}/thumbnail"
    assert one.get(path, headers=bearer).content == client.get(path).content


def test_a_deletion_by_one_is_seen_by_the_other(services) -> None:
    one, other = services
    bearer = {"Authorization": f"Bearer {TOKENS['ann']}"}
    some = one.get("/api/tracklets", headers=bearer).json()["items"][0]["tracklet"]
    viewer = {"Authorization": f"Bearer {TOKENS['bob']}"}
    assert one.delete(f"/api/tracklets/{some}", headers=viewer).status_code == 403
    done = one.delete(f"/api/tracklets/{some}", headers=bearer).json()
    assert (done["tracklets"], done["traces"]) == (1, False)
    assert other.get(f"/api/tracklets/{some}", headers=bearer).status_code == 404


def test_people_are_refused_in_one_line(services) -> None:
    bearer = {"Authorization": f"Bearer {TOKENS['ann']}"}
    answer = services[0].get("/api/people", headers=bearer)
    assert answer.status_code == 422
    assert "shared gallery" in answer.json()["detail"]


def test_a_session_is_the_owners_until_it_ends_or_the_token_changes() -> None:
    sessions = SignedSessions(Tokens(TOKENS))
    secret = sessions.begin("ann")
    assert SignedSessions(Tokens(TOKENS)).owner(secret.encode()) == "ann"
    name, ends, signature = secret.split(".")
    later = f"{name}.{int(ends) + 1}.{signature}"
    bob = f"{b'bob'.hex()}.{ends}.{signature}"
    for forged in (later, bob, secret[:-1], "", "zz.1.2", f"{name}.{ends}.{'0' * 64}"):
        assert sessions.owner(forged.encode()) is None
    assert SignedSessions(Tokens({"ann": "c" * 20})).owner(secret.encode()) is None
    ended = SignedSessions(Tokens(TOKENS), seconds=-1).begin("ann")
    assert sessions.owner(ended.encode()) is None
