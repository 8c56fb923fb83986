"""Two nodes of a Ray cluster index what one machine indexes, also when workers are killed."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.cluster.indexing import ClusterOptions, index_source, index_sources
from reid_dhm.cluster.manifest import ListedSource, list_sources
from reid_dhm.gallery.ingest.index_video import index_video
from reid_dhm.gallery.opening import open_gallery
from reid_dhm.gallery.store.gallery import GalleryStore
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.embedder import Embedder

pytestmark = [
    pytest.mark.cluster,
    pytest.mark.timeout(280),
    # Not imported here: Ray starts its nodes by forking, before Lance has threads.
    pytest.mark.skipif(
        find_spec("lance") is None or find_spec("ray") is None,
        reason="Lance or Ray is not installed: pip install reid-dhm[cluster]",
    ),
]

_FRAMES = 60


def write_clip(path: Path, seed: int) -> None:
    """A film of two rectangles that cross a textured view at speeds of their own."""
    rng = np.random.default_rng(seed)
    ground = rng.integers(80, 110, (120, 160, 3), np.uint8)
    colours, speeds = rng.integers(0, 255, (2, 3)), rng.uniform(1.5, 2.5, 2)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 10, (160, 120))
    for number in range(_FRAMES):
        image = ground.copy()
        for row, (colour, speed) in enumerate(zip(colours, speeds, strict=True)):
            x = int(speed * number) + 4
            image[8 + 58 * row : 58 + 58 * row, x : x + 18] = colour
        writer.write(image)
    writer.release()


@pytest.fixture(scope="module")
def sources(tmp_path_factory) -> list[ListedSource]:
    """Four clips of two cameras, as a manifest lists them."""
    folder = tmp_path_factory.mktemp("clips")
    lines = ["source,camera,start"]
    for number in range(4):
        write_clip(folder / f"{number}.avi", number)
        lines.append(f"{number}.avi,camera {number % 2},2026-03-01T0{number}:00:00Z")
    (folder / "manifest.csv").write_text("\n".join(lines))
    return list_sources([str(folder / "manifest.csv")])


@pytest.fixture(scope="module")
def alone(sources, tmp_path_factory) -> dict:
    """What one machine finds when it indexes the clips in turn."""
    embedder = Embedder(DEFAULT_CHECKPOINT, precision="float32")
    with GalleryStore(tmp_path_factory.mktemp("alone") / "gallery", create=True) as gallery:
        for each in sources:
            index_video(gallery, each.source, each.camera, embedder, "default", start=each.start)
        found = content(gallery)
    assert len(found) >= len(sources)
    return found


def content(gallery) -> dict:
    """By id: description, boxes, embedding."""
    page = gallery.embeddings()
    means = dict(zip(page.keys.tolist(), page.embeddings.astype(np.float32), strict=True))
    return {
        str(t.id): (t.to_dict(), gallery.boxes(t.key).tobytes(), means[t.key])
        for t in gallery.tracklets()
    }


def assert_same(found: dict, expected: dict) -> None:
    assert found.keys() == expected.keys()
    for id, (facts, boxes, mean) in expected.items():
        assert found[id][0] == facts
        assert found[id][1] == boxes
        np.testing.assert_allclose(found[id][2], mean, atol=1e-3)


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a cluster of two nodes with a CPU each."""
    from ray.cluster_utils import Cluster

    os.environ.setdefault("RAY_worker_niceness", "0")
    nodes = Cluster(
        initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False}
    )
    nodes.add_node(num_cpus=1)
    yield nodes.address
    nodes.shutdown()


def test_two_nodes_find_what_one_machine_finds_and_survive_kills(
    cluster, sources, alone, tmp_path
) -> None:
    how = ClusterOptions(Path(f"lance:{tmp_path}/gallery"))
    ended, kills = threading.Event(), []

    def kill() -> None:
        """Kill the workers of the cluster that are indexing, three times."""
        while len(kills) < 3 and not ended.wait(2.0):
            for status in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    if b"ray::index-video" in status.read_bytes():
                        os.kill(int(status.parent.name), signal.SIGKILL)
                        kills.append(time.monotonic())
                except (OSError, ProcessLookupError):
                    continue

    killer = threading.Thread(target=kill)
    killer.start()
    done: list[tuple[int, int]] = []
    results = index_sources(sources, how, cluster, report=lambda *of: done.append(of))
    ended.set()
    killer.join()
    assert kills
    assert [result.failure for result in results] == [None] * 4
    assert done[-1] == (4, 4)
    with open_gallery(how.gallery) as gallery:
        assert_same(content(gallery), alone)
        assert all(video.complete for video in gallery.videos())
    # The same again changes nothing, here or on the cluster.
    assert index_source(sources[0], how).known
