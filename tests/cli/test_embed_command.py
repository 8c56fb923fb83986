import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from reid_dhm.inference.embedder import Embedder


@pytest.fixture
def crops(tmp_path) -> Path:
    folder = tmp_path / "crops"
    random = np.random.default_rng(0)
    for name in ("b/2.png", "a-b/3.jpg", "a/9.png", "z.png", ".hidden/no.png", "a/.no.png"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        size = (*random.integers(20, 90, 2), 3)
        cv2.imwrite(str(folder / name), random.integers(0, 256, size, np.uint8))
    (folder / "a" / "notes.txt").write_text("no image")
    return folder


def read_embeddings(path: Path) -> tuple[np.ndarray, list[str]]:
    with np.load(path, allow_pickle=False) as archive:
        return archive["embeddings"], archive["paths"].tolist()


PLAIN = ("--engine", "torch", "--precision", "float32")
ORDER = ["a-b/3.jpg", "a/9.png", "b/2.png", "z.png"]


def test_a_folder_is_embedded_in_sorted_path_order(run, crops, trained_run, tmp_path):
    output = tmp_path / "new" / "crops.npz"
    done = run("embed", "--checkpoint", trained_run, "--images", crops, "--output", output)
    assert done.code == 0
    assert done.err.startswith("warning: ")
    assert "1 entries left out, as they are not images: 1 .txt (first: a/notes.txt)" in done.err
    assert done.err.count("\n") == 1
    assert "4 images" in done.out
    embeddings, paths = read_embeddings(output)
    assert paths == [str(crops / name) for name in ORDER]
    np.testing.assert_allclose(embeddings, Embedder(trained_run)(paths), rtol=0, atol=1e-5)


def test_flip_and_figures(run, crops, trained_run, tmp_path):
    output, figures = tmp_path / "crops.npz", tmp_path / "crops.json"
    options = ("--checkpoint", trained_run, "--images", crops, "--output", output)
    assert run("embed", *options, "--flip", *PLAIN, "--json", figures).code == 0
    embedder = Embedder(trained_run, "torch", flip=True, precision="float32")
    embeddings, paths = read_embeddings(output)
    np.testing.assert_allclose(embeddings, embedder(paths), rtol=0, atol=1e-5)
    found = json.loads(figures.read_text())
    assert found.pop("seconds") > 0
    assert found == {
        "num_pictures": 4,
        "dim": 512,
        "skipped": [],
        "fingerprint": embedder.fingerprint,
        "engine": "torch",
        "precision": "float32",
        "device": embedder.device,
    }


def test_corrupt_image_stops_and_leaves_no_file(run, crops, trained_run, tmp_path):
    (crops / "a" / "bad.jpg").write_bytes(b"no image")
    output = tmp_path / "crops.npz"
    outcome = run("embed", "--checkpoint", trained_run, "--images", crops, "--output", output)
    assert outcome.code == 1
    assert outcome.err.splitlines()[-1].startswith("error: ")
    assert "bad.jpg" in outcome.err
    assert "--on-error skip leaves it out and continues" in outcome.err
    assert not output.exists()


def test_corrupt_images_can_be_skipped_by_name(run, crops, trained_run, tmp_path):
    (crops / "a" / "bad.jpg").write_bytes(b"no image")
    (crops / "worse.png").touch()
    output, figures = tmp_path / "crops.npz", tmp_path / "crops.json"
    outcome = run(
        *("embed", "--checkpoint", trained_run, "--images", crops, "--output", output),
        *("--on-error", "skip", "--json", figures),
    )
    assert outcome.code == 0
    assert "4 images, 2 skipped" in outcome.out
    skipped = json.loads(figures.read_text())["skipped"]
    assert [entry["path"] for entry in skipped] == [
        str(crops / "a" / "bad.jpg"),
        str(crops / "worse.png"),
    ]
    for entry in skipped:
        assert f"skipped: {entry['reason']}" in outcome.err
    embeddings, paths = read_embeddings(output)
    assert paths == [str(crops / name) for name in ORDER]
    np.testing.assert_allclose(embeddings, Embedder(trained_run)(paths), rtol=0, atol=1e-5)


def test_folder_without_a_readable_image_is_refused(run, trained_run, tmp_path):
    (tmp_path / "crops").mkdir()
    options = ("--checkpoint", trained_run, "--output", tmp_path / "x.npz", "--on-error", "skip")
    outcome = run("embed", *options, "--images", tmp_path / "crops")
    assert (outcome.code, "contains no images" in outcome.err) == (1, True)
    (tmp_path / "crops" / "bad.jpg").touch()
    outcome = run("embed", *options, "--images", tmp_path / "crops")
    assert (outcome.code, "none of the 1 images" in outcome.err) == (1, True)
    outcome = run("embed", *options, "--images", tmp_path / "gone")
    assert (outcome.code, "gone is not a folder" in outcome.err) == (1, True)


def test_engine_that_is_not_there_is_wrong_usage(run, crops, trained_run, tmp_path):
    options = ("--checkpoint", trained_run, "--images", crops, "--output", tmp_path / "x.npz")
    outcome = run("embed", *options, "--engine", "tensorflow")
    assert outcome.code == 2
    assert "tensorflow" in outcome.err
