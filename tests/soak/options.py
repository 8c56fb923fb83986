"""Calls every command with each of its options at the edges: python tests/soak/options.py.

Commands, options and arguments come from the command line itself, so that a new one is tried
without a line here. Each call is to succeed or to be refused in one line.
"""

from __future__ import annotations

import os
import shutil
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any, Literal, get_args, get_origin
from unittest import mock

import gallery_readers
import model_readers
import readers
from calls import call, commands
from harness import main

TRACKLET = f"{0:016x}-1"
NUMBERS = (
    *("0", "1", "-1", "0.5", "1" + "0" * 20, "9" * 5000, "nan", "inf", "-inf", "1e-320", "1e308"),
    *("-1e400", "0x10", "1_000", "٣"),
)
WORDS = ("", " ", "-", "\udcff", "\0", "[/blue]", "\x1b[31m", "a\nb", "\u202etxt", "a" * 100_000)
TEXTS = (
    *(*WORDS, "0", "-1", "1" + "0" * 20, "nan", "[bold]", "=1+1", "%s{0}", "..", "gone"),
    *("gone/below", "folder", "empty", "image.png", "loop", "null", "zero", "closed/file"),
    *("null/below", "1,2,3,4", "nan,nan,nan,nan", "0x0", "99999x99999", "9999-12-31T23:59:59Z"),
    *("yesterday", "0001-01-01T00:00:00+14:00", "a=b", "{}", "[[]]", "yolox:", "torchvision:"),
    "mot:zero",
)
"""With names of files, of which :func:`write_place` makes some."""

GIVEN = {
    "gallery": "site",
    "folder": "site",
    "images": "images",
    "output": "output.npz",
    "checkpoint": "model.safetensors",
    "camera": "gate",
    "source": "images",
    "device": "cpu",
    "tracklet": TRACKLET,
    "tracklets": TRACKLET,
    "video": "a.avi",
    "truth": "mot.txt",
}
"""Values of required options, by name; ``gone`` where none is here."""

ALSO: dict[str, dict[str, Any]] = {
    "search": {"query": "image.png", "device": "cpu", "checkpoint": "model.safetensors"},
    "serve": {"port": "0", "device": "cpu", "checkpoint": "model.safetensors"},
    "index-video": {"fps": "10", "device": "cpu", "checkpoint": "model.safetensors"},
    "eval": {"embeddings": "a.npz", "device": "cpu"},
    "compare": {"models": ["a.npz", "b.npz"]},
    "embed": {"device": "cpu", "checkpoint": "model.safetensors"},
    "export": {"format": "onnx", "output": "output.onnx"},
    "demo": {"config": "demo"},
    "train": {"config": "demo"},
    "gallery delete": {"yes": None, "camera": "gate"},
    "gallery export": {"output": "output.csv"},
    "models add": {"name": "mine", "file": "model.safetensors"},
    "benchmark embed": {"backbones": "osnet_x0_25", "num_images": "64", "images": "images"},
    "benchmark memory": {"images": "images", "num_images": "1000"},
    "benchmark footage-pairs": {"tracklets": "mot.txt"},
    "benchmark rank": {"queries": "50", "gallery": "200", "dim": "8", "torchreid": False},
    "benchmark rerank": {"queries": "50", "gallery": "200", "dim": "8", "torchreid": False},
    "benchmark search": {"tracklets": "1000", "dim": "8", "queries": "20"},
    "benchmark train": {"config": "demo", "steps": "1", "rounds": "1"},
}
"""What a command needs besides, or takes to be quick; None gives a flag, False its opposite."""

LONG = {
    "demo": "reid_dhm.synthetic.write_synthetic",
    "train": "reid_dhm.experiments.run.run_experiment",
    "serve": "uvicorn.Server.run",
    "benchmark embed": "reid_dhm.benchmarks.embedding.comparison.compare_embedding",
    "benchmark memory": "reid_dhm.benchmarks.embedding.runners.make_network",
    "benchmark queue": "reid_dhm.benchmarks.embedding.queue.compare_with_queue",
    "benchmark rank": "reid_dhm.benchmarks.retrieval.rank.in_fresh_process",
    "benchmark rerank": "reid_dhm.benchmarks.retrieval.rerank.in_fresh_process",
    "benchmark search": "reid_dhm.benchmarks.retrieval.search.in_fresh_process",
    "benchmark precision": "reid_dhm.benchmarks.embedding.precision.compare_precisions",
    "benchmark footage-pairs": "reid_dhm.benchmarks.footage.pairs.measure",
    "benchmark train": "reid_dhm.benchmarks.training.pipeline.write_images",
}
"""Where a command is stopped, because the rest takes minutes or for ever."""


