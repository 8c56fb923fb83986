"""Training from a configuration, and exporting what was trained."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

from reid_dhm.api.html import table
from reid_dhm.config import load_config
from reid_dhm.errors import InputError
from reid_dhm.experiments.run import run_experiment
from reid_dhm.inference.checkpoints import open_checkpoint
from reid_dhm.inference.default import DEFAULT_CHECKPOINT
from reid_dhm.inference.export.check import Agreement
from reid_dhm.inference.export.formats import SUFFIXES
from reid_dhm.inference.export.writer import export_model

Progress = Callable[[int, int, int, "dict[str, float]"], None]
"""Called after each step with epoch, step, steps per epoch, and the loss terms."""
Report = Callable[["dict[str, float]"], None]
"""Called after each epoch with its metrics."""


@dataclass(frozen=True)
class TrainingRun:
    """A finished training; accepted wherever a checkpoint is.

    Attributes:
        folder: the run folder.
        best: metrics of the best evaluation (``mAP``, ``rank1`` …, 0 to 1) and its ``epoch``.
    """

    folder: Path
    best: dict[str, float]

    def __fspath__(self) -> str:
        return str(self.folder)

    def _repr_html_(self) -> str:
        rows = [("epoch", f"{self.best['epoch'] + 1:.0f}")]
        rows += [(name, f"{value:.2%}") for name, value in self.best.items() if name != "epoch"]
        return table((str(self.folder), "best"), rows)


@dataclass(frozen=True)
class ExportedFile:
    """An exported model that was compared with PyTorch; ONNX and OpenVINO serve as checkpoints.

    Attributes:
        path: the file.
        format: ``onnx``, ``openvino``, ``torchscript`` or ``safetensors``.
        agreements: cosine to PyTorch's float32 embeddings, by kind of image.
    """

    path: Path
    format: str
    agreements: list[Agreement]

    def __fspath__(self) -> str:
        return str(self.path)

    def _repr_html_(self) -> str:
        rows = [
            (found.images, str(found.count), f"{found.lowest:.6f}", f"{found.mean:.6f}")
            for found in self.agreements
        ]
        return table((f"{self.path}: compared on", "images", "lowest cosine", "mean cosine"), rows)


def train(
    config: str | PathLike[str],
    *overrides: str,
    data_root: str | PathLike[str] | None = None,
    epochs: int | None = None,
    output: str | PathLike[str] | None = None,
    seed: int | None = None,
    resume: bool | None = None,
    on_step: Progress | None = None,
    on_epoch: Report | None = None,
) -> TrainingRun:
    """Train a model as a configuration describes.

    Args:
        config: name of a configuration of the package, or the path of a YAML file.
        overrides: further keys to change, each as ``key=value``.
        data_root: ``data.root``, the folder of the dataset.
        epochs: ``train.epochs``.
        output: the run folder; ``runs/NAME`` by default.
        seed: fixes everything random.
        resume: continue an interrupted run in ``output``.
        on_step: called after each training step.
        on_epoch: called after each epoch.

    Raises:
        InputError: anything in the configuration or the data that cannot be used.
    """
    keys = {
        "data.root": None if data_root is None else str(data_root),
        "train.epochs": epochs,
        "output": None if output is None else str(output),
        "seed": seed,
        "resume": resume,
    }
    # JSON is YAML, so names with special characters arrive as they are.
    named = [f"{key}={json.dumps(value)}" for key, value in keys.items() if value is not None]
    settings = load_config(Path(config), [*overrides, *named])
    best = run_experiment(settings, on_step, on_epoch)
    return TrainingRun(Path(settings.output), best)


def export(
    checkpoint: str | PathLike[str] | None,
    output: str | PathLike[str],
    format: str | None = None,
    *,
    images: Sequence[str | PathLike[str]] = (),
    calibration: Sequence[str | PathLike[str]] = (),
) -> ExportedFile:
    """Write a model for other programs: uint8 RGB images in, unit embeddings out.

    The file is kept only if its embeddings agree with PyTorch's in float32.

    Args:
        checkpoint: a run folder, a ``TrainingRun`` or a ``.safetensors``; None for the
            package's model.
        output: the file, ending in ``.onnx``, ``.xml`` (OpenVINO), ``.pt`` or ``.safetensors``.
        format: ``onnx``, ``openvino``, ``torchscript`` or ``safetensors``; by default as ``output``
            ends.
        images: image files to compare on, beside random ones.
        calibration: image files to quantise with: the file is int8 then (extra ``int8``).

    Raises:
        InputError: an unusable checkpoint or format, or a file that does not agree.
        UnsupportedError: a library that the format needs is missing.
    """
    path = Path(output)
    if format is None:
        formats = {suffix: name for name, suffix in SUFFIXES.items()}
        if path.suffix not in formats:
            raise InputError(f"{path}: unknown suffix: use one of {', '.join(formats)}")
        format = formats[path.suffix]
    opened = open_checkpoint(DEFAULT_CHECKPOINT if checkpoint is None else Path(checkpoint))
    agreements = export_model(
        *opened, format, path, [str(i) for i in images], [str(i) for i in calibration]
    )
    return ExportedFile(path, format, agreements)
