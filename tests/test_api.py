"""The public interface: what a notebook needs, in the order in which people try it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import supervision as sv
import torch
from PIL import Image

import reid_dhm as reid
from reid_dhm.synthetic import write_synthetic
from reid_dhm.synthetic.clips import write_clips

TINY = """
method: dhm
data: {name: synthetic}
model:
  backbone: resnet18
  weights: null
  size: [64, 32]
  last_stride: 2
  branches: [{after: layer3, init: fresh}]
train: {epochs: 1, warmup_epochs: 0, num_identities: 4, num_instances: 2, evaluate_every: 1}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory) -> SimpleNamespace:
    """Footage of three people before two cameras, and images of the first two of them."""
    folder = tmp_path_factory.mktemp("site")
    here, there = write_clips(folder, num_people=3, pause=2.0)
    images = {}
    for name, clip, pid in (("a", here, 1), ("b", there, 1), ("c", here, 2)):
        rows = np.flatnonzero(clip.pids == pid)
        row = rows[len(rows) // 2]
        video = cv2.VideoCapture(str(clip.path))
        video.set(cv2.CAP_PROP_POS_FRAMES, int(clip.frames[row]))
        frame = video.read()[1]
        x1, y1, x2, y2 = clip.boxes[row].astype(int).clip(0)
        images[name] = folder / f"{name}.jpg"
        cv2.imwrite(str(images[name]), frame[y1:y2, x1:x2])
    return SimpleNamespace(folder=folder, here=here, there=there, **images)


@pytest.fixture(scope="module")
def gallery(site) -> Iterator[reid.Gallery]:
    with reid.Gallery(site.folder / "galleries" / "site") as gallery:
        for camera, clip in (("gate", site.here), ("yard", site.there)):
            gallery.index(clip.path, camera=camera, detector=f"mot:{clip.truth}")
        yield gallery


def test_importing_it_loads_no_heavy_library_and_takes_no_time() -> None:
    code = (
        "import sys, time; t = time.process_time(); import reid_dhm as reid; "
        "t = time.process_time() - t; "
        "print(t, [m for m in ('torch', 'cv2', 'numpy', 'faiss') if m in sys.modules]); "
        "assert t < 0.1"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split(" ", 1)[1].strip() == "[]"


def test_every_public_name_is_there_and_documented() -> None:
    for name in reid.__all__:
        assert name.startswith("__") or getattr(reid, name).__doc__, name
    assert set(reid.__all__) <= set(dir(reid))
    with pytest.raises(AttributeError, match="no attribute 'Gate'"):
        reid.Gate  # noqa: B018


def test_it_is_typed() -> None:
    assert (Path(reid.__file__).parent / "py.typed").is_file()


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "reid_dhm", "--version"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == f"reid-dhm {reid.__version__}"


def test_files_images_and_arrays_give_the_same_embedding(site) -> None:
    embedder = reid.Embedder()
    bgr = cv2.imread(str(site.a))
    pil = Image.open(site.a)
    vectors = embedder([str(site.a), pil])
    assert vectors.shape == (2, embedder.dim)
    assert vectors.dtype == np.float32
    for other in (embedder(site.a), embedder(bgr, channels="bgr"),
                  embedder([bgr[..., ::-1]], channels="rgb")):  # fmt: skip
        assert other.shape == (1, embedder.dim)
        assert other[0] @ vectors[0] > 0.999
    assert embedder([bgr], channels="rgb")[0] @ vectors[0] < 0.99
    assert embedder.similarity(site.a, pil) == pytest.approx(1, abs=1e-4)
    assert embedder.similarity(site.a, site.b) > embedder.similarity(site.a, site.c)


def test_arrays_say_their_color_order(site) -> None:
    embedder = reid.Embedder()
    image = cv2.imread(str(site.a))
    for call in (
        lambda: embedder([image]),
        lambda: embedder(image),
        lambda: list(embedder.stream([image])),
        lambda: embedder.similarity(image, image),
    ):
        with pytest.raises(reid.InputError, match="pass channels='rgb', or channels='bgr'"):
            call()
    with pytest.raises(reid.InputError, match="channels is 'RGB'"):
        embedder([image], channels="RGB")


def test_arrays_are_evaluated_in_one_call(site) -> None:
    gallery = np.eye(4, 6, dtype=np.float32)
    query = gallery[:2] + 0.1
    names = [str(site.a), str(site.b), str(site.c), str(site.a)]
    result = reid.evaluate(
        query, [1, 2], [1, 1], gallery, [1, 2, 3, -1], [2, 2, 2, 2],
        query_paths=names[:2], gallery_paths=names,
    )  # fmt: skip
    assert (result.mAP, result.mINP, result.cmc[1]) == (1.0, 1.0, 1.0)
    assert result.retrieval.num_gallery == 3  # the junk row is left out
    assert result.run.inputs.num_dropped == 1
    assert "100.00%" in result._repr_html_()
    figure = result.plot(0)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles[0] == "query"
    assert titles[1].startswith("1: ")
    assert len(figure.axes) == 4
    assert all(axes.images for axes in figure.axes)
    with pytest.raises(reid.InputError, match="query is 2: give a row from 0 to 1"):
        result.plot(2)


@pytest.mark.parametrize(
    ("argument", "value", "message"),
    [
        ("query", [[1.0, 0.0], [1.0]], "query cannot be read as an array"),
        ("gallery", torch.eye(2, requires_grad=True), r"gallery cannot .* tensor\.detach\(\)\.cpu"),
        ("query_pids", ["a", "b"], "query: pids are an array"),
        ("query_pids", [1, -1], "query_pids row 1 is -1"),
        ("gallery_pids", [-1, -1], "every gallery pid is negative .* give gallery_pids"),
        ("gallery_camids", [[1], [1, 2]], "gallery_camids cannot be read as an array"),
        ("top_k", "5", "top_k is '5': give a whole number"),
    ],
)
def test_arrays_that_cannot_be_evaluated_are_named(argument, value, message) -> None:
    rows = np.eye(2, dtype=np.float32)
    arguments = {
        "query": rows, "query_pids": [1, 2], "query_camids": [1, 1],
        "gallery": rows, "gallery_pids": [1, 2], "gallery_camids": [2, 2],
    }  # fmt: skip
    with pytest.raises(reid.InputError, match=message):
        reid.evaluate(**(arguments | {argument: value}))


def test_a_gallery_is_indexed_and_searched(site, gallery) -> None:
    assert {t.camera for t in gallery.tracklets()} == {"gate", "yard"}
    matches = gallery.search(str(site.a), cameras=["yard"], top_k=2)
    assert len(matches) == 2
    assert {match.tracklet.camera for match in matches} == {"yard"}
    assert matches[0].similarity >= matches[1].similarity
    found = matches[0].to_detections()
    assert isinstance(found, sv.Detections)
    assert len(found) == matches[0].tracklet.num_boxes
    assert found.data["frame"][0] == matches[0].tracklet.first_frame
    assert matches._repr_html_().count("data:image/jpeg;base64,") == 2
    assert "yard" in gallery._repr_html_()
    again = gallery.search(cv2.imread(str(site.a)), channels="bgr", cameras=["yard"], top_k=2)
    assert [match.tracklet.id for match in again] == [match.tracklet.id for match in matches]


@pytest.mark.parametrize(
    ("options", "message"),
    [({"device": "gpu"}, "device is 'gpu'"), ({"index": "Foo"}, "index 'Foo' is not a FAISS")],
)
def test_a_wrong_option_leaves_no_folder(tmp_path, options, message) -> None:
    with pytest.raises(reid.InputError, match=message):
        reid.Gallery(tmp_path / "g", **options)
    assert not (tmp_path / "g").exists()


def test_a_gallery_lies_below_the_home_folder(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    reid.Gallery("~/g").close()
    assert [path.name for path in tmp_path.iterdir()] == ["g"]


@pytest.mark.parametrize("kind", ["Flat", "IVF4096,SQfp16", "HNSW32_SQfp16", "OPQ64,IVF64,PQ64"])
def test_a_gallery_accepts_every_kind_of_index_that_fits_some_length(tmp_path, kind) -> None:
    reid.Gallery(tmp_path / "g", index=kind).close()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"box": (1, 2, 3)}, r"box \(1, 2, 3\): give x1,y1,x2,y2"),
        *(
            ({name: "gate"}, rf"{name} is a single value: give a list, {name}=\['gate'\]")
            for name in ("cameras", "videos", "confirmed", "rejected")
        ),
    ],
)
def test_a_wrong_argument_of_a_search_is_named(site, gallery, options, message) -> None:
    with pytest.raises(reid.InputError, match=message):
        gallery.search(site.a, **options)