@dataclass(frozen=True)
class Options:
    """A command with each of its parameters at every edge."""

    name: str

    @property
    def cases(self) -> int:
        """One parameter at a time."""
        return len(self._pairs())

    def prepare(self, folder: Path) -> None:
        """Write the files that options may name, once for all commands."""
        if not _place(folder).exists():
            write_place(_place(folder))

    def attempt(self, number: int, random: Random, prepared: Path, folder: Path) -> str:
        """Call the command."""
        model_readers.register_small()
        shutil.copytree(
            _place(prepared), folder, dirs_exist_ok=True, copy_function=_copy, symlinks=True
        )
        home = prepared.parent / "home"
        os.environ["REID_DHM_HOME"] = str(home)
        shutil.rmtree(home / "models", ignore_errors=True)  # the graphs beside it stay
        parameters = self._parameters()
        values = self._given(parameters)
        if number >= 0:
            chosen, value = self._pairs()[number]
            values[chosen] = value
        arguments = words(self.name, parameters, values)
        with ExitStack() as stack:
            if stop := LONG.get(self.name):
                from reid_dhm.errors import UnsupportedError

                stack.enter_context(mock.patch(stop, side_effect=UnsupportedError("long")))
            code, printed = call(*arguments)
        shown = f"{arguments!r:.3000}\nended with {code} and printed\n{printed:.3000}"
        if len(printed) > 20_000 or any(raw in printed for raw in ("\x1b", "\u202e", "\0")):
            raise RuntimeError(f"printed as it came: {shown}")
        if number < 0 and code and self.name in ALSO and self.name not in LONG:
            raise RuntimeError(f"should have worked: {shown}")
        return "refused" if code else "accepted"

    def _parameters(self) -> list[Any]:
        return commands()[self.name]

    def _pairs(self) -> list[tuple[str, str]]:
        """Every parameter with every value that its type may take, or is to refuse."""
        return [(one.name, value) for one in self._parameters() for value in edges(one)]

    def _given(self, parameters: list[Any]) -> dict[str, Any]:
        required = [parameter.name for parameter in parameters if parameter.required]
        return {name: GIVEN.get(name, "gone") for name in required} | ALSO.get(self.name, {})


def edges(parameter: Any) -> tuple[str, ...]:
    """Values for a parameter: fewer where the parser refuses all words, or all but a few, alike."""
    kind = parameter.type_descriptor.annotation
    if kind in (int, float):
        return NUMBERS + WORDS
    if kind is bool or get_origin(kind) is Literal:
        return (*WORDS, "0", *get_args(kind))
    return TEXTS


def words(command: str, parameters: list[Any], values: dict[str, Any]) -> list[str]:
    """A command line; arguments come last, after ``--``."""
    options: list[str] = []
    arguments: list[str] = []
    for parameter in parameters:
        if parameter.name not in values:
            continue
        value = values[parameter.name]
        if parameter.param_type_name == "argument":
            arguments += value if isinstance(value, list) else [value]
        elif value is False:
            options.append(parameter.secondary_opts[0])
        elif value is None:
            options.append(parameter.opts[0])
        elif getattr(parameter, "is_flag", False):
            options.append(f"{parameter.opts[0]}={value}" if value else parameter.opts[0])
        else:
            options += [parameter.opts[0], value]
    return [*command.split(), *options, *(("--", *arguments) if arguments else ())]


def write_place(folder: Path) -> None:
    """Files for options to name: sound ones, and those that are none."""
    from reid_dhm.inference.embedder import Embedder

    folder.mkdir()
    model_readers.save_network(folder)
    embedder = Embedder(folder / "model.safetensors", device="cpu")
    gallery_readers.gallery_samples(folder, embedder.fingerprint, embedder.dim)
    (folder / "site").mkdir()
    (folder / "gallery.sqlite").rename(folder / "site" / "gallery.sqlite")
    readers.npz_samples(folder)
    (folder / "images").mkdir()
    samples = folder / "samples"
    samples.mkdir()
    readers.image_samples(samples)
    readers.video_samples(samples)
    readers.detections_samples(samples)
    for number in range(4):
        shutil.copyfile(samples / "c.png", folder / "images" / f"{number}.png")
    (samples / "c.png").rename(folder / "image.png")
    (samples / "d.avi").rename(folder / "a.avi")
    (samples / "det.txt").rename(folder / "mot.txt")
    shutil.rmtree(samples)
    (folder / "folder").mkdir()
    (folder / "empty").touch()
    (folder / "loop").symlink_to("loop")
    for name, minor in (("null", 3), ("zero", 5)):
        try:
            os.mknod(folder / name, 0o20666, os.makedev(1, minor))
        except PermissionError:  # only root may; a link might cost it /dev/null
            (folder / name).touch()


def _place(prepared: Path) -> Path:
    return prepared.parent / "place"


def _copy(source: str, target: str) -> None:
    """Copy a file; a device is made again."""
    found = os.lstat(source)
    if found.st_rdev:
        os.mknod(target, found.st_mode, found.st_rdev)
    else:
        shutil.copyfile(source, target)


os.environ |= {"REID_DHM_TOKEN": "", "COLUMNS": "120", "NO_COLOR": "1"}
os.environ["OMP_WAIT_POLICY"] = "passive"  # on a loaded machine, waiting threads take all time
SUBJECTS = {name: Options(name) for name in commands()}

if __name__ == "__main__":
    sys.exit(main(__file__))
