import hashlib
import math
import threading

import cv2
import numpy as np
import pytest

from reid_dhm.errors import InputError
from reid_dhm.evaluation.calibration import Calibration
from reid_dhm.evaluation.thresholds import Thresholds
from reid_dhm.gallery.search import query_image
from reid_dhm.gallery.store import audit
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.api import search as searching


def found(response) -> list[str]:
    assert response.status_code == 200, response.text
    return [hit["tracklet"] for hit in response.json()["hits"]]


def by_image(client, *images: bytes, **fields):
    files = [("pictures", ("p", image)) for image in images]
    return client.post("/api/search/pictures", files=files, data=fields)


def log(site) -> list[audit.Entry]:
    with GalleryStore(site.folder) as gallery:
        return audit.entries(gallery)


@pytest.fixture
def anna(image_of):
    return image_of("anna")


def test_a_image_finds_the_person_at_both_cameras(client, site, anna):
    response = by_image(client, anna)
    assert set(found(response)[:2]) == {site.ids["gate", "anna"], site.ids["yard", "anna"]}
    best = response.json()["hits"][0]
    assert best["similarity"] > 0.999
    assert best["probability"] is None
    assert response.json()["recall"] is None  # the index misses nobody


def test_hits_say_where_and_when(client, site, anna):
    hits = {hit["camera"]: hit for hit in by_image(client, anna, top_k=2).json()["hits"]}
    gate, yard = hits["gate"], hits["yard"]
    assert gate["start_time"] == "2026-03-01T08:30:00+01:00"
    assert (gate["start"], gate["end"]) == (0.0, 2.5)
    assert (gate["first_frame"], gate["last_frame"], gate["num_boxes"]) == (0, 25, 26)
    assert gate["frame"] == 5
    assert gate["box"] == [45, 20, 77, 100]
    assert yard["start_time"] is None
    assert (yard["start"], yard["end"]) == (1.2, 3.9)


def test_several_images_are_one_person(client, image_of, embedder):
    assert by_image(client, image_of("anna"), image_of("anna")).status_code == 200
    assert embedder.batches[-1] == 2


def test_a_box_says_who_in_the_image_is_meant(client, site, image_of, person_beside):
    scene = person_beside("bert", "anna")  # 64 wide: Bert left, Anna right
    assert found(by_image(client, scene, boxes="32,0,64,80"))[0] in (
        site.ids["gate", "anna"],
        site.ids["yard", "anna"],
    )
    assert found(by_image(client, scene, boxes="0,0,32,80"))[0] == site.ids["gate", "bert"]


def test_a_detector_finds_the_person_where_no_box_is(connect, site, detector, scene_of):
    client = connect(detector=detector)
    assert client.get("/api/gallery").json()["detects"] is True
    response = by_image(client, scene_of("bert", (100, 40)))
    assert found(response)[0] == site.ids["gate", "bert"]
    assert np.abs(np.subtract(response.json()["boxes"][0], (100, 40, 132, 120))).max() <= 2
    given = by_image(client, scene_of("bert", (100, 40)), boxes="98,38,134,122")
    assert given.json()["boxes"] == [[98, 38, 134, 122]]


def test_a_detector_says_when_there_is_nobody(connect, detector, scene_of):
    response = by_image(connect(detector=detector), scene_of(None, (0, 0)))
    assert response.status_code == 422
    assert response.json()["detail"].startswith("colours found no people in image 1")


def test_of_several_people_the_answer_is_their_boxes(client, connect, monkeypatch):
    white = np.full((120, 200, 3), 255, np.uint8)
    image = cv2.imencode(".png", white)[1].tobytes()
    wide = by_image(client, image)
    assert wide.status_code == 422
    assert wide.json()["detail"].startswith("image 1 is too wide to show one person alone: give")
    boxes = [(10.0, 10.0, 40.0, 90.0), (60.0, 10.0, 90.0, 90.0)]
    monkeypatch.setattr(query_image, "find_people", lambda image, detector: boxes)
    asked = connect(detector=Anything())
    several = by_image(asked, image)
    assert (several.status_code, several.json()["boxes"]) == (422, [list(box) for box in boxes])
    assert by_image(asked, image, boxes="10,10,40,90").status_code == 200


