"""The documentation: its examples run, and the files and links it names exist.

A block that cannot run here has a comment ``<!-- not run: reason -->`` before it.
"""

from __future__ import annotations

import re
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import pytest

import reid_dhm as reid
from reid_dhm.cli import main
from reid_dhm.retrieval.embeddings import EmbeddingSet
from reid_dhm.retrieval.npz import write_evaluation_npz
from reid_dhm.synthetic import write_synthetic
from reid_dhm.synthetic.clips import write_clips

ROOT = Path(__file__).parents[1]
PAGES = [
    ROOT / "README.md",
    *(p for p in sorted((ROOT / "docs").rglob("*.md")) if p.name != "changelog.md"),
    ROOT / "CONTRIBUTING.md",
]
BLOCK = re.compile(r"(<!-- not run: [^>]+ -->\s*)?^```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
RUN = {"sh", "python"}


@dataclass(frozen=True)
class Block:
    """A fenced block of a page."""

    skipped: bool
    language: str
    text: str


def blocks(page: Path) -> list[Block]:
    return [Block(bool(mark), name, text) for mark, name, text in BLOCK.findall(page.read_text())]


# The examples of the architecture have a test of their own.
EXECUTED = [
    page
    for page in PAGES
    if page.name != "architecture.md"
    and any(block.language in RUN and not block.skipped for block in blocks(page))
]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with what the examples name: a small dataset, a run, two videos, images."""
    folder = tmp_path_factory.mktemp("docs")
    write_synthetic(
        folder / "datasets" / "synthetic", num_train=16, num_test=4, num_cameras=2,
        pictures_per_camera=2, num_distractors=0, num_junk=0,
    )  # fmt: skip
    (folder / "my_config.yaml").write_text("base: demo.yaml\ntrain: {epochs: 1}\n")
    shutil.copy(ROOT / "configs" / "demo.yaml", folder)
    run = reid.train(folder / "my_config.yaml", data_root=folder / "datasets" / "synthetic",
                     output=folder / "runs" / "demo")  # fmt: skip
    assert run.folder.is_dir()
    for name, clip in zip(
        ("gate", "yard"), write_clips(folder / "clips", num_people=2, pause=2), strict=True
    ):
        _to_mp4(clip.path, folder / f"{name}.mp4")
        shutil.copy(clip.truth, folder / f"{name}.txt")
    (folder / "images").mkdir()
    video = cv2.VideoCapture(str(folder / "gate.mp4"))
    first = clip_of(folder)
    for number in range(first + 1):
        frame = video.read()[1]
        assert frame is not None, number
    cv2.imwrite(str(folder / "frame.jpg"), frame)
    for name in ("a.jpg", "b.jpg", "person.jpg", "query.jpg", "images/1.jpg", "images/2.jpg"):
        cv2.imwrite(str(folder / name), frame[20:220, 100:200])
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(8, 16)).astype(np.float32)
    pids = np.arange(1, 9)
    write_evaluation_npz(
        folder / "market.npz",
        EmbeddingSet(rows, pids, np.full(8, 1)),
        EmbeddingSet(rows + 0.1, pids, np.full(8, 2)),
    )
    return folder


def clip_of(folder: Path) -> int:
    """A frame with somebody in it."""
    lines = (folder / "gate.txt").read_text().splitlines()
    return int(lines[len(lines) // 2].split(",")[0]) - 1


def _to_mp4(source: Path, target: Path) -> None:
    video, writer = cv2.VideoCapture(str(source)), None
    while (frame := video.read()[1]) is not None:
        if writer is None:
            size = frame.shape[1], frame.shape[0]
            writer = cv2.VideoWriter(str(target), cv2.VideoWriter_fourcc(*"mp4v"), 10, size)
        writer.write(frame)
    assert writer is not None
    writer.release()


@pytest.fixture
def here(prepared, tmp_path, monkeypatch) -> Path:
    """A copy of the prepared folder as the working directory."""
    folder = tmp_path / "work"
    shutil.copytree(prepared, folder)
    monkeypatch.chdir(folder)
    return folder


@pytest.mark.parametrize("page", EXECUTED, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_example_runs(page: Path, here: Path) -> None:
    if page.stem == "gallery":
        run(
            [
                "reid-dhm",
                "index-video",
                "gate.mp4",
                "--gallery",
                "galleries/site",
                "--camera",
                "gate",
            ]
        )
    pixels = cv2.imread("frame.jpg")
    names = {"pil_image": _pillow("b.jpg"), "frame": pixels, **_arrays()}
    for block in blocks(page):
        if block.skipped or block.language not in RUN:
            continue
        if block.language == "python":
            exec(compile(block.text, str(page), "exec"), names)
            if isinstance(names.get("gallery"), reid.Gallery):
                names.pop("gallery").close()
        elif block.language == "sh":
            for command in commands(block.text):
                run(command)


def _pillow(path: str) -> object:
    from PIL import Image

    return Image.open(path)


def _arrays() -> dict[str, np.ndarray]:
    rows = np.eye(4, dtype=np.float32)
    return {
        "query": rows, "query_pids": np.arange(4), "query_camids": np.full(4, 1),
        "gallery": rows, "gallery_pids": np.arange(4), "gallery_camids": np.full(4, 2),
    }  # fmt: skip


def commands(text: str) -> list[list[str]]:
    lines = text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run(command: list[str]) -> None:
    assert command[0] == "reid-dhm", f"{command} is not a command that the tests can run"
    with pytest.raises(SystemExit) as ended:
        main(command[1:])
    assert ended.value.code == 0, " ".join(command)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_file_and_page_it_names_exists(page: Path) -> None:
    text = page.read_text()
    rooms = ("reid_dhm/**/*.py", "tests/**/*.py")
    known = {str(path.relative_to(ROOT)) for room in rooms for path in ROOT.glob(room)}
    for name in re.findall(r"`([\w/]+\.py)`", text):
        assert any(path == name or path.endswith(f"/{name}") for path in known), name
    for folder in re.findall(r"`(reid_dhm/[\w/]+/)`", text):
        assert (ROOT / folder).is_dir(), folder
    for link in re.findall(r"\]\(([^)#:\s]+)(?:#[^)]*)?\)", text):
        assert (page.parent / link).exists(), link


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_has_a_language_that_runs_or_is_no_command(page: Path) -> None:
    for block in blocks(page):
        if block.language == "" and not block.skipped:
            assert not re.search("reid-dhm |^python ", block.text, re.MULTILINE), block.text
