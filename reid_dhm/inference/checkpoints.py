"""Opening whatever a user calls a checkpoint: a run folder, a ``.safetensors`` with its card, an
exported graph, or other people's weights. Building the model and fitting the weights is
:mod:`reid_dhm.models`' work.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.engines.exported import (
    GRAPH_SUFFIXES,
    ExportedModel,
    is_torchscript,
    open_exported,
)
from reid_dhm.inference.zoo import registry
from reid_dhm.inference.zoo.entries import EMBEDDING
from reid_dhm.models import fastreid
from reid_dhm.models.card import ModelCard, card_path, is_card, load_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.weights import read_state_dict

BEST = "best.safetensors"


def open_checkpoint(
    checkpoint: Path | str,
    backbone: str | None = None,
    size: tuple[int, int] | None = None,
    neck: str | None = None,
) -> tuple[ReIDModel | ExportedModel, ModelCard]:
    """Rebuild the model of a checkpoint, in eval mode, or find the graph in an exported file.

    Args:
        checkpoint: a run folder (its best model is taken), a ``.safetensors`` with its JSON card,
            an ``.onnx`` or ``.xml`` that ``reid-dhm export`` wrote, or weights that others trained:
            of a provider's own model (torchreid's zoo), or of fast-reid's ResNets; or the name of a
            model of :mod:`reid_dhm.inference.zoo`.
        backbone: for others' weights: a key of :data:`reid_dhm.models.providers.BACKBONES`.
        size: for others' weights: (height, width) of the input in pixels.
        neck: for others' weights: ``none``, the backbone's own test-time feature (the default), or
            for fast-reid's ``bnneck``, the feature behind their neck (there the default).

    Raises:
        InputError: nothing there, nothing evaluated yet, a file that cannot be read or holds code,
            weights of another architecture, or ``backbone``, ``size`` and ``neck`` missing for
            others' weights or given for a model that has a card.
    """
    path = Path(checkpoint).expanduser()
    named = None if path.exists() else registry.find(str(checkpoint), EMBEDDING)
    if named is not None:
        return open_checkpoint(
            named.path, backbone or named.backbone, size or named.size, neck or named.neck
        )
    if path.is_dir():
        path = _best_of_run(path)
    elif not path.is_file():
        raise InputError(
            f"checkpoint {path} does not exist: give a run folder, a .safetensors, an exported "
            ".onnx or .xml, a .pth, or a name of `reid-dhm models`"
        )
    exported = path.suffix in GRAPH_SUFFIXES
    if exported or _has_card(path):
        given = {"backbone": backbone, "size": size, "neck": neck}
        if superfluous := [name for name, value in given.items() if value is not None]:
            raise InputError(
                f"{path} has a card that says its {superfluous[0]}: leave {superfluous[0]} out"
            )
        return open_exported(path) if exported else load_model(path)
    if is_torchscript(path):
        raise InputError(
            f"{path} is TorchScript, a program, and programs in files are not run here: "
            "export the model as onnx or openvino, or pass its checkpoint"
        )
    return _open_foreign(path, backbone, size, neck)


def _has_card(path: Path) -> bool:
    """Beside a .safetensors every JSON is to be one, so that a damaged card is told as such."""
    card = card_path(path)
    ours = path.name == BEST or (path.suffix == ".safetensors" and card.is_file())
    return ours or is_card(card)


def _best_of_run(run: Path) -> Path:
    if not (run / BEST).is_file():
        raise InputError(
            f"{run} holds no {BEST}: its training has not finished an evaluation yet, "
            "or it is no run folder"
        )
    return run / BEST


def _open_foreign(
    path: Path, backbone: str | None, size: tuple[int, int] | None, neck: str | None
) -> tuple[ReIDModel, ModelCard]:
    if backbone is None or size is None:
        raise InputError(
            f"{path} has no card {card_path(path).name} that says its backbone and input size: "
            "pass them, e.g. --backbone osnet_x0_25 --size 256x128 --neck none"
        )
    tensors = read_state_dict(path)
    if fastreid.is_fastreid(tensors):
        return fastreid.build_model(path, tensors, backbone, size, neck)
    if neck not in (None, "none"):
        raise InputError(f"neck is {neck!r}, but {path} holds a backbone alone: use none")
    # Nothing reads a classifier after training, so its size is of no matter.
    card = ModelCard(backbone, num_classes=1, size=size, neck="none", last_stride=2)
    # Of a file "imagenet", the name alone would be a word for what is to be downloaded.
    return card.build(weights=str(path.absolute())).eval(), card


def what_embeds(model: ReIDModel | ExportedModel, card: ModelCard) -> ReIDModel | ExportedModel:
    """A copy, on the CPU, of what gives embeddings: the main path, or all heads of an ensemble.

    Raises:
        InputError: a card that asks for another embedding.
    """
    if isinstance(model, ExportedModel):
        return model
    if card.embedding == "main":
        return model.deploy().cpu()
    if card.embedding == "ensemble":
        return copy.deepcopy(model).eval().cpu()
    raise InputError(f"embedding is {card.embedding!r} in the model's card: use main or ensemble")


def fingerprint(model: ReIDModel | ExportedModel, card: ModelCard) -> str:
    """SHA-256 of all that an embedding depends on, as 64 hexadecimal digits.

    The same for a checkpoint with side branches and without, unless their embeddings are used, and
    for a file exported from either in float32; the classifiers and the card's notes on training do
    not count.
    """
    if isinstance(model, ExportedModel):
        return model.fingerprint
    facts = {k: v for k, v in asdict(card).items() if k not in ("num_classes", "training")}
    if card.embedding == "main":
        del facts["branches"]
        model = model.deploy()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode())
    for name, tensor in sorted(model.state_dict().items()):
        if ".classifier." in f".{name}":
            continue
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}".encode())
        digest.update(tensor.cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