class Anything:
    """A detector that need not look."""

    stateful, settings = False, {"detector": "anything"}


def test_a_detector_of_movement_cannot_serve(connect, detector):
    detector.stateful = True
    with pytest.raises(InputError, match="needs a video and the query is an image: use a name of"):
        connect(detector=detector)


def test_thresholds_give_match_probabilities(connect, site, anna):
    # As often as not at 0.5 where one of two is right; one of all that there are is.
    calibration = Calibration(slope=10.0, intercept=-5.0, prior=0.5)
    figures = {"num_same": 1, "num_different": 1, "operating_points": ()}
    thresholds = Thresholds("cosine", "made up", None, calibration=calibration, **figures)
    client = connect(thresholds=thresholds)
    told = client.get("/api/gallery").json()
    assert told["prior"] == pytest.approx(1 / (1 + told["tracklets"]))
    for hit in by_image(client, anna).json()["hits"]:
        odds = math.exp(10 * hit["similarity"] - 5) / told["tracklets"]
        assert hit["probability"] == pytest.approx(odds / (1 + odds))


def test_large_images_are_searched_like_small_ones(client, image_of):
    small = by_image(client, image_of("anna")).json()["hits"]
    large = by_image(client, image_of("anna", height=1600, width=640)).json()["hits"]
    assert [hit["tracklet"] for hit in small] == [hit["tracklet"] for hit in large]
    assert np.allclose(
        [hit["similarity"] for hit in small], [hit["similarity"] for hit in large], atol=0.01
    )


def test_a_box_in_a_frame_finds_the_person(client, site):
    # Bert crosses the gate below Anna; in frame 20 he is at 80 … 112, 120 … 200.
    video = site.ids["gate", "bert"].split("-")[0]
    question = {"video": video, "frame": 20, "box": [80, 120, 112, 200]}
    response = client.post("/api/search/frame", json=question)
    assert found(response)[0] == site.ids["gate", "bert"]
    assert response.json()["hits"][0]["similarity"] > 0.99


def test_a_tracklet_finds_the_person_elsewhere_and_not_itself(client, site):
    question = {"tracklets": [site.ids["gate", "anna"]]}
    hits = found(client.post("/api/search/tracklets", json=question))
    assert hits[0] == site.ids["yard", "anna"]
    assert site.ids["gate", "anna"] not in hits


def test_confirmed_and_rejected_hits_move_the_query(client, site):
    question = {"tracklets": [site.ids["gate", "bert"]]}
    before = client.post("/api/search/tracklets", json=question).json()["hits"]
    question |= {"confirmed": [site.ids["yard", "dora"]], "rejected": [site.ids["yard", "cleo"]]}
    after = client.post("/api/search/tracklets", json=question).json()["hits"]

    def similarity(hits, person):
        named = {hit["tracklet"]: hit["similarity"] for hit in hits}
        return named.get(site.ids["yard", person])

    assert similarity(after, "dora") > similarity(before, "dora")
    assert similarity(after, "cleo") is None
    assert similarity(before, "cleo") is not None


def test_images_are_refined_as_well(client, site, image_of):
    marks = {"confirmed": site.ids["yard", "anna"], "rejected": site.ids["gate", "anna"]}
    hits = found(by_image(client, image_of("anna"), **marks))
    assert hits[0] == site.ids["yard", "anna"]
    assert site.ids["gate", "anna"] not in hits


@pytest.mark.parametrize(
    ("conditions", "expected"),
    [
        ({"cameras": ["yard"]}, {"yard anna", "yard cleo", "yard dora"}),
        ({"cameras": ["gate", "yard"]}, {f"{c} {p}" for c, p in [
            ("gate", "anna"), ("gate", "bert"), ("yard", "anna"), ("yard", "cleo"), ("yard", "dora")
        ]}),
        ({"after": 3.0}, {"gate bert", "yard anna", "yard dora"}),
        ({"before": 0.5}, {"gate anna", "yard cleo"}),
        ({"after": "2026-03-01T07:30:03Z"}, {"gate bert"}),
        ({"before": "2026-03-01T08:30:00.500+01:00"}, {"gate anna"}),
        ({"after": "2026-03-02T00:00:00Z"}, set()),
        ({"cameras": ["yard"], "before": 0.5}, {"yard cleo"}),
    ],
)  # fmt: skip
def test_cameras_and_times_narrow_a_search(client, site, anna, conditions, expected):
    response = by_image(client, anna, **conditions)
    names = {id: f"{camera} {person}" for (camera, person), id in site.ids.items()}
    assert {names[id] for id in found(response)} == expected


