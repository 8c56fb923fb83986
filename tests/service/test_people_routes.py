"""People over the service: found, corrected by those who may, and deleted by administrators."""

import pytest

from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.gallery.people.thresholds.calibration import PairCalibration, PeopleThresholds
from reid_dhm.gallery.people.thresholds.stored import store_thresholds
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.auth import Role

TOKENS = {
    "vera": "the-very-own-token-of-vera",
    "ines": "the-very-own-token-of-ines",
    "ada": "the-very-own-token-of-ada",
}
ROLES = {"vera": Role.VIEWER, "ines": Role.INVESTIGATOR}


@pytest.fixture
def linked(client, site):
    """A client of the site after its people were found, and Anna linked by hand."""
    assert client.post("/api/linking", json={}).status_code == 200
    anna = [site.ids[camera, "anna"] for camera in ("gate", "yard")]
    assert client.post("/api/links", json={"tracklets": anna}).json()["id"] == 1
    return client


def test_people_are_found_and_linked_over_cameras(client, site):
    assert client.get("/api/people").json() == {"items": [], "next": None}
    done = client.post("/api/linking", json={}).json()
    assert (done["people"], done["new"], done["added"]) == (5, 5, 5)
    anna = [site.ids[camera, "anna"] for camera in ("gate", "yard")]
    client.post("/api/links", json={"tracklets": anna})
    people = client.get("/api/people").json()["items"]
    assert [(p["tracklets"], p["cameras"]) for p in people] == [
        (2, ["gate", "yard"]), (1, ["gate"]), (1, ["yard"]), (1, ["yard"]),
    ]  # fmt: skip
    anna = client.get(f"/api/people/{people[0]['id']}").json()
    assert [a["tracklet"] for a in anna["appearances"]] == [
        site.ids["gate", "anna"],
        site.ids["yard", "anna"],
    ]
    assert anna["appearances"][0]["confirmed_by"] == "testclient"
    assert client.get("/api/people/1/portrait").headers["content-type"] == "image/jpeg"
    assert client.get("/api/tracklets").json()["items"][0]["person_id"] == people[0]["id"]


def test_people_are_listed_by_page_and_condition(linked):
    first = linked.get("/api/people?limit=3").json()
    rest = linked.get(f"/api/people?limit=3&after={first['next']}").json()
    assert [p["id"] for p in first["items"] + rest["items"]] == [1, 2, 3, 5]
    assert rest["next"] is None
    two = linked.get("/api/people?min_cameras=2&limit=1").json()
    assert ([p["id"] for p in two["items"]], two["next"]) == ([1], None)
    of = {name: linked.get(f"/api/people?{name}").json()["items"] for name in (
        "camera=yard", "min_cameras=2", "from=2.5&camera=gate")}  # fmt: skip
    assert [len(found) for found in of.values()] == [3, 1, 2]


def test_what_is_said_is_kept_and_logged_with_its_actor(linked, site):
    ids = site.ids
    bert, cleo = ids["gate", "bert"], ids["yard", "cleo"]
    one = linked.post("/api/links", json={"tracklets": [bert, cleo]}).json()
    assert (one["tracklets"], one["confirmed"]) == (2, 2)
    named = linked.post(f"/api/people/{one['id']}/name", json={"name": "Bert"})
    assert named.json()["name"] == "Bert"
    linked.post("/api/linking", json={})
    route = linked.get(f"/api/people/{one['id']}").json()
    assert [a["confirmed_by"] for a in route["appearances"]] == ["testclient"] * 2
    both = linked.post(f"/api/people/{one['id']}/split", json={"tracklets": [cleo]}).json()
    assert (both["new"]["name"], both["left"]["name"]) == (None, "Bert")
    merged = linked.post("/api/merges", json={"people": [both["new"]["id"], one["id"]]})
    assert (merged.json()["name"], merged.json()["tracklets"]) == ("Bert", 2)
    with GalleryStore(site.folder) as gallery:
        entries = [(e.actor, e.action) for e in audit.entries(gallery)]
    said = ["link", "link", "link", "name", "link", "split", "merge"]
    assert entries == [("testclient", action) for action in said]


