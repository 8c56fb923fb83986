"""Opening whatever a user calls a checkpoint: a run folder, a ``.safetensors`` with its card, or
other people's weights. Building the model and fitting the weights is :mod:`reid_dhm.models`' work.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path

import torch

from reid_dhm.errors import InputError
from reid_dhm.models.card import ModelCard, card_path, load_model
from reid_dhm.models.reid import ReIDModel

BEST = "best.safetensors"


def open_checkpoint(
    checkpoint: Path | str,
    backbone: str | None = None,
    size: tuple[int, int] | None = None,
    neck: str | None = None,
) -> tuple[ReIDModel, ModelCard]:
    """Rebuild the model of a checkpoint, in eval mode.

    Args:
        checkpoint: a run folder (its best model is taken), a ``.safetensors`` with its JSON card,
            or weights that others trained with a provider's own model (torchreid's zoo).
        backbone: for others' weights: a key of :data:`reid_dhm.models.providers.BACKBONES`.
        size: for others' weights: (height, width) of the input in pixels.
        neck: for others' weights: ``none`` (the default), the backbone's own test-time feature.

    Raises:
        InputError: nothing there, nothing evaluated yet, a file that cannot be read or holds code,
            weights of another architecture, or ``backbone``, ``size`` and ``neck`` missing for
            others' weights or given for a model that has a card.
    """
    path = Path(checkpoint).expanduser()
    if path.is_dir():
        path = _best_of_run(path)
    elif not path.is_file():
        raise InputError(
            f"checkpoint {path} does not exist: give a run folder, a .safetensors or a .pth"
        )
    if path.name == BEST or card_path(path).is_file():
        given = {"backbone": backbone, "size": size, "neck": neck}
        if superfluous := [name for name, value in given.items() if value is not None]:
            raise InputError(
                f"{path} has a card that says its {superfluous[0]}: leave {superfluous[0]} out"
            )
        return load_model(path)
    return _open_foreign(path, backbone, size, neck)


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
    if neck not in (None, "none"):
        raise InputError(f"neck is {neck!r}, but {path} holds a backbone alone: use none")
    # Nothing reads a classifier after training, so its size is of no matter.
    card = ModelCard(backbone, num_classes=1, size=size, neck="none", last_stride=2)
    return card.build(weights=str(path)).eval(), card


def fingerprint(model: ReIDModel, card: ModelCard) -> str:
    """SHA-256 of all that an embedding depends on, as 64 hexadecimal digits.

    The same for a checkpoint with side branches and without, unless their embeddings are used;
    the classifiers and the card's notes on training do not count.
    """
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