def test_the_same_conditions_hold_for_tracklets(client, site):
    question = {"tracklets": [site.ids["gate", "anna"]], "cameras": ["yard"], "top_k": 1}
    assert found(client.post("/api/search/tracklets", json=question)) == [site.ids["yard", "anna"]]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"boxes": "1,2,3"}, "invalid box 1,2,3: give x1,y1,x2,y2"),
        ({"boxes": "30,0,2,80"}, "need x1 < x2 and y1 < y2"),
        ({"boxes": "nan,0,2,80"}, "invalid box"),
        ({"boxes": "500,0,600,80"}, "is outside image 1"),
        ({"boxes": "0,0,4,8"}, "need at least 8x16"),
        ({"boxes": ["", ""]}, "2 boxes for 1 images"),
        ({"top_k": 0}, "top_k: Input should be greater than or equal to 1"),
        ({"after": "yesterday"}, "'yesterday' is not an ISO 8601 time"),
        ({"after": "inf"}, "finite number of seconds"),
        ({"confirmed": "../../etc/passwd"}, "confirmed.0: String should match pattern"),
    ],
)
def test_what_cannot_be_used_is_one_sentence(client, anna, fields, message):
    response = by_image(client, anna, **fields)
    assert response.status_code == 422
    assert message in response.json()["detail"]


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"cameras": "attic"}, "the gallery has no camera 'attic': it has gate, yard"),
        ({"rejected": "0123456789abcdef-7"}, "the gallery has no tracklet 0123456789abcdef-7"),
    ],
)
def test_what_the_gallery_does_not_have_is_404(client, anna, fields, message):
    response = by_image(client, anna, **fields)
    assert response.status_code == 404
    assert message in response.json()["detail"]


def test_images_that_are_too_small_are_refused(client, image_of):
    response = by_image(client, image_of("anna", height=10, width=5))
    assert response.status_code == 422
    assert response.json()["detail"].startswith("image 1 has 5x10 pixels: need at least")


def test_too_many_images_are_refused(client, anna):
    assert by_image(client, *[anna] * 9).status_code == 422


def test_a_search_needs_somebody_to_search_for(client):
    assert client.post("/api/search/pictures").status_code == 422
    assert client.post("/api/search/tracklets", json={"tracklets": []}).status_code == 422


def test_unknown_words_are_refused(client, site):
    question = {"tracklets": [site.ids["gate", "anna"]], "camera": ["yard"]}
    assert client.post("/api/search/tracklets", json=question).status_code == 422


def test_an_empty_gallery_says_so(client, site, anna):
    for camera in client.get("/api/cameras").json()["items"]:
        client.delete(f"/api/cameras/{camera['id']}")
    response = by_image(client, anna)
    assert response.status_code == 422
    assert "holds no tracklets yet" in response.json()["detail"]


def test_searches_follow_what_others_add_and_delete(client, site, anna):
    assert len(found(by_image(client, anna))) == 5
    with GalleryStore(site.folder) as gallery:  # another process
        from reid_dhm.gallery.records import TrackletFilter
        from reid_dhm.gallery.store import deletion

        deletion.delete(gallery, TrackletFilter(cameras=["gate"]), whole=True)
    assert len(found(by_image(client, anna))) == 3


