"""Every reader of files of the project, with sound samples of what it reads."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Reader:
    """One kind of file.

    Attributes:
        share: of all cases, relative to the others.
        samples: writes sound files into a folder.
        read: reads a file as a user of the package would; it is refused by a ReidError or OSError.
        is_text: whether words and lines are changed, and not only bytes.
    """

    share: int
    samples: Callable[[Path], None]
    read: Callable[[Path], None]
    is_text: bool = False


# Images


def image_samples(folder: Path) -> None:
    from PIL import Image

    random = np.random.default_rng(0)
    pixels = random.integers(0, 256, (64, 32, 3), np.uint8)
    image = Image.fromarray(pixels)
    exif = Image.Exif()
    exif[0x0112] = 6
    image.save(folder / "a.jpg", exif=exif)
    image.convert("L").save(folder / "b.jpg", progressive=True)
    image.save(folder / "c.png")
    image.convert("P").save(folder / "d.png")
    Image.fromarray(random.integers(0, 65536, (8, 8), np.uint16)).save(folder / "e.png")
    for suffix in ("bmp", "gif", "tiff", "webp", "ppm"):
        image.save(folder / f"f.{suffix}")


def read_image(path: Path) -> None:
    from reid_dhm.data.images import read_image, upright_size

    image = read_image(path)
    assert image.dtype == np.uint8
    assert image.ndim == 3
    assert upright_size(path) == image.shape[:2]


# Videos


def video_samples(folder: Path) -> None:
    import av

    random = np.random.default_rng(0)
    for name, codec in (
        ("a.mp4", "mpeg4"),
        ("b.mkv", "libx264"),
        ("c.webm", "libvpx-vp9"),
        ("d.avi", "mjpeg"),
        ("e.ts", "mpeg2video"),
    ):
        with av.open(str(folder / name), "w") as container:
            stream = container.add_stream(codec, rate=10)
            stream.width, stream.height = 64, 48
            stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
            for _ in range(20):
                pixels = random.integers(0, 256, (48, 64, 3), np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, "rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())


def read_video(path: Path) -> None:
    from reid_dhm.gallery.footage.frames import Span
    from reid_dhm.gallery.footage.sources import open_source

    source = open_source(str(path))
    with contextlib.closing(source.frames(Span())) as frames:
        for frame in islice(frames, 200):
            assert frame.image.ndim == 3


# Configurations, lists and tables


def config_samples(folder: Path) -> None:
    for path in (ROOT / "configs").glob("*.yaml"):
        shutil.copyfile(path, folder / path.name)


def read_config(path: Path) -> None:
    from reid_dhm.config import load_config

    shipped = ROOT / "configs"
    for base in shipped.glob("*.yaml"):
        if base.name != path.name:
            shutil.copyfile(base, path.parent / base.name)
    load_config(path)


def csv_samples(folder: Path) -> None:
    rows = [
        f"images/{pid}_{camid}.jpg,{pid},{camid},{split}"
        for pid in (1, 2, 3)
        for camid, split in ((1, "train"), (1, "query"), (2, "gallery"))
    ]
    text = "path,pid,camid,split\n" + "\n".join(rows) + "\n"
    (folder / "dataset.csv").write_text(text)
    (folder / "quoted.csv").write_text(text.replace("images/1_1.jpg", '"images/1_1.jpg"'))


def read_csv(path: Path) -> None:
    from PIL import Image

    from reid_dhm.data.datasets import load_dataset

    root = path.parent / "set"
    (root / "images").mkdir(parents=True, exist_ok=True)
    for pid in (1, 2, 3):
        for camid in (1, 2):
            file = root / "images" / f"{pid}_{camid}.jpg"
            if not file.exists():
                Image.new("RGB", (8, 16)).save(file)
    shutil.copyfile(path, root / "dataset.csv")
    load_dataset("csv", root)


def detections_samples(folder: Path) -> None:
    rows = [f"{frame},-1,{10 + frame},20,30,60,0.9,-1,-1,-1" for frame in range(1, 20)]
    (folder / "det.txt").write_text("\n".join(rows) + "\n")
    (folder / "spaced.txt").write_text("\n".join(row.replace(",", " ") for row in rows))


def read_detections(path: Path) -> None:
    from reid_dhm.gallery.detect.factory import build_detector

    build_detector(f"mot:{path}")


# Arrays and thresholds


def npz_samples(folder: Path) -> None:
    random = np.random.default_rng(0)
    arrays = {
        f"{side}_{name}": value
        for side, count in (("query", 6), ("gallery", 12))
        for name, value in {
            "embeddings": random.standard_normal((count, 8)).astype(np.float32),
            "pids": np.arange(count) % 3,
            "camids": np.arange(count) % 2 + (side == "gallery"),
        }.items()
    }
    np.savez(folder / "a.npz", **arrays)
    np.savez_compressed(folder / "b.npz", **arrays)


def read_npz(path: Path) -> None:
    from reid_dhm.evaluation.inputs import read_query_gallery
    from reid_dhm.evaluation.run import run
    from reid_dhm.evaluation.settings import Settings

    run(read_query_gallery(path), Settings(device="cpu"))


def thresholds_samples(folder: Path) -> None:
    from reid_dhm.evaluation.calibration import Calibration, OperatingPoint
    from reid_dhm.evaluation.thresholds import Thresholds, write_thresholds

    points = (OperatingPoint(0.01, 0.5, 0.0099, 0.8), OperatingPoint(0.001, 0.6, 0.001, 0.5))
    calibration = Calibration(9.0, -4.0, 0.5)
    write_thresholds(
        folder / "thresholds.json", Thresholds("cosine", "a", "b", 9, 9, points, calibration)
    )


def read_thresholds(path: Path) -> None:
    from reid_dhm.evaluation.thresholds import read_thresholds

    read_thresholds(path).calibration.probability(0.5)


# Models

SIZE = (64, 32)


def save_network(folder: Path) -> None:
    import torch

    from reid_dhm.models.card import ModelCard, save_model

    torch.manual_seed(0)
    card = ModelCard("osnet_x0_25", 3, SIZE)
    save_model(card.build().eval(), card, folder / "model.safetensors")


def weights_samples(folder: Path) -> None:
    save_network(folder)
    (folder / "model.json").rename(folder.parent / "card.json")


def read_weights(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    shutil.copyfile(samples_of(path) / "card.json", path.with_suffix(".json"))
    open_checkpoint(path)


def card_samples(folder: Path) -> None:
    save_network(folder)
    (folder / "model.safetensors").rename(folder.parent / "weights.safetensors")


def read_card(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    weights = path.with_suffix(".safetensors")
    shutil.copyfile(samples_of(path) / "weights.safetensors", weights)
    open_checkpoint(weights)


def pth_samples(folder: Path) -> None:
    import torch

    from reid_dhm.models.torchreid import torchreid_module

    torch.manual_seed(0)
    network = torchreid_module("models").build_model("osnet_x0_25", 3, pretrained=False)
    state = network.state_dict()
    torch.save(state, folder / "a.pth")
    nested = {"state_dict": {f"module.{name}": value for name, value in state.items()}, "epoch": 3}
    torch.save(nested, folder / "b.pth.tar")
    torch.save(state, folder / "c.pth", _use_new_zipfile_serialization=False)


def read_pth(path: Path) -> None:
    from reid_dhm.inference.checkpoints import open_checkpoint

    open_checkpoint(path, "osnet_x0_25", SIZE, "none")


def graph_samples(folder: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    random = np.random.default_rng(0)
    weight = random.standard_normal((16, 3, 3, 3)).astype(np.float32)
    graph = helper.make_graph(
        [
            helper.make_node("Conv", ["images", "weight"], ["a"], pads=[1, 1, 1, 1]),
            helper.make_node("Relu", ["a"], ["b"]),
            helper.make_node("GlobalAveragePool", ["b"], ["c"]),
            helper.make_node("Flatten", ["c"], ["embeddings"]),
        ],
        "small",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, *SIZE])],
        [helper.make_tensor_value_info("embeddings", TensorProto.FLOAT, ["N", 16])],
        [helper.make_tensor("weight", TensorProto.FLOAT, weight.shape, weight.tobytes(), raw=True)],
    )
    opset = [helper.make_opsetid("", 17)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=8), folder / "small.onnx")


def read_graph(path: Path) -> None:
    from reid_dhm.inference.checkpoint_file import find_checkpoint
    from reid_dhm.inference.embedder import Embedder

    embedder = Embedder(find_checkpoint(path, None, None, None, "imagenet"), device="cpu")
    embedder([np.zeros((*SIZE, 3), np.uint8)])


# Galleries


def gallery_samples(folder: Path, fingerprint: str = "c0ffee" * 10, dim: int = 8) -> None:
    from datetime import datetime, timezone

    from reid_dhm.gallery.records import DETECTION, Crop, NewTracklet, NewVideo
    from reid_dhm.gallery.store.gallery import GalleryStore
    from reid_dhm.gallery.store.writing import VideoWriter
    from reid_dhm.gallery.track.crops import encode_jpeg

    random = np.random.default_rng(0)
    image = encode_jpeg(random.integers(0, 256, (40, 16, 3), np.uint8))
    site = folder / "site"
    with GalleryStore(site, create=True) as gallery:
        gallery.claim_model(fingerprint, dim, "soak")
        for number, camera in enumerate(("gate", "yard")):
            start = datetime(2026, 3, 1, 8, tzinfo=timezone.utc) if number else None
            video = NewVideo(f"{number:016x}", f"{camera}.avi", 10.0, 64, 48, start)
            writer = VideoWriter.open(gallery, camera, video)
            tracklets = []
            for track in range(1, 4):
                boxes = np.zeros(2, DETECTION)
                boxes["time"] = track + np.arange(2)
                boxes["frame"] = boxes["time"] * 10
                boxes["box"] = (10, 10, 20, 40)
                row = random.standard_normal(dim)
                row = (row / np.linalg.norm(row)).astype(np.float16)
                box = (10.0, 10.0, 20.0, 40.0)
                crop = Crop(int(boxes["frame"][0]), float(boxes["time"][0]), box, 1.0, image, row)
                tracklets.append(NewTracklet(track, boxes, [crop], row))
            writer.add(tracklets)
            writer.finish()
    run("gallery", "merge", "--gallery", site, "--person", "anna", f"{0:016x}-1")
    shutil.copyfile(next(site.glob("*.sqlite")), folder / "gallery.sqlite")
    shutil.rmtree(site)


COMMANDS = (
    ("gallery", "list"),
    ("gallery", "verify"),
    ("gallery", "show", f"{0:016x}-1"),
    ("gallery", "show", f"{1:016x}-2", "--crops", "CROPS"),
    ("gallery", "export", "--output", "TABLE"),
    ("search", "--tracklet", f"{0:016x}-2", "--report", "REPORT", "--json", "JSON"),
    ("gallery", "list", "tracklets", "--person", "anna"),
    ("gallery", "merge", "--person", "berta", f"{1:016x}-1", f"{0:016x}-2"),
    ("gallery", "compact"),
    ("gallery", "delete", "--camera", "gate", "--yes"),
    ("gallery", "verify"),
)


def read_gallery(path: Path) -> None:
    """Every command on it, one after the other."""
    folder = path.parent / "site"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    shutil.move(path, folder / "gallery.sqlite")
    targets = {"CROPS": "crops", "TABLE": "table.csv", "REPORT": "report", "JSON": "found.json"}
    for command in COMMANDS:
        arguments = [path.parent / targets[word] if word in targets else word for word in command]
        code, printed = run(*arguments, "--gallery", folder)
        if _case(path)["sound"] and code:
            raise RuntimeError(f"{command}: {printed}")
        shutil.rmtree(path.parent / "report", ignore_errors=True)


def run(*arguments: object) -> tuple[int, str]:
    """Call a command in this process: its exit code and what it printed."""
    from reid_dhm.cli import main

    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as done:
            code = done.code
    if code not in (0, 1, 2):
        raise RuntimeError(f"{arguments} ended with {code}: {printed.getvalue()}")
    if "Traceback" in printed.getvalue():
        raise RuntimeError(printed.getvalue())
    return int(code), printed.getvalue()


def samples_of(path: Path) -> Path:
    """The folder of files that belong beside a sample."""
    return Path(_case(path)["samples"])


def _case(path: Path) -> dict[str, Any]:
    return json.loads((path.parent / "case.json").read_text())


READERS = {
    "image": Reader(10, image_samples, read_image),
    "video": Reader(6, video_samples, read_video),
    "config": Reader(8, config_samples, read_config, is_text=True),
    "csv": Reader(8, csv_samples, read_csv, is_text=True),
    "detections": Reader(4, detections_samples, read_detections, is_text=True),
    "npz": Reader(8, npz_samples, read_npz),
    "thresholds": Reader(4, thresholds_samples, read_thresholds, is_text=True),
    "card": Reader(4, card_samples, read_card, is_text=True),
    "safetensors": Reader(4, weights_samples, read_weights),
    "pth": Reader(4, pth_samples, read_pth),
    "onnx": Reader(4, graph_samples, read_graph),
    "database": Reader(3, gallery_samples, read_gallery),
    "cells": Reader(14, gallery_samples, read_gallery),
}
"""By name; ``cells`` alters one cell of a database, ``database`` its bytes."""