def test_indexing_takes_what_the_command_line_takes(site, tmp_path) -> None:
    with reid.Gallery(tmp_path / "g") as gallery:
        with pytest.raises(reid.InputError, match="track_confidence is 2"):
            gallery.index(site.here.path, "gate", track_confidence=2.0)
        with pytest.raises(reid.InputError, match="patience is -1"):
            gallery.index(site.here.path, "gate", patience=-1.0)


def test_likely_matches_need_thresholds(site, gallery) -> None:
    with pytest.raises(reid.UnsupportedError, match="thresholds"):
        gallery.search(site.a).likely  # noqa: B018


def test_a_gallery_keeps_its_model(site, gallery, run) -> None:
    with reid.Gallery(gallery.store.folder, run) as other:
        with pytest.raises(reid.ModelMismatchError):
            other.search(site.a)
        with pytest.raises(reid.ModelMismatchError):
            other.index(site.here.path, camera="gate")


def test_a_gallery_moves_to_another_model_and_back(site, gallery, run, tmp_path) -> None:
    shutil.copytree(gallery.store.folder, tmp_path / "g")
    with reid.Gallery(tmp_path / "g") as moved:
        before = moved.search(site.a, top_k=2)
        seen: list[tuple[int, int]] = []
        count = moved.reembed(run.folder, on_progress=lambda *done: seen.append(done))
        assert count == len(moved.tracklets())
        assert seen[-1] == (count, count)
        assert len(moved.search(site.a, top_k=2)) == 2  # with the new model
        with reid.Gallery(tmp_path / "g") as old, pytest.raises(reid.ModelMismatchError):
            old.search(site.a)
        assert moved.reembed() == count
        assert [m.similarity for m in moved.search(site.a, top_k=2)] == pytest.approx(
            [m.similarity for m in before], abs=1e-3
        )


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> reid.TrainingRun:
    folder = tmp_path_factory.mktemp("train")
    config = folder / "tiny.yaml"
    config.write_text(TINY)
    root = folder / "some #people: here"
    write_synthetic(
        root, num_train=8, num_test=4, num_cameras=2, pictures_per_camera=2, num_distractors=0,
        num_junk=0,
    )  # fmt: skip
    return reid.train(config, data_root=root, output=folder / "run", seed=1)


def test_a_model_is_trained_embeds_and_is_exported(site, run, tmp_path) -> None:
    assert 0 < run.best["mAP"] <= 1
    assert "mAP" in run._repr_html_()
    exported = reid.export(run, tmp_path / "model.onnx", format="onnx")
    assert exported.path.is_file()
    assert exported.agreements[0].lowest >= 0.999
    assert "0.99" in exported._repr_html_() or "1.0" in exported._repr_html_()
    ours, theirs = reid.Embedder(run)(site.a), reid.Embedder(exported)(site.a)
    assert ours[0] @ theirs[0] > 0.999
    with pytest.raises(reid.InputError, match="unknown suffix"):
        reid.export(run, tmp_path / "model.tflite")
