"""Opening checkpoints: run folders, weights with their card, exported graphs, others' weights.

Building the model and fitting the weights is left to :mod:`reid_dhm.models`.
"""

from __future__ import annotations

import copy
import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from reid_dhm.errors import InputError
from reid_dhm.inference.checkpoint_file import CheckpointFile, find_checkpoint
from reid_dhm.inference.engines.exported import ExportedModel
from reid_dhm.inference.graphs import open_graph
from reid_dhm.models import fastreid
from reid_dhm.models.card import ModelCard, load_model
from reid_dhm.models.reid import ReIDModel
from reid_dhm.models.weights import read_state_dict


def open_checkpoint(
    checkpoint: Path | str | CheckpointFile,
    backbone: str | None = None,
    size: tuple[int, int] | None = None,
    neck: str | None = None,
    input: str | None = None,
) -> tuple[ReIDModel | ExportedModel, ModelCard]:
    """Rebuild the model of a checkpoint, in eval mode, or find the graph in an exported file.

    Args:
        checkpoint: a run folder (its best model is taken), a ``.safetensors`` with its JSON card,
            an ``.onnx`` or ``.xml`` of ``reid-dhm export`` or of others, or weights that others
            trained: of a provider's own model (torchreid's zoo), or of fast-reid's ResNets; or the
            name of a model of :mod:`reid_dhm.inference.zoo`.
        backbone: for others' weights: a key of :data:`reid_dhm.models.providers.BACKBONES`.
        size: for others' weights: (height, width) of the input in pixels.
        neck: for others' weights: ``none``, the backbone's own test-time feature (the default), or
            for fast-reid's ``bnneck``, the feature behind their neck (there the default).
        input: for others' graphs: how they are fed, see
            :func:`~reid_dhm.inference.engines.foreign.open_foreign`.

    Raises:
        InputError: nothing there, nothing evaluated yet, a file that cannot be read or holds code,
            weights of another architecture or that are not finite, or ``backbone``, ``size`` and
            ``neck`` missing for others' weights or given for a model that has a card.
    """
    if isinstance(checkpoint, CheckpointFile):
        file = checkpoint
    else:
        file = find_checkpoint(checkpoint, backbone, size, neck, input)
    if file.kind == "graph":
        return open_graph(file)
    model, card = load_model(file.path) if file.kind == "card" else _open_foreign(file)
    _refuse_not_finite(model, file.path)
    return model, card


def _open_foreign(file: CheckpointFile) -> tuple[ReIDModel, ModelCard]:
    path, backbone, size, neck = file.path, file.backbone, file.size, file.neck
    assert backbone is not None
    assert size is not None
    tensors = read_state_dict(path)
    if fastreid.is_fastreid(tensors):
        return fastreid.build_model(path, tensors, backbone, size, neck)
    if neck not in (None, "none"):
        raise InputError(f"neck is {neck!r}, but {path} holds only a backbone: use none")
    # Nothing reads a classifier after training, so its size does not matter.
    card = ModelCard(backbone, num_classes=1, size=size, neck="none", last_stride=2)
    # A relative file called "imagenet" would be taken for the name of weights to download.
    return card.build(weights=str(path.absolute())).eval(), card


def _refuse_not_finite(model: ReIDModel, path: Path) -> None:
    for name, tensor in model.state_dict().items():
        if tensor.is_floating_point() and not tensor.isfinite().all():
            raise InputError(
                f"{path} contains values that are not finite ({name}): its training diverged, "
                "pass an earlier checkpoint"
            )


def embedding_model(model: ReIDModel | ExportedModel, card: ModelCard) -> ReIDModel | ExportedModel:
    """A copy, on the CPU, of the part that embeds: the main path, or all heads of an ensemble.

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
    """SHA-256 of everything that an embedding depends on, as 64 hexadecimal digits.

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
