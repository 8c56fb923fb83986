"""Every way in that must stay shut, tried from outside."""

import asyncio

import pytest

from reid_dhm.service.middleware.authentication import COOKIE
from reid_dhm.service.middleware.limits import Limits

TOKEN = "annas-very-own-token"
AS_ANNA = {"Authorization": f"Bearer {TOKEN}"}
CLOSED = ["/api/gallery", "/api/tracklets", "/metrics", "/api/nothing"]


@pytest.fixture
def guarded(connect):
    """Of a service that others reach, behind a token."""
    return connect({"anna": TOKEN}, host="0.0.0.0")


def test_without_tokens_nobody_needs_one(client):
    assert client.get("/api/gallery").status_code == 200
    assert client.get("/api/session").json() == {
        "required": False,
        "actor": "testclient",
        "role": "administrator",
    }


@pytest.mark.parametrize("path", CLOSED)
@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer forged-token-of-nobody"},
        {"Authorization": f"Bearer {TOKEN[:-1]}"},
        {"Authorization": f"Basic {TOKEN}"},
        {"Authorization": TOKEN},
        {"Authorization": "Bearer"},
        {"Authorization": b"Bearer \xff\xfe"},
        {"Cookie": f"{COOKIE}={TOKEN}"},
        {"Cookie": f"{COOKIE}=forged"},
    ],
)
def test_missing_and_forged_tokens_are_refused(guarded, path, headers):
    response = guarded.get(path, headers=headers)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == "Bearer"
    assert "token" in response.json()["detail"]


def test_a_token_in_the_address_opens_nothing(guarded):
    assert guarded.get(f"/api/gallery?token={TOKEN}").status_code == 401
    assert guarded.get(f"/api/gallery?access_token={TOKEN}").status_code == 401


def test_deleting_and_searching_need_the_token_too(guarded, site):
    anna = site.ids["gate", "anna"]
    assert guarded.delete(f"/api/tracklets/{anna}").status_code == 401
    asked = guarded.post("/api/search/tracklets", json={"tracklets": [anna]})
    assert asked.status_code == 401
    assert guarded.get(f"/api/tracklets/{anna}", headers=AS_ANNA).status_code == 200


def test_the_token_opens(guarded):
    assert guarded.get("/api/gallery", headers=AS_ANNA).status_code == 200
    assert guarded.get("/api/session", headers=AS_ANNA).json()["actor"] == "anna"


def test_what_shows_nothing_is_open(guarded):
    for path in ("/", "/health", "/openapi.json", "/static/main.js", "/api/session"):
        assert guarded.get(path).status_code == 200


