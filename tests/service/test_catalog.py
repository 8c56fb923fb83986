import io

import cv2
import numpy as np
import pytest
from PIL import Image


def pixels(response) -> np.ndarray:
    assert response.status_code == 200, response.text
    assert response.headers["Content-Type"] == "image/jpeg"
    return np.asarray(Image.open(io.BytesIO(response.content)).convert("RGB")).astype(int)


def test_the_gallery_in_all(client):
    told = client.get("/api/gallery").json()
    assert told["name"] == "site"
    assert (told["tracklets"], told["cameras"], told["videos"]) == (5, 2, 2)
    assert told["start_time"] == "2026-03-01T08:30:00+01:00"
    assert told["end_time"] == "2026-03-01T08:30:04+01:00"
    assert (told["seconds"], told["untimed"]) == (4.0, 1)
    assert told["prior"] is None
    assert told["offsets"] == ["+01:00"]


def test_cameras_and_videos(client, site):
    cameras = client.get("/api/cameras").json()["items"]
    assert [(camera["name"], camera["tracklets"]) for camera in cameras] == [
        ("gate", 2),
        ("yard", 3),
    ]
    assert [camera["videos"] for camera in cameras] == [1, 1]
    gate, yard = client.get("/api/videos").json()["items"]
    assert (gate["camera"], gate["source"], gate["tracklets"]) == ("gate", "gate.avi", 2)
    assert (gate["fps"], gate["width"], gate["height"]) == (10, 320, 240)
    assert (gate["last_frame"], gate["complete"], gate["reachable"]) == (39, True, True)
    assert yard["start_time"] is None
    assert client.get("/api/videos?camera=yard").json()["items"] == [yard]
    assert client.get(f"/api/videos/{yard['video']}").json() == yard


def test_where_files_lie_on_the_server_is_told_to_nobody(client, site):
    for path in ("/api/videos", "/api/gallery", "/api/tracklets"):
        assert str(site.folder.parent) not in client.get(path).text
    (site.folder.parent / "gate.avi").unlink()
    video = site.ids["gate", "anna"].split("-")[0]
    response = client.get(f"/api/videos/{video}/frames/0")
    assert str(site.folder.parent) not in response.text


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize("what", ["cameras", "videos", "tracklets"])
def test_pages_join_to_the_whole(client, what, limit):
    whole = client.get(f"/api/{what}").json()["items"]
    joined, after, pages = [], 0, 0
    while after is not None:
        page = client.get(f"/api/{what}?limit={limit}&after={after}").json()
        assert len(page["items"]) <= limit
        joined += page["items"]
        after, pages = page["next"], pages + 1
    assert joined == whole
    assert pages == -(-len(whole) // limit)


def test_tracklets_by_camera_video_and_time(client, site):
    def ids(query):
        return {item["tracklet"] for item in client.get(f"/api/tracklets?{query}").json()["items"]}

    of = site.ids
    assert ids("camera=gate") == {of["gate", "anna"], of["gate", "bert"]}
    assert ids(f"video={of['yard', 'cleo'][:16]}&to=0.5") == {of["yard", "cleo"]}
    assert ids("from=2026-03-01T08:30:03%2B01:00") == {of["gate", "bert"]}


def test_a_tracklet_with_its_boxes_and_images(client, site):
    told = client.get(f"/api/tracklets/{site.ids['gate', 'anna']}").json()
    assert told["tracklet"] == site.ids["gate", "anna"]
    assert len(told["boxes"]) == told["num_boxes"] == 26
    assert told["boxes"][3] == {"frame": 3, "time": 0.3, "box": [31, 20, 63, 100]}
    assert [crop["rank"] for crop in told["crops"]] == [0, 1]
    assert told["crops"][1]["frame"] == 23


def test_thumbnails_and_crops(client, site):
    path = f"/api/tracklets/{site.ids['gate', 'anna']}"
    thumbnail = pixels(client.get(f"{path}/thumbnail"))
    assert thumbnail.shape == (80, 32, 3)
    assert np.abs(thumbnail[20, 16] - (220, 40, 40)).max() < 12
    assert (pixels(client.get(f"{path}/crops/0")) == thumbnail).all()
    assert pixels(client.get(f"{path}/crops/1")).shape == (80, 32, 3)
    response = client.get(f"{path}/crops/2")
    assert response.status_code == 404
    assert "has 2 images, counted from 0" in response.json()["detail"]


def test_a_frame_is_the_videos(client, site):
    video = site.ids["gate", "anna"].split("-")[0]
    frame = pixels(client.get(f"/api/videos/{video}/frames/20"))
    capture = cv2.VideoCapture(str(site.folder.parent / "gate.avi"))
    for _ in range(21):
        _, expected = capture.read()
    assert np.abs(frame - expected[:, :, ::-1].astype(int)).mean() < 2


def test_boxes_are_drawn_on_request(client, site):
    video = site.ids["gate", "anna"].split("-")[0]
    path = f"/api/videos/{video}/frames/20"
    plain, drawn = pixels(client.get(path)), pixels(client.get(f"{path}?boxes=true"))
    changed = np.abs(drawn - plain).max(2) > 60
    assert changed[120:200, 80:112].any()  # around Bert
    assert not changed[:, 200:].any()
    assert (pixels(client.get(path)) == plain).all()


def test_who_is_in_a_frame(client, site):
    video = site.ids["gate", "anna"].split("-")[0]
    people = client.get(f"/api/videos/{video}/frames/20/people").json()
    assert people == [
        {"tracklet": site.ids["gate", "anna"], "person": None, "box": [150, 20, 182, 100]},
        {"tracklet": site.ids["gate", "bert"], "person": None, "box": [80, 120, 112, 200]},
    ]
    assert client.get(f"/api/videos/{video}/frames/39/people").json()[0]["box"][0] == 213


def test_a_video_that_is_gone_is_said_to_be(client, site):
    (site.folder.parent / "gate.avi").unlink()
    gate, yard = client.get("/api/videos").json()["items"]
    assert (gate["reachable"], yard["reachable"]) == (False, True)
    response = client.get(f"/api/videos/{gate['video']}/frames/3")
    assert response.status_code == 404
    assert "gate.avi is missing: restore it" in response.json()["detail"]
    assert client.get(f"/api/tracklets/{site.ids['gate', 'anna']}/thumbnail").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/api/tracklets/0123456789abcdef-1",
        "/api/tracklets/0123456789abcdef-1/thumbnail",
        "/api/tracklets/0123456789abcdef-1/crops/0",
        "/api/videos/0123456789abcdef",
        "/api/videos/0123456789abcdef/frames/0",
        "/api/videos/0123456789abcdef/frames/0/people",
        "/api/videos?camera=attic",
    ],
)
def test_what_is_not_there_is_404(client, path):
    response = client.get(path)
    assert response.status_code == 404
    assert response.json()["detail"].startswith("the gallery has no")


@pytest.mark.parametrize(
    "path",
    [
        "/api/tracklets/anna",
        "/api/tracklets/0123456789abcdef-0",
        "/api/tracklets/0123456789ABCDEF-1",
        "/api/tracklets/0123456789abcdef-1%0a",
        "/api/tracklets?limit=0",
        "/api/tracklets?limit=201",
        "/api/tracklets?after=-1",
        "/api/tracklets?after=99999999999999999999",
        "/api/tracklets?from=never",
        "/api/videos/0123456789abcdef/frames/-1",
        "/api/videos/0123456789abcdef/frames/99999999999",
    ],
)
def test_what_makes_no_sense_is_422(client, path):
    response = client.get(path)
    assert response.status_code == 422
    assert isinstance(response.json()["detail"], str)
