"""Finding what a user calls a checkpoint, and refusing what cannot be one before PyTorch loads."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from reid_dhm.errors import InputError, NotFoundError, UnsupportedError
from reid_dhm.inference.engines.exported import GRAPH_SUFFIXES
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import EMBEDDING
from reid_dhm.models.card import card_path, is_card

BEST = "best.safetensors"
DEFAULT = "default"
"""What a gallery calls the model of the package."""
LARGEST_SIDE = 4096  # pixels; more is a slip of the keyboard, and would not fit into memory


@dataclass(frozen=True)
class CheckpointFile:
    """A checkpoint that exists.

    Attributes:
        path: the file.
        kind: ``graph`` (an ``.onnx`` or ``.xml``), ``card`` (weights with their card) or
            ``foreign`` (weights that others trained).
        backbone, size, neck, input: what a foreign file does not say; see
            :func:`~reid_dhm.inference.checkpoints.open_checkpoint`.
    """

    path: Path
    kind: Literal["graph", "card", "foreign"]
    backbone: str | None = None
    size: tuple[int, int] | None = None
    neck: str | None = None
    input: str | None = None


def checkpoint_path(checkpoint: Path | str) -> Path:
    """The file or folder that a checkpoint's path or name in the model zoo stands for.

    Raises:
        NotFoundError: a published model that was not fetched yet.
        InputError: a name of a detector.
    """
    return _locate(checkpoint)[0]


def model_name(checkpoint: Path | str | None) -> str:
    """What a gallery calls a model, by which it can be opened again from any folder.

    ``default`` for the model of the package, a name of the model zoo, or an absolute path.
    """
    if checkpoint is None:
        return DEFAULT
    path = Path(checkpoint).expanduser()
    return str(path.absolute()) if path.exists() else str(checkpoint)


def find_checkpoint(
    checkpoint: Path | str,
    backbone: str | None = None,
    size: tuple[int, int] | None = None,
    neck: str | None = None,
    input: str | None = None,
) -> CheckpointFile:
    """The file of a run folder, a weights file, a graph or a name of the model zoo.

    Raises:
        NotFoundError: no such file, or a run folder without an evaluated model.
        UnsupportedError: TorchScript, which is a program.
        InputError: ``backbone`` or ``size`` missing for weights without a card or out of range, or
            given for weights that have one.
    """
    path, named = _locate(checkpoint)
    if named is not None:
        backbone, size, neck = backbone or named.backbone, size or named.size, neck or named.neck
        input = input or named.input
    if path.is_dir():
        path = _best_of_run(path)
    elif not path.is_file():
        raise NotFoundError(
            f"checkpoint {path} does not exist: give a run folder, a .safetensors, an exported "
            ".onnx or .xml, a .pth, or a name of `reid-dhm models`"
        )
    if path.suffix in GRAPH_SUFFIXES:
        return CheckpointFile(path, "graph", backbone, size, neck, input)
    if _has_card(path):
        refuse_options(path, backbone, size, neck, input)
        return CheckpointFile(path, "card")
    if _is_torchscript(path):
        raise UnsupportedError(
            f"{path} is TorchScript, and programs in files are never run: export the model as "
            "onnx or openvino, or pass its checkpoint"
        )
    if input is not None:
        raise InputError(f"{path} holds weights, and --input is for graphs: leave input out")
    if backbone is None or size is None:
        raise InputError(
            f"{path} has no card {card_path(path).name} with its backbone and input size: "
            "pass them, e.g. --backbone osnet_x0_25 --size 256x128 --neck none"
        )
    if not all(1 <= side <= LARGEST_SIDE for side in size):
        raise InputError(f"size is {size[0]}x{size[1]}: use 1x1 to {LARGEST_SIDE}x{LARGEST_SIDE}")
    return CheckpointFile(path, "foreign", backbone, size, neck)


def _locate(checkpoint: Path | str) -> tuple[Path, registry.LocalModel | None]:
    path = Path(checkpoint).expanduser()
    named = None if path.exists() else registry.find(str(checkpoint), EMBEDDING)
    return path if named is None else named.path, named


def refuse_options(
    path: Path,
    backbone: str | None,
    size: tuple[int, int] | None,
    neck: str | None,
    input: str | None = None,
) -> None:
    """Refuse what the card of a model already says."""
    given = {"backbone": backbone, "size": size, "neck": neck, "input": input}
    for name, value in given.items():
        if value is not None:
            raise InputError(f"{path} has a card with its {name}: leave {name} out")


def _has_card(path: Path) -> bool:
    """A JSON file beside ``.safetensors`` is read as their card, so damage is reported."""
    card = card_path(path)
    ours = path.name == BEST or (path.suffix == ".safetensors" and card.is_file())
    return ours or is_card(card)


def _best_of_run(run: Path) -> Path:
    if not (run / BEST).is_file():
        raise NotFoundError(
            f"{run} contains no {BEST}: its training has not finished an evaluation yet, "
            "or it is not a run folder"
        )
    return run / BEST


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.partition("/")[2] == "constants.pkl" for name in archive.namelist())
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError):
        return False  # another format, or damaged: reading its weights reports that
