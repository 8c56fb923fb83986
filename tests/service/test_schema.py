"""Whatever fits the description, and what nearly does, is answered as described."""

import random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

schemathesis = pytest.importorskip("schemathesis", reason="needs schemathesis (extra dev)")

from schemathesis import GenerationMode  # noqa: E402
from schemathesis.checks import not_a_server_error  # noqa: E402
from schemathesis.specs.openapi.checks import (  # noqa: E402
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

CHECKS = [
    not_a_server_error,
    content_type_conformance,
    negative_data_rejection,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
EXAMPLES = 8  # of each operation and each mode


def use_known(case, site, image) -> None:
    """Let a request be about what is there, where it names anything by an id that fits."""
    tracklet = site.ids["gate", "bert"]
    known = {"tracklet": tracklet, "video": tracklet.split("-")[0], "camera": 1, "frame": 20}
    known |= {
        "person": 1,
        "people": [1, 2],
        "rank": 1,
        "case": 1,
        "tracklets": [tracklet],
        "confirmed": [tracklet],
        "rejected": [],
    }
    known |= {"cameras": ["gate"], "videos": [], "box": [80, 120, 112, 200], "boxes": [""]}
    known |= {"pictures": [image]}
    for part in (case.path_parameters, case.query, case.body):
        if isinstance(part, dict):
            part.update({name: known[name] for name in part.keys() & known.keys()})


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_every_answer_is_as_described(serve, site, image_of, mode):
    schema = schemathesis.openapi.from_url(f"{serve()}/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    # What deletes comes last, so that the others have something to find.
    operations.sort(key=lambda one: one.method == "delete" or "deletion" in one.path)
    assert len(operations) >= 19
    for operation in operations:
        if mode is GenerationMode.NEGATIVE and not (
            operation.body or [*operation.iter_parameters()]
        ):
            continue  # there is nothing to get wrong

        @settings(
            max_examples=EXAMPLES,
            deadline=None,
            derandomize=True,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode), known=st.booleans())
        def ask(case, known):
            if known and mode is GenerationMode.POSITIVE:
                use_known(case, site, image_of("bert"))
            case.call_and_validate(checks=CHECKS)

        random.seed(0)
        ask()


def test_what_is_optional_is_left_out_and_not_null(client):
    described = client.get("/openapi.json").json()
    for path, calls in described["paths"].items():
        for call in calls.values():
            for parameter in call.get("parameters", []):
                assert "null" not in str(parameter["schema"]), (path, parameter)
    form = described["components"]["schemas"]["Body_by_images"]["properties"]
    assert {"pictures", "boxes", "after", "before", "min_similarity"} < set(form)
    assert "null" not in str(form)


def test_a_deletion_without_a_condition_is_described_as_invalid(client):
    schema = client.get("/openapi.json").json()["components"]["schemas"]["DeletionRequest"]
    required = {name for choice in schema["anyOf"] for name in choice["required"]}
    assert required == {"tracklets", "cameras", "videos", "after", "before"}
    for condition in ({"after": 1e6}, {"cameras": ["gate"]}):
        request = {**condition, "dry_run": True}
        assert client.post("/api/deletions", json=request).status_code == 200
    assert client.post("/api/deletions", json={"dry_run": True}).status_code == 422
