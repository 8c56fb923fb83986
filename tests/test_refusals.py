"""A refused option is answered at once: nothing heavy is imported before cheap checks."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from reid_dhm.gallery.store.gallery import GalleryStore

HEAVY = ("faiss", "fastapi", "matplotlib", "onnxruntime", "openvino", "supervision", "torch")
SECONDS = 0.5  # of CPU, on a machine that has a core to spare
REFUSED = [
    "train gone",
    "train demo train.epoch=1",
    "train demo train.epochs=0",
    "eval",
    "eval --embeddings gone.npz",
    "eval --checkpoint gone --dataset market1501",
    "compare a.npz b.npz",
    "embed --checkpoint gone --images . --output x.npz",
    "export --checkpoint gone --format onnx --output x.onnx",
    "export --checkpoint gone --format onnx --output x.pt",
    "index-video gone.mp4 --gallery new --camera gate",
    "index-video image.jpg --gallery new --camera gate --start yesterday",
    "index-video image.jpg --gallery new --camera gate --detector what",
    "search --gallery gone --query image.jpg",
    "search --gallery site --query image.jpg --camera nowhere",
    "search --gallery site --query gone.jpg",
    "search --gallery site",
    "gallery list tracklets --gallery gone",
    "gallery list tracklets --gallery site --camera nowhere",
    "gallery delete --gallery site --camera nowhere --yes",
    "gallery delete --gallery site --yes",
    "serve --gallery gone",
    "serve --gallery site --host 0.0.0.0",
    "models pull gone",
    "demo --config gone",
    "demo --config market1501_resnet50_dhm",
    "benchmark rank --gallery -3",
]
REPORT = (
    "import atexit, resource, sys\n"
    "def report():\n"
    "    used = resource.getrusage(resource.RUSAGE_SELF)\n"
    f"    loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
    "    print(used.ru_utime + used.ru_stime, ','.join(loaded), file=sys.stderr)\n"
    "atexit.register(report)\n"
    "from reid_dhm.cli import main\n"
    "main(sys.argv[1:])\n"
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("refusals")
    GalleryStore(folder / "site", create=True).close()
    (folder / "image.jpg").write_bytes(b"an image")
    return folder


@pytest.mark.skipif(sys.platform == "win32", reason="measures CPU with getrusage")
@pytest.mark.parametrize("command", REFUSED)
def test_a_refused_option_loads_nothing_heavy_and_takes_half_a_second(command, place) -> None:
    environment = {**os.environ, "REID_DHM_TOKEN": ""}
    # Processes that share a core slow each other down, in CPU time as well.
    crowded = os.getloadavg()[0] > (os.cpu_count() or 1)
    limit = 2 * SECONDS if crowded else SECONDS
    for _ in range(5):
        done = subprocess.run(
            [sys.executable, "-c", REPORT, *command.split()],
            cwd=place, capture_output=True, text=True, check=False, env=environment,
        )  # fmt: skip
        assert done.returncode in (1, 2), done.stderr
        seconds, _, loaded = done.stderr.splitlines()[-1].partition(" ")
        assert not loaded
        if float(seconds) <= limit:
            return
    pytest.fail(f"{command}: {seconds} s of CPU")