def test_every_statement_is_undone_by_its_change(linked, site):
    ids = site.ids
    bert, cleo, dora = ids["gate", "bert"], ids["yard", "cleo"], ids["yard", "dora"]

    def state() -> list:
        people = linked.get("/api/people?hidden=true").json()["items"]
        return [linked.get(f"/api/people/{person['id']}").json() for person in people]

    calls = [
        ("links", {"tracklets": [bert, cleo]}),
        ("merges", {"people": [1, 2]}),
        ("people/1/split", {"tracklets": [ids["yard", "anna"]]}),
        ("people/2/name", {"name": "Bert"}),
        ("people/2/hide", {"hidden": True}),
        ("labels", {"tracklets": [cleo, dora], "name": "The two"}),
        ("differences", {"people": [2, 3]}),
    ]
    for path, body in calls:
        before = state()
        answer = linked.post(f"/api/{path}", json=body).json()
        after = state()
        assert before != after, path
        assert linked.get("/api/changes?limit=1").json()[0]["change"] == answer["change"]
        redo = linked.post("/api/undo", json={"change": answer["change"]})
        assert redo.status_code == 200, redo.text
        assert state() == before, path
        linked.post("/api/undo", json={"change": redo.json()["change"]})
        assert state() == after, path
        linked.post("/api/undo", json={"change": linked.get("/api/changes").json()[0]["change"]})
    assert linked.post("/api/undo", json={"change": 999}).status_code == 404


def test_hidden_people_are_listed_on_request_only(linked):
    linked.post("/api/people/2/hide", json={"hidden": True})
    linked.post("/api/linking", json={})
    listed = {
        query: [p["id"] for p in linked.get(f"/api/people?{query}").json()["items"]]
        for query in ("", "hidden=true")
    }
    assert listed == {"": [1, 3, 5], "hidden=true": [1, 2, 3, 5]}
    assert not {2} & {n for q in linked.get("/api/questions").json()
                      for n in (q["first"]["id"], q["second"]["id"])}  # fmt: skip


def test_people_are_listed_by_last_seen(linked):
    first = linked.get("/api/people?order=last_seen&limit=3").json()
    rest = linked.get(f"/api/people?order=last_seen&limit=3&after={first['next']}").json()
    # Bert and Anna have a clock time, Dora and Cleo come late and early in their video.
    assert [p["id"] for p in first["items"] + rest["items"]] == [2, 1, 5, 3]
    assert rest["next"] is None


def test_questions_are_about_people_alike_and_answers_are_used(connect, site):
    client = connect()
    client.post("/api/linking", json={})
    asked = client.get("/api/questions").json()
    pair = [asked[0][side]["id"] for side in ("first", "second")]
    anna = [client.get(f"/api/tracklets/{site.ids[c, 'anna']}").json() for c in ("gate", "yard")]
    assert pair == sorted(t["person_id"] for t in anna)
    pairs = [{q["first"]["id"], q["second"]["id"]} for q in asked]
    numbers = {n: client.get(f"/api/tracklets/{id}").json()["person_id"]
               for (_, n), id in site.ids.items() if n != "anna"}  # fmt: skip
    assert {numbers["cleo"], numbers["dora"]} not in pairs  # seen at once, in frame 20
    client.post("/api/differences", json={"people": pair})
    assert set(pair) not in [
        {q["first"]["id"], q["second"]["id"]} for q in client.get("/api/questions").json()
    ]
    client.post("/api/linking", json={})
    after = [client.get(f"/api/tracklets/{t['tracklet']}").json()["person_id"] for t in anna]
    assert sorted(after) == pair


def test_people_are_counted(linked):
    found = linked.get("/api/counts").json()
    assert {"from": "outside", "to": "gate", "count": 2} in found["flows"]
    assert [(stay["camera"], stay["people"]) for stay in found["stays"]] == [
        ("gate", 2),
        ("yard", 3),
    ]
    assert {hour["camera"] for hour in found["hours"]} == {"gate", "yard", None}


