"""What a list of sources may hold, and how its faults are told."""

from __future__ import annotations

import sys
from datetime import datetime, timezone
from pathlib import Path
from types import SimpleNamespace

import pytest

from reid_dhm.cluster.manifest import ListedSource, list_sources
from reid_dhm.errors import InputError, NotFoundError


@pytest.fixture
def folder(tmp_path) -> Path:
    for name in ("b.mp4", "deep/a.AVI", "notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    return tmp_path


def manifest(folder: Path, *lines: str) -> list[str]:
    (folder / "list.csv").write_text("\n".join(("source,camera,start", *lines)))
    return [str(folder / "list.csv")]


def test_a_manifest_gives_camera_and_start(folder) -> None:
    given = manifest(folder, "b.mp4,gate,2026-03-01T08:00:00Z", "https://host/c.mp4,yard,")
    start = datetime(2026, 3, 1, 8, tzinfo=timezone.utc)
    assert list_sources(given) == [
        ListedSource(str(folder / "b.mp4"), "gate", start),
        ListedSource("https://host/c.mp4", "yard"),
    ]


def test_a_folder_means_its_videos_at_any_depth(folder) -> None:
    found = list_sources([str(folder)], "gate")
    assert [Path(each.source).name for each in found] == ["b.mp4", "a.AVI"]
    assert {each.camera for each in found} == {"gate"}


@pytest.mark.parametrize(
    ("lines", "kind", "message"),
    [
        (
            ["b.mp4,gate,", "./b.mp4,yard,"],
            InputError,
            r"list.csv, line 3: .*b.mp4 is listed twice",
        ),
        (["c.mp4,gate,"], NotFoundError, r"list.csv, line 2: .*c.mp4 does not exist"),
        (["b.mp4,,"], InputError, "line 2: camera name ''"),
        (["b.mp4,gate,", "deep/a.AVI,gate,noon"], InputError, "line 3: 'noon' is not an ISO 8601"),
        ([",gate,"], InputError, "line 2: no source"),
        ([], InputError, "is not a manifest"),
    ],
)
def test_a_fault_of_a_manifest_is_told_with_its_line(folder, lines, kind, message) -> None:
    with pytest.raises(kind, match=message):
        list_sources(manifest(folder, *lines))


def test_what_cannot_be_meant_is_refused(folder) -> None:
    with pytest.raises(InputError, match="no camera"):
        list_sources([str(folder / "b.mp4")])
    with pytest.raises(InputError, match="of one video and 2"):
        list_sources([str(folder)], "gate", datetime.now(timezone.utc))
    (folder / "empty").mkdir()
    with pytest.raises(NotFoundError, match="holds no videos"):
        list_sources([str(folder / "empty")], "gate")


def test_a_source_is_shown_without_credentials_and_signature(folder) -> None:
    address = "https://ann:secret@host/c.mp4?X-Amz-Signature=secret"
    with pytest.raises(InputError, match=r"https://host/c\.mp4 is listed twice") as caught:
        list_sources([address, address], "gate")
    assert "secret" not in str(caught.value)
    with pytest.raises(InputError) as caught:
        list_sources([address])
    assert "secret" not in str(caught.value)
    assert ListedSource("a@b?c.mp4", "gate").name == "a@b?c.mp4"


def test_a_local_cluster_is_a_new_one(monkeypatch) -> None:
    from reid_dhm.cluster.connection import cluster

    asked = []
    ray = SimpleNamespace(init=lambda address, **_: asked.append(address), shutdown=lambda: None)
    monkeypatch.setitem(sys.modules, "ray", ray)
    with cluster("local"):
        assert asked == ["local"]


def test_fragments_of_other_models_and_options_are_apart(tmp_path, monkeypatch) -> None:
    from reid_dhm.cluster import indexing

    monkeypatch.setattr(indexing.tempfile, "gettempdir", lambda: str(tmp_path))
    source, how = ListedSource("a.mp4", "gate"), indexing.ClusterOptions(Path("lance:x"))
    first = indexing._fragments(source, how)
    folders = {
        indexing._fragment(first, model, indexing.ClusterOptions(Path("lance:x"), detector))
        for model in ("a", "b")
        for detector in ("motion", "yolox_s")
    }
    assert len(folders) == 4
    for each in folders:
        each.mkdir()
    indexing._remove(first)
    assert not any(each.exists() for each in folders)
