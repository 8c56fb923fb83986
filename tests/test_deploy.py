"""The files of deploy/ are valid, agree within, and start commands that exist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import pytest
import typer
import yaml

from reid_dhm.cli import app

compose_spec = pytest.importorskip("compose_spec", reason="compose-spec is not installed")
kubernetes_validate = pytest.importorskip(
    "kubernetes_validate", reason="kubernetes-validate is not installed"
)

DEPLOY = Path(__file__).parents[1] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
MANIFESTS = list(yaml.safe_load_all((DEPLOY / "kubernetes.yaml").read_text()))


def assert_command(arguments: list[str]) -> None:
    """Parse the arguments of reid-dhm as the program does, without running anything."""
    command, words = typer.main.get_command(app), list(arguments)
    while isinstance(command, click.Group):
        command = command.commands[words.pop(0)]
    command.make_context("reid-dhm", words)


def pods() -> dict[str, dict[str, Any]]:
    """Pod templates by the name of what makes them."""
    found = {}
    for manifest in MANIFESTS:
        spec = manifest.get("spec", {})
        spec = spec.get("jobTemplate", {}).get("spec", spec)
        if "template" in spec:
            found[manifest["metadata"]["name"]] = spec["template"]
    return found


def test_the_compose_file_is_valid_and_agrees_within() -> None:
    text = yaml.safe_dump(COMPOSE)  # anchors and merges resolved
    compose_spec.PyCompose(text)
    services, named = COMPOSE["services"], set(COMPOSE["volumes"])
    for service in services.values():
        assert set(service.get("depends_on", ())) <= set(services)
        assert set(service.get("secrets", ())) <= set(COMPOSE["secrets"])
        for volume in service.get("volumes", ()):
            assert volume.startswith("${") or volume.split(":")[0] in named
    assert services["serve"]["deploy"]["replicas"] >= 2
    assert_command(services["serve"]["command"])


@pytest.mark.parametrize("manifest", MANIFESTS, ids=lambda each: each["metadata"]["name"])
def test_a_manifest_is_valid(manifest) -> None:
    kubernetes_validate.validate(manifest, "1.33", strict=True)


def test_the_manifests_agree_within() -> None:
    names = {(m["kind"], m["metadata"]["name"]) for m in MANIFESTS}
    labels = [pod["metadata"]["labels"] for pod in pods().values() if "metadata" in pod]
    for manifest in MANIFESTS:
        spec = manifest.get("spec", {})
        if manifest["kind"] == "Service":
            assert spec["selector"] in labels
        elif "selector" in spec:
            assert spec["selector"]["matchLabels"] == spec["template"]["metadata"]["labels"]
    for pod in pods().values():
        volumes = {volume["name"]: volume for volume in pod["spec"].get("volumes", ())}
        for volume in volumes.values():
            if claim := volume.get("persistentVolumeClaim"):
                assert ("PersistentVolumeClaim", claim["claimName"]) in names
        for container in pod["spec"]["containers"]:
            mounted = {mount["name"] for mount in container.get("volumeMounts", ())}
            assert mounted <= {*volumes, "scratch"}
            for source in container.get("envFrom", ()):
                assert ("Secret", source["secretRef"]["name"]) in names
            if container["image"] == "reid-dhm-cluster" and "args" in container:
                assert_command(container["args"])
