import re
from pathlib import Path

from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.service.api.session import STATIC

OWN = re.compile(r'(?:src|href)="([^"]+)"')


def test_the_page_is_served(client):
    response = client.get("/")
    assert response.headers["Content-Type"].startswith("text/html")
    for address in OWN.findall(response.text):
        if not address.startswith("#"):
            assert client.get(address).status_code == 200


def test_the_page_asks_nobody_else():
    for file in STATIC.iterdir():
        text = file.read_text().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text


def test_the_page_has_no_script_or_style_of_its_own():
    page = (STATIC / "index.html").read_text()
    assert not re.search(r"<script(?![^>]*src=)", page)
    assert not re.search(r"\sstyle=|<style|\son\w+=", page)


def test_every_file_of_the_page_is_installed():
    settings = Path(__file__).parents[2] / "pyproject.toml"
    assert '"reid_dhm.service" = ["static/*"]' in settings.read_text()


def test_health(client):
    assert client.get("/health").json() == {"status": "ok"}


def test_health_counts_nobody(client, monkeypatch):
    def state(_: object) -> None:
        raise AssertionError("/health counts all tracklets")

    monkeypatch.setattr(GalleryStore, "state", state)
    assert client.get("/health").status_code == 200


def test_metrics_count_without_saying_who(client, site):
    anna = site.ids["gate", "anna"]
    client.get(f"/api/tracklets/{anna}")
    client.get(f"/api/tracklets/{anna}")
    client.get("/api/tracklets/nonsense")
    response = client.get("/metrics")
    assert response.headers["Content-Type"].startswith("text/plain")
    lines = response.text.splitlines()
    route = 'method="GET",route="/api/tracklets/{tracklet}"'
    assert f'reid_requests_total{{{route},status="200"}} 2.0' in lines
    assert f'reid_requests_total{{{route},status="422"}} 1.0' in lines
    assert "reid_tracklets 5.0" in lines
    assert "reid_requests_running 1.0" in lines
    assert anna not in response.text


def test_the_interface_is_described(client):
    described = client.get("/openapi.json").json()
    assert {"/api/search/pictures", "/api/search/frame", "/api/search/tracklets"} < set(
        described["paths"]
    )
    names = [call["operationId"] for path in described["paths"].values() for call in path.values()]
    assert len(names) == len(set(names))
    for path in described["paths"].values():
        for call in path.values():
            for status, answer in call["responses"].items():
                if status[0] in "45":
                    schema = answer["content"]["application/json"]["schema"]
                    assert schema == {"$ref": "#/components/schemas/ProblemModel"}


def test_pages_that_load_from_elsewhere_are_off(client):
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404


def test_the_description_says_when_a_token_is_needed(client, connect):
    assert "securitySchemes" not in client.get("/openapi.json").json()["components"]
    guarded = connect({"anna": "annas-very-own-token"})
    described = guarded.get("/openapi.json").json()
    assert described["paths"]["/api/gallery"]["get"]["security"] == [{"HTTPBearer": []}]


def test_a_refused_method_names_all_that_a_path_has(client, site):
    known = {
        "tracklet": site.ids["gate", "anna"],
        "camera": "1",
        "frame": "0",
        "rank": "0",
        "person": "1",
        "case": "1",
        "number": "1",
    }
    known["video"] = known["tracklet"].split("-")[0]
    for path, calls in client.get("/openapi.json").json()["paths"].items():
        response = client.patch(path.format(**known))
        assert response.status_code == 405
        allowed = set(response.headers["Allow"].split(", "))
        assert allowed == {method.upper() for method in calls}, path
        assert isinstance(response.json()["detail"], str)