def test_every_search_is_written_down(client, site, anna):
    by_image(client, anna, cameras="yard")
    client.post("/api/search/tracklets", json={"tracklets": [site.ids["gate", "anna"]]})
    by_image(client, anna, cameras="attic")
    first, second, third = log(site)
    assert {entry.action for entry in (first, second, third)} == {"search"}
    assert {entry.actor for entry in (first, second, third)} == {"testclient"}
    assert first.detail["cameras"] == ["yard"]
    assert first.detail["hits"] == 3
    assert len(first.detail["pictures"][0]) == 64  # a digest, not the image
    assert second.detail["tracklets"] == [site.ids["gate", "anna"]]
    assert "attic" in third.detail["failed"]


def test_refused_searches_are_written_down(connect, site, detector, image_of, scene_of):
    client = connect(detector=detector)
    by_image(client, b"no image")
    by_image(client, image_of("anna"), scene_of(None, (0, 0)))
    video = site.ids["gate", "anna"][:16]
    (site.folder.parent / "gate.avi").unlink()
    client.post("/api/search/frame", json={"video": video, "frame": 3, "box": [0, 0, 40, 80]})
    broken, nobody, gone = log(site)
    assert broken.detail["failed"].startswith("image 1 is damaged or not an image")
    assert broken.detail["pictures"] == [hashlib.sha256(b"no image").hexdigest()]
    assert nobody.detail["failed"].startswith("colours found no people in image 2")
    assert len(nobody.detail["pictures"]) == 2
    assert (gone.detail["video"], gone.detail["frame"]) == (video, 3)
    assert "is missing: restore it" in gone.detail["failed"]


def test_a_image_waits_for_others_so_long_and_no_longer(client, anna, monkeypatch):
    monkeypatch.setattr(searching, "_DECODING", threading.BoundedSemaphore(1))
    monkeypatch.setattr(searching, "_PATIENCE", 0.0)
    with searching._DECODING:
        response = by_image(client, anna)
    assert response.status_code == 503
    assert response.json()["detail"] == "other images are being decoded: try again"
    assert by_image(client, anna).status_code == 200


def test_no_search_counts_the_gallery(client, anna, monkeypatch):
    def count(*_: object) -> int:
        raise AssertionError("a search counts all tracklets")

    monkeypatch.setattr(GalleryStore, "count", count)
    assert by_image(client, anna, cameras="yard").status_code == 200


def test_hits_may_be_asked_to_be_so_similar(client, site, anna):
    everybody = by_image(client, anna).json()["hits"]
    bar = (everybody[2]["similarity"] + everybody[3]["similarity"]) / 2
    hits = by_image(client, anna, min_similarity=bar).json()["hits"]
    assert hits == everybody[:3]
    question = {"tracklets": [site.ids["gate", "anna"]], "min_similarity": 0.99}
    assert found(client.post("/api/search/tracklets", json=question)) == [site.ids["yard", "anna"]]


def test_an_approximate_index_says_what_it_finds(client, anna, monkeypatch):
    class Approximate:
        recall = 0.97

    service = client.app.state.service
    monkeypatch.setattr(service.index, "opened", lambda _: Approximate())
    assert by_image(client, anna).json()["recall"] == 0.97


def test_the_image_that_was_shown_is_searched_for(client, site):
    # Somebody draws a box on a frame; before the search, its file changes.
    video = site.ids["gate", "bert"][:16]
    client.get(f"/api/videos/{video}/frames/20")
    (site.folder.parent / "gate.avi").write_bytes(b"overwritten")
    question = {"video": video, "frame": 20, "box": [80, 120, 112, 200]}
    response = client.post("/api/search/frame", json=question)
    assert found(response)[0] == site.ids["gate", "bert"]
    question["frame"] = 21
    assert client.post("/api/search/frame", json=question).status_code == 404


def test_the_owner_of_the_token_is_written_down(connect, site, anna):
    client = connect({"anna": "annas-very-own-token"})
    client.headers["Authorization"] = "Bearer annas-very-own-token"
    by_image(client, anna)
    assert [entry.actor for entry in log(site)] == ["anna"]


def test_nothing_is_answered_that_cannot_be_written_down(client, site, anna):
    with GalleryStore(site.folder) as other, other.writing():
        response = by_image(client, anna)
    assert response.status_code == 503
    assert response.headers["Retry-After"] == "1"
    assert "hits" not in response.text
