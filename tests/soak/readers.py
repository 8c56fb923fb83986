"""Every reader of files of the project, with sound samples of what it reads."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import gallery_readers as galleries
import model_readers as models
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


def grid_samples(folder: Path) -> None:
    lines = "set: {data.root: data, train.epochs: 2}\nseeds: [0, 1]\n"
    grid = "grid: {method: [baseline, dhm], loss.alpha: [1.0, 2.0]}\n"
    (folder / "grid.yaml").write_text(f"config: demo\noutput: runs/g\n{lines}{grid}")
    named = "variants:\n  plain: {method: baseline}\n  dhm:\n    loss.alpha: 0.5\n"
    (folder / "variants.yaml").write_text(f"config: demo\n{lines}{named}")


def read_grid(path: Path) -> None:
    from reid_dhm.experiments.grid.plan import read_plan

    read_plan(path)


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


READERS = {
    "image": Reader(10, image_samples, read_image),
    "video": Reader(6, video_samples, read_video),
    "config": Reader(8, config_samples, read_config, is_text=True),
    "csv": Reader(8, csv_samples, read_csv, is_text=True),
    "detections": Reader(4, detections_samples, read_detections, is_text=True),
    "npz": Reader(8, npz_samples, read_npz),
    "thresholds": Reader(4, thresholds_samples, read_thresholds, is_text=True),
    "card": Reader(4, models.card_samples, models.read_card, is_text=True),
    "safetensors": Reader(4, models.weights_samples, models.read_weights),
    "pth": Reader(4, models.pth_samples, models.read_pth),
    "state": Reader(4, models.state_samples, models.read_state, is_text=True),
    "grid": Reader(4, grid_samples, read_grid, is_text=True),
    "cards": Reader(3, models.cards_samples, models.read_cards, is_text=True),
    "onnx": Reader(4, models.graph_samples, models.read_graph),
    "database": Reader(3, galleries.gallery_samples, galleries.read_gallery),
}
"""By name; single cells of a database are altered by ``cells.py``."""