@pytest.mark.parametrize(
    ("path", "body", "status", "detail"),
    [
        ("people/99/name", {"name": "Anna"}, 404, "the gallery has no person '99'"),
        ("people/1/name", {"name": "12"}, 422, "digits alone are a person's number"),
        ("people/1/name", {}, 422, "name"),
        ("merges", {"people": [1, 99]}, 404, "no person '99'"),
        ("merges", {"people": [1, 1]}, 422, "fewer than two people"),
        ("links", {"tracklets": ["0000000000000000-9"]}, 422, "tracklets"),
        ("linking", {"travel": [{"cameras": ["gate", "moon"], "seconds": 1}]}, 404, "moon"),
        ("linking", {"travel": [{"cameras": ["gate", "gate"], "seconds": 1}]}, 422, "itself"),
    ],
)
def test_refusals_are_one_sentence(linked, path, body, status, detail):
    answer = linked.post(f"/api/{path}", json=body)
    assert answer.status_code == status
    assert detail in answer.json()["detail"]


def test_deleting_a_person_deletes_the_tracklets(linked, site):
    assert linked.delete("/api/people/1").json()["tracklets"] == 2
    assert linked.get("/api/people/1").status_code == 404
    assert linked.get("/api/gallery").json()["tracklets"] == 3
    with GalleryStore(site.folder) as gallery:
        assert audit.entries(gallery)[-1].detail["person"] == 1


def test_roles_are_kept_apart(connect, site):
    client = connect(TOKENS, roles=ROLES)
    bert, tracklets = site.ids["gate", "bert"], [site.ids["gate", "bert"], site.ids["yard", "cleo"]]

    def status(who: str, method: str, path: str, body=None) -> int:
        bearer = {"Authorization": f"Bearer {TOKENS[who]}"}
        return client.request(method, f"/api/{path}", json=body, headers=bearer).status_code

    for who, role in {**{n: r.word for n, r in ROLES.items()}, "ada": "administrator"}.items():
        bearer = {"Authorization": f"Bearer {TOKENS[who]}"}
        assert client.get("/api/session", headers=bearer).json()["role"] == role
    calls = [  # the least role that may
        ("GET", "people", None, "vera"),
        ("POST", "search/tracklets", {"tracklets": [bert]}, "vera"),
        ("POST", "linking", {}, "ines"),
        ("POST", "links", {"tracklets": tracklets}, "ines"),
        ("POST", "people/1/name", {"name": "Anna"}, "ines"),
        ("POST", "people/1/hide", {"hidden": False}, "ines"),
        ("POST", "labels", {"tracklets": tracklets, "name": "Both"}, "ines"),
        ("GET", "questions", None, "ines"),
        ("GET", "changes", None, "ines"),
        ("DELETE", f"tracklets/{bert}", None, "ada"),
        ("POST", "deletions", {"cameras": ["gate"], "dry_run": True}, "ada"),
        ("DELETE", "people/1", None, "ada"),
        ("DELETE", "cameras/1", None, "ada"),
    ]
    order = list(TOKENS)
    for method, path, body, least in calls:
        for who in order[: order.index(least)]:
            assert status(who, method, path, body) == 403, (who, path)
        assert status(least, method, path, body) == 200, (least, path)
    assert status("vera", "GET", "people") == 200
    page = client.post("/api/session", json={"token": TOKENS["vera"]})
    assert page.json()["role"] == "viewer"
    assert client.delete("/api/people/2").status_code == 403  # by the page's cookie as well


def test_two_requests_do_not_find_people_at_once(linked):
    service = linked.app.state.service
    with service.linking():
        answer = linked.post("/api/linking", json={})
    assert (answer.status_code, "Retry-After" in answer.headers) == (503, True)
    assert linked.post("/api/linking", json={}).status_code == 200


def test_a_search_says_what_its_probabilities_rest_on(linked, site):
    asked = {"tracklets": [site.ids["gate", "anna"]]}
    bare = linked.post("/api/search/tracklets", json=asked).json()
    assert (bare["basis"], bare["hits"][0]["likely"]) == (None, None)
    calibration = PairCalibration(Calibration(40.0, -30.0, 0.1), 425, 9)
    pairs = {(1, 1): calibration, (1, 2): calibration}
    with GalleryStore(site.folder) as gallery:
        found = PeopleThresholds({}, negatives=425, by_cameras=pairs)
        store_thresholds(gallery, found, 5, gallery.state().deletions)
    answer = linked.post("/api/search/tracklets", json=asked).json()
    assert answer["basis"] == "calibrated on this gallery's 425 pairs of people seen at once"
    best = answer["hits"][0]
    assert best["person_id"] == 1
    assert best["likely"] == (best["probability"] >= 0.5)
