"""What a list of sources may hold, and how its faults are told."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

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
        (["b.mp4,gate,", "./b.mp4,yard,"], InputError, "b.mp4 is listed twice"),
        (["c.mp4,gate,"], NotFoundError, "c.mp4 does not exist"),
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
