"""The wheel in a fresh environment, outside any clone: every command as the README gives it.

Installs several gigabytes: ``make wheel-check``.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.synthetic import write_synthetic
from reid_dhm.synthetic.clips import write_clips

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]
ROOT = Path(__file__).parents[1]
TINY = ("train.epochs=1", "train.num_identities=8", "train.num_instances=2", "model.weights=null")


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """An empty folder for the commands, beside an environment with the wheel and ``service``."""
    place = tmp_path_factory.mktemp("wheel")
    python = place / "venv" / "bin" / "python"
    build = [sys.executable, "-m", "build", "--outdir", str(place / "dist"), str(ROOT)]
    subprocess.run(build, check=True, env=_environment())  # an sdist, and the wheel from it
    subprocess.run([sys.executable, "-m", "venv", str(place / "venv")], check=True)
    (wheel,) = (place / "dist").glob("*.whl")
    install = [python, "-m", "pip", "install", "-q", f"{wheel}[service]"]
    subprocess.run(install, check=True, env=_environment())
    (place / "work").mkdir()
    yield place / "work"
    shutil.rmtree(place)


def _environment() -> dict[str, str]:
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "VIRTUAL_ENV")}


def reid(place: Path, *arguments: str) -> str:
    command = [place.parent / "venv" / "bin" / "reid-dhm", *arguments]
    done = subprocess.run(
        command, cwd=place, env=_environment(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr[-2000:]}"
    return done.stdout


def test_it_is_the_installed_package_with_its_data(place) -> None:
    code = (
        "import reid_dhm, pathlib; p = pathlib.Path(reid_dhm.__file__).parent; "
        "print(p, (p / 'py.typed').is_file(), len(list((p / 'configs').glob('*.yaml'))))"
    )
    python = place.parent / "venv" / "bin" / "python"
    out = subprocess.run(
        [python, "-c", code], cwd=place, env=_environment(), capture_output=True, text=True,
        check=True,
    ).stdout.split()  # fmt: skip
    assert out[0].startswith(str(place.parent / "venv"))
    assert out[1:] == ["True", str(len(list((ROOT / "configs").glob("*.yaml"))))]
    module = [python, "-m", "reid_dhm", "--version"]
    assert subprocess.run(module, cwd=place, env=_environment(), check=True).returncode == 0


def test_the_demo_runs(place) -> None:
    out = reid(place, "demo", "--json", "demo.json")
    assert json.loads((place / "demo.json").read_text())["footage"]["right"], out


def test_video_is_indexed_searched_and_served(place) -> None:
    here, _ = write_clips(place / "clips", num_people=2, pause=2)
    row = len(here.frames) // 2
    video = cv2.VideoCapture(str(here.path))
    for _ in range(int(here.frames[row]) + 1):
        frame = np.asarray(video.read()[1])
    x1, y1, x2, y2 = here.boxes[row].astype(int).clip(0)
    cv2.imwrite(str(place / "person.jpg"), frame[y1:y2, x1:x2])
    gallery = ("--gallery", "galleries/site")
    reid(place, "index-video", str(here.path), *gallery, "--camera", "gate")
    reid(place, "search", *gallery, "--query", "person.jpg", "--report", "found",
         "--json", "found.json")  # fmt: skip
    assert json.loads((place / "found.json").read_text())
    assert (place / "found" / "index.html").is_file()
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [place.parent / "venv" / "bin" / "reid-dhm", "serve", *gallery, "--port", str(port)],
        cwd=place, env=_environment(),
    )  # fmt: skip
    try:
        assert _answer(f"http://127.0.0.1:{port}/health")
        assert b"<html" in _answer(f"http://127.0.0.1:{port}/")
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def _answer(url: str) -> bytes:
    until = time.monotonic() + 120
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as response:
                return response.read()
        except OSError:
            if time.monotonic() > until:
                raise
            time.sleep(0.5)


def test_a_shipped_configuration_trains_evaluates_embeds_and_exports(place) -> None:
    root = place / "people"
    write_synthetic(root, num_train=16, num_test=4, num_cameras=2, pictures_per_camera=2,
                    num_distractors=0, num_junk=0)  # fmt: skip
    data = ("data.name=synthetic", f"data.root={root}", "model.size=[64,32]", "output=runs/tiny")
    reid(place, "train", "market1501_mobilenetv2_cpu", *data, *TINY, "train.warmup_epochs=0",
         "train.evaluate_every=1")  # fmt: skip
    run = ("--checkpoint", "runs/tiny")
    out = reid(place, "eval", *run, "--dataset", "synthetic", "--data-root", str(root),
               "--report", "report")  # fmt: skip
    assert "mAP" in out
    assert (place / "report" / "index.html").is_file()
    reid(place, "embed", *run, "--images", str(root / "query"), "--output", "query.npz")
    with np.load(place / "query.npz") as file:
        assert len(file["embeddings"]) == len(file["paths"]) > 0
    reid(place, "export", *run, "--format", "onnx", "--output", "model.onnx")
    assert (place / "model.onnx").is_file()
