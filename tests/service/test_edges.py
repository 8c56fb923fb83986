"""Names and numbers from the edges of what can be written: answered or refused, never a failure."""

import pytest

HUGE = "9" * 5000
NUMBERS = ["NaN", "Infinity", "-Infinity", "1e400", "-1e308", "1e20", "-0.0", HUGE, "true", '"1"']
NAMES = [
    '"\\ud800"',
    '"\\u0000"',
    '"[/red]"',
    '"' + "x" * 200 + '"',
    '"' + "x" * 201 + '"',
    '"\\u202e"',
]
TIMES = [
    '"0001-01-01T00:00:00-23:59"',
    '"9999-12-31T23:59:59Z"',
    '"2026-13-01"',
    '"now"',
    "[]",
    "{}",
]


def search(client, site, field: str, value: str):
    anna = site.ids["gate", "anna"]
    body = f'{{"tracklets": ["{anna}"], "{field}": {value}}}'.encode()
    return client.post(
        "/api/search/tracklets", content=body, headers={"Content-Type": "application/json"}
    )


@pytest.mark.parametrize(
    ("field", "values"),
    [
        *((name, NUMBERS) for name in ("top_k", "min_similarity", "after", "before")),
        *((name, TIMES) for name in ("after", "before")),
        *((name, [f"[{value}]" for value in NAMES]) for name in ("cameras", "videos")),
        *((name, [f"[{value}]" for value in NAMES]) for name in ("confirmed", "rejected")),
    ],
)
def test_a_search_is_answered_or_refused_in_a_sentence(client, site, field, values, caplog):
    for value in values:
        response = search(client, site, field, value)
        assert response.status_code in (200, 400, 404, 422), (field, value)
        if response.status_code != 200:
            assert response.json()["detail"]
            assert "\n" not in response.json()["detail"]
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


@pytest.mark.parametrize(
    "field", ["after", "before", "top_k", "min_similarity", "cameras", "boxes"]
)
def test_a_form_is_answered_or_refused_in_a_sentence(client, image_of, field):
    values = [
        "nan",
        "inf",
        "1e400",
        HUGE,
        "-1",
        "\x00",
        "1,2,3,4e400",
        "0,0,1e5,1e5",
        "é" * 300,
        "",
    ]
    for value in values:
        response = client.post(
            "/api/search/pictures", files={"pictures": image_of("anna")}, data={field: value}
        )
        assert response.status_code in (200, 400, 404, 422), (field, value)
        if response.status_code != 200:
            assert response.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        *(f"limit={value}" for value in ("0", "-1", HUGE, "1e2", "%00", "true")),
        *(f"after={value}" for value in ("-1", str(2**53), str(2**64), HUGE)),
        *(f"from={value}" for value in ("nan", "inf", "1e400", HUGE, "%00", "%ff", "")),
        *(f"camera={value}" for value in ("%00", "%ff%fe", "x" * 201, "%5B/red%5D", "")),
        "&".join(f"camera=gate{n}" for n in range(101)),
    ],
)
def test_a_list_is_answered_or_refused_in_a_sentence(client, query):
    response = client.get(f"/api/tracklets?{query}")
    assert response.status_code in (200, 404, 422), query[:80]
    if response.status_code != 200:
        assert response.json()["detail"]


@pytest.mark.parametrize("body", ["[" * 100_000, '{"tracklets": ' * 1000, "\xff", "nul", ""])
def test_what_is_no_request_is_refused(client, body):
    for path in ("/api/search/tracklets", "/api/search/frame", "/api/deletions", "/api/session"):
        headers = {"Content-Type": "application/json"}
        response = client.post(path, content=body.encode("latin-1"), headers=headers)
        assert response.status_code in (400, 422), path
        assert response.json()["detail"]


@pytest.mark.parametrize(
    "path",
    [
        f"/api/tracklets/{'0' * 16}-{HUGE}",
        f"/api/tracklets/{'0' * 16}-{10**8}",
        f"/api/videos/{'0' * 16}/frames/{2**31 - 1}",
        f"/api/videos/{'0' * 16}/frames/{HUGE}",
        f"/api/tracklets/{'0' * 16}-1/crops/{HUGE}",
    ],
)
def test_what_is_not_there_is_not_found_or_refused(client, path):
    assert client.get(path).status_code in (404, 422)


@pytest.mark.parametrize("camera", ["0", "-1", str(2**53), HUGE, "1.5", "x"])
def test_no_camera_is_deleted_by_a_number_that_is_none(client, camera):
    assert client.delete(f"/api/cameras/{camera}").status_code == 422
    assert client.get("/api/gallery").json()["cameras"] == 2