def test_signing_in_gives_a_cookie_that_scripts_and_other_sites_cannot_use(guarded):
    response = guarded.post("/api/session", json={"token": TOKEN})
    assert response.json() == {"required": True, "actor": "anna", "role": "administrator"}
    cookie = response.headers["Set-Cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert TOKEN not in cookie
    assert guarded.get("/api/gallery").status_code == 200


def test_behind_https_the_cookie_stays_there(connect):
    client = connect({"anna": TOKEN}, host="0.0.0.0", names=["gallery.example"])
    headers = {"Host": "gallery.example", "Origin": "https://gallery.example"}
    response = client.post("/api/session", json={"token": TOKEN}, headers=headers)
    assert "secure" in response.headers["Set-Cookie"].lower()


def test_signing_in_with_a_forged_token_is_refused(guarded):
    response = guarded.post("/api/session", json={"token": "forged-token-of-nobody"})
    assert response.status_code == 401
    assert "Set-Cookie" not in response.headers
    assert guarded.get("/api/gallery").status_code == 401


def test_who_comes_with_a_forged_token_is_written_into_the_log(guarded, caplog):
    guarded.post("/api/session", json={"token": "forged-token-of-nobody"})
    guarded.get("/api/gallery", headers={"Authorization": "Bearer forged-token-of-nobody"})
    guarded.get("/api/gallery")  # who has none is asked for one, as every visitor of the page
    assert [record.message for record in caplog.records if "token" in record.message] == [
        "sign-in with an unknown token from testclient",
        "unknown token from testclient",
    ]
    assert "forged" not in caplog.text


def test_signing_out_ends_the_session(guarded):
    guarded.post("/api/session", json={"token": TOKEN})
    kept = guarded.cookies[COOKIE]
    guarded.delete("/api/session")
    response = guarded.get("/api/gallery", headers={"Cookie": f"{COOKIE}={kept}"})
    assert response.status_code == 401


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8000", "127.0.0.1.evil.example"])
@pytest.mark.parametrize("path", ["/", "/api/gallery", "/static/main.js", "/openapi.json"])
def test_foreign_host_names_are_refused(client, host, path):
    response = client.get(path, headers={"Host": host})
    assert response.status_code == 421
    assert "--allow-host" in response.json()["detail"]


def test_names_can_be_allowed(connect):
    client = connect(names=["gallery.example"])
    assert client.get("/api/gallery", headers={"Host": "gallery.example"}).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:9000"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_pages_of_other_sites_can_change_nothing(client, site, headers):
    anna = site.ids["gate", "anna"]
    assert client.delete(f"/api/tracklets/{anna}", headers=headers).status_code == 403
    assert client.post("/api/deletions", json={"cameras": ["gate"]}, headers=headers).is_error
    files = {"pictures": b"x"}
    assert client.post("/api/search/pictures", files=files, headers=headers).status_code == 403
    assert client.get("/api/gallery").json()["tracklets"] == 5


def test_pages_of_other_sites_cannot_read_either(client, site):
    path = f"/api/tracklets/{site.ids['gate', 'anna']}/thumbnail"
    assert client.get(path, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    response = client.get(path)
    assert "Access-Control-Allow-Origin" not in response.headers
    assert response.headers["Cross-Origin-Resource-Policy"] == "same-origin"


def test_the_page_of_the_service_itself_may(client, site):
    headers = {"Origin": "http://127.0.0.1:8000", "Sec-Fetch-Site": "same-origin"}
    response = client.delete(f"/api/tracklets/{site.ids['gate', 'anna']}", headers=headers)
    assert response.status_code == 200


@pytest.mark.parametrize("path", ["/", "/api/gallery", "/static/page.css", "/nothing", "/api/x"])
def test_every_answer_has_the_security_headers(client, path):
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "frame-ancestors 'none'" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"


def test_the_security_headers_are_exactly_these(client):
    headers = client.get("/api/gallery").headers
    assert headers["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; "
        "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    )
    assert headers["Cross-Origin-Opener-Policy"] == "same-origin"
    assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
    assert headers["Permissions-Policy"] == "camera=(), geolocation=(), microphone=()"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Cache-Control"] == "no-store"
    assert client.get("/static/main.js").headers["Cache-Control"] == "no-cache"


def test_refusals_have_the_security_headers_too(guarded):
    for headers in ({"Host": "evil.example"}, {"Sec-Fetch-Site": "cross-site"}, {}):
        response = guarded.get("/api/gallery", headers=headers)
        assert response.is_client_error
        assert response.headers["X-Frame-Options"] == "DENY"
        assert response.headers["Cache-Control"] == "no-store"


def test_a_monitor_may_use_any_host_name_for_health_alone(guarded):
    assert guarded.get("/health", headers={"Host": "monitor.example"}).status_code == 200
    assert guarded.get("/metrics", headers={"Host": "monitor.example"}).status_code == 421


def test_following_a_link_from_another_site_opens_the_page_and_nothing_else(client):
    headers = {"Sec-Fetch-Site": "cross-site", "Origin": "http://evil.example"}
    assert client.get("/", headers=headers).status_code == 200
    assert client.get("/static/main.js", headers=headers).status_code == 200
    assert client.get("/api/session", headers=headers).status_code == 403
    assert client.post("/", headers=headers).status_code == 403


def test_reading_needs_no_origin_of_its_own(client):
    headers = {"Origin": "http://evil.example"}  # without Sec-Fetch-Site: an old browser
    for method in ("GET", "HEAD", "OPTIONS"):
        assert client.request(method, "/api/gallery", headers=headers).status_code in (200, 405)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_of_a_token_may_be_written_in_any_case(guarded, scheme):
    headers = {"Authorization": f"{scheme}   {TOKEN} "}
    assert guarded.get("/api/session", headers=headers).json()["actor"] == "anna"


def test_a_forged_token_is_not_saved_by_a_session(guarded):
    guarded.post("/api/session", json={"token": TOKEN})
    assert guarded.get("/api/gallery").status_code == 200
    headers = {"Authorization": "Bearer forged-token-of-nobody"}
    assert guarded.get("/api/gallery", headers=headers).status_code == 401


def test_the_cookie_lasts_as_long_as_the_session(guarded):
    cookie = guarded.post("/api/session", json={"token": f" {TOKEN} "}).headers["Set-Cookie"]
    assert "Max-Age=43200" in cookie
    assert "Secure" not in cookie  # over plain HTTP it would never come back
    gone = guarded.delete("/api/session").headers["Set-Cookie"]
    assert gone.startswith(f'{COOKIE}="";')
    assert "Max-Age=0" in gone
    assert "HttpOnly" in gone
    assert "samesite=strict" in gone.lower()


def test_paths_beside_the_open_ones_need_the_token(guarded):
    for path in ("/health/x", "/staticx/main.js", "/api/sessions", "/openapi.jsonx", "/metrics"):
        assert guarded.get(path).status_code == 401, path


def test_a_service_without_tokens_names_the_client_by_its_address(client):
    assert client.post("/api/session", json={"token": "whatever"}).json() == {
        "required": False,
        "actor": "testclient",
        "role": "administrator",
    }


def test_images_of_people_stay_in_no_cache(client, site):
    path = f"/api/tracklets/{site.ids['gate', 'anna']}/thumbnail"
    assert client.get(path).headers["Cache-Control"] == "no-store"


def test_failures_inside_are_one_sentence_with_the_headers(client, monkeypatch, caplog):
    monkeypatch.setattr(
        "reid_dhm.gallery.store.gallery.GalleryStore.cameras", lambda self: 1 / 0, raising=True
    )
    response = client.get("/api/cameras")
    assert response.status_code == 500
    assert response.json() == {"detail": "the service failed: see its log"}
    assert response.headers["X-Frame-Options"] == "DENY"
    assert "ZeroDivisionError" in caplog.text


def test_requests_that_claim_too_much_are_refused_unread(client):
    def endless():
        raise AssertionError("was read")
        yield b""

    headers = {"Content-Length": str(10**12), "Content-Type": "application/json"}
    response = client.post("/api/search/tracklets", content=endless(), headers=headers)
    assert response.status_code == 413


def test_requests_that_hide_their_length_are_cut_off(connect):
    client = connect(limits=Limits(body_bytes=1000, upload_bytes=5000))
    chunks = (b"x" * 100 for _ in range(11))
    headers = {"Content-Type": "application/json"}
    response = client.post("/api/search/tracklets", content=chunks, headers=headers)
    assert response.status_code == 413
    image = {"pictures": b"x" * 6000}
    assert client.post("/api/search/pictures", files=image).status_code == 413


async def _ask(app, receive, path="/api/search/tracklets", type="http"):
    """What an application answers to whoever sends like this."""
    sent = []
    scope = {
        "type": type,
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "POST",
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
        "client": ("127.0.0.1", 5),
    }

    async def send(message):
        sent.append(message)

    await app(scope, receive, send)
    return sent


def test_requests_that_never_end_are_given_up(connect):
    app = connect(limits=Limits(body_seconds=0.05)).app

    async def slowly():
        await asyncio.sleep(60)

    assert asyncio.run(_ask(app, slowly))[0]["status"] == 408


def test_web_sockets_are_refused(client):
    async def connecting():
        return {"type": "websocket.connect"}

    sent = asyncio.run(_ask(client.app, connecting, type="websocket"))
    assert sent == [{"type": "websocket.close", "code": 1008}]


@pytest.mark.parametrize(
    "path",
    [
        "/static/../app.py",
        "/static/..%2fapp.py",
        "/static/%2e%2e/%2e%2e/errors.py",
        "/static/....//app.py",
        "/static//etc/passwd",
        "/static/%00",
        "/api/tracklets/..%2f..%2f..%2fetc%2fpasswd/thumbnail",
        "/api/tracklets/%2e%2e/thumbnail",
        "/api/videos/..%2f..%2fetc%2fpasswd/frames/0",
        "/api/videos/%2fetc%2fpasswd/frames/0",
        "/api/videos/0000000000000000/frames/..%2f0",
        "/api/tracklets/0000000000000000-1/crops/..%2f..",
        "/..%2f..%2fetc/passwd",
        "//etc/passwd",
    ],
)
def test_no_path_leads_out(client, path):
    response = client.get(path)
    assert response.status_code in (404, 405, 422)
    assert "root:" not in response.text
    assert "import" not in response.text
